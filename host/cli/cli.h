/* SPDX-License-Identifier: Apache-2.0 */
/* What commands share: streams, the connection, printing, complaining. Commands are in cmd_*.c. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "cli/command.h"
#include "rpc/client.h"
#include "sluice/v1/management.pb-c.h"

/* One run of sluicectl. Streams are parameters so that tests can look. */
struct sl_cli {
    FILE *in, *out, *err;
    bool in_is_tty, out_is_tty;
    const struct sl_cli_args *args;
    struct sl_rpc_client *client; /* opened by the first call */
    char target[256];
};

/* Runs the program with the arguments behind its name; returns the exit status. */
int sl_cli_main(struct sl_cli *cli, const char *const *argv, size_t argc);

/* "sluicectl: …" on the error stream, safe for terminals. The first returns SL_CLI_FAILED, the second SL_CLI_USAGE with a pointer
 * to the command's help. */
int sl_cli_fail(struct sl_cli *cli, sl_err err, const struct sl_diag *diag);
int sl_cli_usage(struct sl_cli *cli, const struct sl_diag *diag);
void sl_cli_note(struct sl_cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line on the output stream, safe for terminals. */
void sl_cli_say(struct sl_cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One unary call of the Management service. *response is to be freed with sl_rpc_message_free; on failure it is unchanged, and diag
 * says what to do when nobody answers. */
sl_err sl_cli_call(struct sl_cli *cli, const char *method, const ProtobufCMessage *request, ProtobufCMessage **response,
                   struct sl_diag *diag);
/* Connects (lazily); for streams. */
sl_err sl_cli_connect(struct sl_cli *cli, struct sl_diag *diag);
/* Adds what an operator can do about an error to the text of diag. */
sl_err sl_cli_explain(const struct sl_cli *cli, sl_err err, struct sl_diag *diag);

/* Prints a message as JSON, indented, defaults left out unless asked for. SL_CLI_OK or SL_CLI_FAILED. */
int sl_cli_print_json(struct sl_cli *cli, const ProtobufCMessage *message);
/* The same on one line. */
int sl_cli_print_json_line(struct sl_cli *cli, const ProtobufCMessage *message);
bool sl_cli_wants_json(const struct sl_cli *cli);

/* A whole file, "-" for standard input; *bytes is to be freed with free and has a NUL behind its end. */
sl_err sl_cli_read_file(struct sl_cli *cli, const char *path, size_t limit, char **bytes, size_t *len, struct sl_diag *diag);
/* Writes a file anew (0644), or to the output stream for NULL and "-". */
sl_err sl_cli_write_file(struct sl_cli *cli, const char *path, const char *bytes, size_t len, struct sl_diag *diag);

/* Asks a question that is answered with the line to expect; false if it isn't. Only for terminals. */
bool sl_cli_confirm(struct sl_cli *cli, const char *question, const char *expected);
