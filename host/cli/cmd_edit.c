/* SPDX-License-Identifier: Apache-2.0 */
/* config edit: candidate → file → editor → candidate, again and again until it is valid or the operator gives up. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/candidate.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/config_text.h"
#include "cli/text.h"
#include "rpc/message.h"

#define MARK "#! " /* lines of ours, which go before the text is read again */

struct edit {
    struct sl_cli *cli;
    Sluice__V1__ConfigSnapshot *snapshot; /* its revision is the one to be replaced */
    char path[512];
    char *text; /* as the editor left it, without our lines */
    struct sl_diag diag;
};

static const char *editor(void)
{
    static const char *const variables[] = {"VISUAL", "EDITOR"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const char *value = getenv(variables[i]);
        if (value && *value)
            return value;
    }
    return access("/usr/bin/editor", X_OK) == 0 ? "/usr/bin/editor" : "vi";
}

static sl_err run_editor(struct edit *e)
{
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        char command[1024];
        int len = snprintf(command, sizeof command, "%s \"$1\"", editor()); /* the variable may hold arguments */
        if (len > 0 && (size_t)len < sizeof command)
            execl("/bin/sh", "sh", "-c", command, "sh", e->path, (char *)NULL);
        _exit(127);
    }
    if (child < 0)
        return sl_fail(&e->diag, SL_ERR_IO, "the editor can't be started: %s", strerror(errno));
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            return sl_fail(&e->diag, SL_ERR_IO, "the editor is lost: %s", strerror(errno));
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return sl_fail(&e->diag, SL_ERR_CANCELLED, "the editor '%s' failed: nothing was changed; EDITOR names another one",
                       editor());
    return SL_OK;
}

/* The message, line by line behind our mark, then the text. */
static sl_err write_file(struct edit *e, const char *message)
{
    FILE *f = fopen(e->path, "we");
    if (!f)
        return sl_fail(&e->diag, SL_ERR_IO, "%s: %s", e->path, strerror(errno));
    while (message && *message) {
        size_t len = strcspn(message, "\n");
        fprintf(f, MARK "%.*s\n", (int)len, message);
        message += len + (message[len] == '\n' ? 1 : 0);
    }
    fputs(e->text, f);
    return fclose(f) == 0 ? SL_OK : sl_fail(&e->diag, SL_ERR_IO, "%s: %s", e->path, strerror(errno));
}

static void drop_marked_lines(char *text)
{
    char *to = text;
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, "\n");
        len += at[len] == '\n' ? 1 : 0;
        if (strncmp(at, MARK, sizeof MARK - 1) != 0) {
            memmove(to, at, len);
            to += len;
        }
        at += len;
    }
    *to = '\0';
}

/* Into the candidate, and validated. message gets what is wrong; SL_ERR_INVALID means another round. */
static sl_err apply(struct edit *e, struct sl_buf *message)
{
    Sluice__V1__ValidateCandidateRequest request = SLUICE__V1__VALIDATE_CANDIDATE_REQUEST__INIT;
    Sluice__V1__Config *config = NULL;
    ProtobufCMessage *response = NULL;
    size_t errors = 0;

    sl_err err = sl_config_text_parse(NULL, e->text, strlen(e->text), &config, &e->diag);
    if (!err) {
        sl_rpc_message_free(&e->snapshot->config->base);
        e->snapshot->config = config;
        err = sl_candidate_store(e->cli, e->snapshot, &e->diag);
    }
    if (!err)
        err = sl_cli_call(e->cli, "ValidateCandidate", &request.base, &response, &e->diag);
    if (err == SL_ERR_INVALID)
        sl_buf_printf(message, "%s\n", e->diag.text);
    if (err)
        return err;
    const Sluice__V1__ValidationReport *report = (const Sluice__V1__ValidationReport *)response;
    for (size_t i = 0; i < report->n_findings; i++) {
        errors += report->findings[i]->error ? 1 : 0;
        sl_buf_printf(message, "%s: %s: %s\n", report->findings[i]->error ? "error" : "warning", report->findings[i]->path,
                      report->findings[i]->text);
    }
    sl_rpc_message_free(response);
    return errors ? SL_ERR_INVALID : SL_OK;
}

