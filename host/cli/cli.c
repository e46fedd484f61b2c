/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/help.h"
#include "cli/text.h"
#include "cli/units.h"
#include "rpc/json.h"

#define DEFAULT_SOCKET "/run/sluice/sluiced.sock"
enum { TIMEOUT_DEFAULT_MS = 30000, TIMEOUT_MAX_S = 86400 };

/* ------------------------------------------------------------------------------------------------------------------ messages */

static void print_safe(FILE *stream, const char *prefix, const char *format, va_list args)
{
    char *text = NULL, *safe = NULL;

    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    if (!text || sl_text_safe(text, true, &safe))
        fprintf(stream, "%sout of memory\n", prefix);
    else
        fprintf(stream, "%s%s\n", prefix, safe);
    free(safe);
    free(text);
}

void sl_cli_note(struct sl_cli *cli, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(cli->out); /* the two streams in the order of writing */
    print_safe(cli->err, "sluicectl: ", format, args);
    va_end(args);
}

void sl_cli_say(struct sl_cli *cli, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_safe(cli->out, "", format, args);
    va_end(args);
}

int sl_cli_fail(struct sl_cli *cli, sl_err err, const struct sl_diag *diag)
{
    sl_cli_note(cli, "%s", diag && diag->text[0] ? diag->text : sl_err_str(err));
    return SL_CLI_FAILED;
}

int sl_cli_usage(struct sl_cli *cli, const struct sl_diag *diag)
{
    const char *words = cli->args && cli->args->command ? cli->args->command->words : "";
    if (strstr(diag->text, "--help"))
        sl_cli_note(cli, "%s", diag->text);
    else
        sl_cli_note(cli, "%s; see 'sluicectl %s%s--help'", diag->text, words, *words ? " " : "");
    return SL_CLI_USAGE;
}

/* ------------------------------------------------------------------------------------------------------------------ connection */

static sl_err read_timeout(const struct sl_cli *cli, uint32_t *timeout_ms, struct sl_diag *diag)
{
    const char *text = sl_cli_value(cli->args, "timeout");
    uint64_t ns = UINT64_C(1000000) * TIMEOUT_DEFAULT_MS;

    sl_err err = text ? sl_units_duration("--timeout", text, &ns, diag) : SL_OK;
    if (err)
        return err;
    if (ns < 1000000 || ns / 1000000000 > TIMEOUT_MAX_S)
        return sl_fail(diag, SL_ERR_INVALID, "--timeout: between 1ms and 1d is expected");
    *timeout_ms = (uint32_t)(ns / 1000000);
    return SL_OK;
}

sl_err sl_cli_connect(struct sl_cli *cli, struct sl_diag *diag)
{
    const struct sl_cli_args *args = cli->args;
    const char *socket = sl_cli_value(args, "socket"), *address = sl_cli_value(args, "connect");
    struct sl_rpc_tls_files tls = {.ca_file = sl_cli_value(args, "tls-ca"),
                                   .cert_file = sl_cli_value(args, "tls-cert"),
                                   .key_file = sl_cli_value(args, "tls-key")};
    struct sl_rpc_client_options options = {.target = cli->target, .server_name = sl_cli_value(args, "tls-name")};

    if (cli->client)
        return SL_OK;
    if (socket && address)
        return sl_fail(diag, SL_ERR_INVALID, "--socket and --connect exclude each other");
    if (!socket && !address && !(socket = getenv("SLUICE_SOCKET")))
        socket = DEFAULT_SOCKET;
    if (address && (!tls.ca_file || !tls.cert_file || !tls.key_file))
        return sl_fail(diag, SL_ERR_INVALID,
                       "--connect needs --tls-ca, --tls-cert and --tls-key: over TCP only mutual TLS is served");
    int len = socket ? snprintf(cli->target, sizeof cli->target, "unix:%s", socket)
                     : snprintf(cli->target, sizeof cli->target, "%s", address);
    if (len < 0 || (size_t)len >= sizeof cli->target)
        return sl_fail(diag, SL_ERR_INVALID, "the address of sluiced is too long: %s", socket ? socket : address);
    options.tls = address ? &tls : NULL;
    return sl_rpc_client_new(&options, &cli->client, diag);
}

sl_err sl_cli_explain(const struct sl_cli *cli, sl_err err, struct sl_diag *diag)
{
    const char *path = strncmp(cli->target, "unix:", 5) == 0 ? cli->target + 5 : NULL;

    if (err == SL_ERR_UNAVAILABLE && path && access(path, F_OK) != 0)
        return sl_fail(
            diag, err,
            "sluiced is not running or its socket is elsewhere: %s: %s. Start it with 'systemctl start sluiced', or name its "
            "socket with --socket PATH or SLUICE_SOCKET",
            path, strerror(errno));
    if (err == SL_ERR_UNAVAILABLE && path && access(path, W_OK) != 0)
        return sl_fail(diag, err, "no permission to use %s: run sluicectl as root or as a member of the socket's group", path);
    if (err == SL_ERR_UNAVAILABLE && !diag->text[0])
        return sl_fail(diag, err, "nobody answers at %s: is sluiced running?", cli->target);
    if (err == SL_ERR_UNAVAILABLE)
        return sl_fail_prefix(diag, err, "no answer from sluiced at %s", cli->target);
    if (err == SL_ERR_TIMEOUT)
        return sl_fail(diag, err, "sluiced at %s did not answer in time; --timeout allows more", cli->target);
    if (!diag->text[0])
        return sl_fail(diag, err, "%s", sl_err_str(err));
    return err;
}

