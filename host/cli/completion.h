/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for bash, made from the command table. */
#pragma once

#include <stdio.h>

void sl_completion_bash(FILE *out);
