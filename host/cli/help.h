/* SPDX-License-Identifier: Apache-2.0 */
/* Help, made from the command table. */
#pragma once

#include <stdio.h>

#include "cli/command.h"

/* Of a command; of a group's commands; of everything, if both are NULL. */
void sl_help_print(FILE *out, const struct sl_cli_command *command, const char *group);