sl_err sl_cli_call(struct sl_cli *cli, const char *method, const ProtobufCMessage *request, ProtobufCMessage **response,
                   struct sl_diag *diag)
{
    uint32_t timeout_ms = 0;
    diag->text[0] = '\0';
    sl_err err = sl_cli_connect(cli, diag);
    if (!err)
        err = read_timeout(cli, &timeout_ms, diag);
    if (err)
        return err;
    err = sl_rpc_client_call(cli->client, &sluice__v1__management__descriptor, method, request, timeout_ms, response, diag);
    return err ? sl_cli_explain(cli, err, diag) : SL_OK;
}

/* ---------------------------------------------------------------------------------------------------------------------- output */

bool sl_cli_wants_json(const struct sl_cli *cli)
{
    return cli->args->output && strcmp(cli->args->output, "json") == 0;
}

static int print_json(struct sl_cli *cli, const ProtobufCMessage *message, unsigned flags)
{
    struct sl_diag diag = {{0}};
    char *json = NULL, *safe = NULL;

    sl_err err = sl_json_print(message, flags, &json, &diag);
    if (!err)
        err = sl_text_json_safe(json, &safe);
    if (!err)
        fprintf(cli->out, "%s%s", safe, safe[0] && safe[strlen(safe) - 1] == '\n' ? "" : "\n");
    free(json);
    free(safe);
    return err ? sl_cli_fail(cli, err, &diag) : SL_CLI_OK;
}

int sl_cli_print_json(struct sl_cli *cli, const ProtobufCMessage *message)
{
    return print_json(cli, message, SL_JSON_INDENT);
}

int sl_cli_print_json_line(struct sl_cli *cli, const ProtobufCMessage *message)
{
    return print_json(cli, message, 0);
}

/* ----------------------------------------------------------------------------------------------------------------------- files */

sl_err sl_cli_read_file(struct sl_cli *cli, const char *path, size_t limit, char **bytes, size_t *len, struct sl_diag *diag)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? cli->in : fopen(path, "re");
    struct sl_buf b;
    sl_err err = SL_OK;
    uint8_t *room;
    size_t n;

    if (!f)
        return sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno));
    sl_buf_init(&b, limit + 1);
    do {
        n = 0;
        err = sl_buf_reserve(&b, sl_buf_len(&b) + 4096 <= limit + 1 ? 4096 : limit + 1 - sl_buf_len(&b), &room);
        size_t want = sl_buf_len(&b) + 4096 <= limit + 1 ? 4096 : limit + 1 - sl_buf_len(&b);
        if (!err && (n = fread(room, 1, want, f)) > 0)
            sl_buf_commit(&b, n);
    } while (!err && n > 0 && sl_buf_len(&b) <= limit);
    if (err)
        sl_fail(diag, err, "%s: %s", path, sl_err_str(err));
    else if (ferror(f))
        err = sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno));
    else if (sl_buf_len(&b) > limit)
        err = sl_fail(diag, SL_ERR_LIMIT, "%s: longer than %zu bytes", path, limit);
    if (!standard)
        fclose(f);
    char *copy = err ? NULL : malloc(sl_buf_len(&b) + 1);
    if (!err && !copy)
        err = sl_fail(diag, SL_ERR_NOMEM, "%s: out of memory", path);
    if (copy) {
        *len = sl_buf_len(&b);
        if (*len)
            memcpy(copy, sl_buf_data(&b), *len);
        copy[*len] = '\0';
        *bytes = copy;
    }
    sl_buf_free(&b);
    return err;
}

sl_err sl_cli_write_file(struct sl_cli *cli, const char *path, const char *bytes, size_t len, struct sl_diag *diag)
{
    bool standard = !path || strcmp(path, "-") == 0;
    FILE *f = standard ? cli->out : fopen(path, "we");

    if (!f)
        return sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno));
    bool good = fwrite(bytes, 1, len, f) == len;
    good = (standard ? fflush(f) : fclose(f)) == 0 && good;
    return good ? SL_OK : sl_fail(diag, SL_ERR_IO, "%s: can't be written: %s", standard ? "output" : path, strerror(errno));
}

bool sl_cli_confirm(struct sl_cli *cli, const char *question, const char *expected)
{
    char line[256];

    fflush(cli->out);
    fprintf(cli->err, "%s ", question);
    fflush(cli->err);
    if (!fgets(line, sizeof line, cli->in))
        return false;
    line[strcspn(line, "\r\n")] = '\0';
    return strcmp(line, expected) == 0;
}

/* ------------------------------------------------------------------------------------------------------------------------ main */

int sl_cli_main(struct sl_cli *cli, const char *const *argv, size_t argc)
{
    static const struct sl_cli_args none;
    struct sl_cli_args args;
    struct sl_diag diag = {{0}};
    int status;

    cli->args = &none;
    if (sl_cli_parse(argv, argc, &args, &diag))
        return sl_cli_usage(cli, &diag);
    cli->args = &args;
    if (args.help || (!args.command && argc == 0)) {
        sl_help_print(argc == 0 ? cli->err : cli->out, args.command, args.group);
        status = args.help ? SL_CLI_OK : SL_CLI_USAGE;
    } else if (!args.command) {
        sl_fail(&diag, SL_ERR_INVALID, "a command is missing");
        status = sl_cli_usage(cli, &diag);
    } else {
        status = args.command->run(cli);
    }
    if ((fflush(cli->out) != 0 || ferror(cli->out)) && status == SL_CLI_OK) {
        fprintf(cli->err, "sluicectl: the output can't be written: %s\n", strerror(errno));
        status = SL_CLI_FAILED;
    }
    sl_rpc_client_free(cli->client);
    cli->client = NULL;
    cli->args = &none;
    return status;
}