/* One round. *changed: the editor left another text than it found. */
static sl_err edit_round(struct edit *e, const char *message, bool *changed)
{
    char *text = NULL;
    size_t len = 0;
    sl_err err = write_file(e, message);
    if (!err)
        err = run_editor(e);
    if (!err)
        err = sl_cli_read_file(e->cli, e->path, SL_CLI_CONFIG_BYTES_MAX, &text, &len, &e->diag);
    if (err)
        return err;
    drop_marked_lines(text);
    *changed = strcmp(text, e->text) != 0;
    free(e->text);
    e->text = text;
    return SL_OK;
}

static sl_err refresh_revision(struct edit *e)
{
    Sluice__V1__ConfigSnapshot *now = NULL;
    sl_err err = sl_candidate_get(e->cli, SLUICE__V1__CONFIG_SOURCE__CONFIG_CANDIDATE, 0, &now, &e->diag);
    if (err)
        return err;
    e->snapshot->revision = now->revision;
    sl_rpc_message_free(&now->base);
    return SL_OK;
}

/* SL_OK with *changed false: nothing to do. */
static sl_err edit_until_valid(struct edit *e, bool *changed)
{
    struct sl_buf message;
    sl_err err = SL_OK;

    sl_buf_init(&message, 1 << 20);
    for (bool again = true; again;) {
        err = edit_round(e, sl_buf_len(&message) ? (const char *)sl_buf_data(&message) : NULL, changed);
        bool gave_up = !err && !*changed && sl_buf_len(&message);
        if (gave_up)
            err =
                sl_fail(&e->diag, SL_ERR_INVALID, "not valid, and the editor left it as it was; your text is kept in %s", e->path);
        if (err || !*changed)
            break;
        sl_buf_free(&message);
        uint64_t revision = e->snapshot->revision;
        err = apply(e, &message);
        again = err == SL_ERR_INVALID;
        sl_buf_append(&message, "", 1);
        if (again && revision && (err = refresh_revision(e)))
            again = false;
    }
    if (!err && *changed && sl_buf_len(&message) > 1)
        sl_cli_note(e->cli, "%s", (const char *)sl_buf_data(&message));
    sl_buf_free(&message);
    return err;
}

int sl_cmd_config_edit(struct sl_cli *cli)
{
    struct edit e = {.cli = cli};
    const char *folder = getenv("TMPDIR");
    bool changed = false, keep = false;

    sl_err err = sl_candidate_begin(cli, &e.snapshot, &e.diag);
    if (!err)
        err = sl_config_text_print(e.snapshot->config, "yaml", &e.text, &e.diag);
    snprintf(e.path, sizeof e.path, "%.400s/sluice-candidate-XXXXXX.yaml", folder && *folder ? folder : "/tmp");
    int fd = err ? -1 : mkstemps(e.path, 5);
    if (!err && fd < 0)
        err = sl_fail(&e.diag, SL_ERR_IO, "%s: %s", e.path, strerror(errno));
    if (!err) {
        close(fd);
        err = edit_until_valid(&e, &changed);
        keep = err != SL_OK && e.text && changed;
        keep = keep || strstr(e.diag.text, "is kept in") != NULL;
        if (!keep)
            unlink(e.path);
        else if (!strstr(e.diag.text, e.path))
            sl_cli_note(cli, "your text is kept in %s", e.path);
    }
    free(e.text);
    sl_rpc_message_free(e.snapshot ? &e.snapshot->base : NULL);
    if (err)
        return sl_cli_fail(cli, err, &e.diag);
    if (!changed) {
        sl_cli_say(cli, "Nothing was changed.");
        return SL_CLI_OK;
    }
    return sl_candidate_finish(cli, "The candidate was changed.");
}
