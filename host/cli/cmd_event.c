/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/message_edit.h"
#include "cli/table.h"
#include "cli/units.h"
#include "event/event.h"
#include "event/explain.h"
#include "event/render.h"
#include "rpc/message.h"

/* ---------------------------------------------------------------------------------------------------------------------- filter */

static sl_err add_number(void **list, size_t *count, int value)
{
    int *grown = reallocarray(*list, *count + 1, sizeof *grown);
    if (!grown)
        return SL_ERR_NOMEM;
    grown[(*count)++] = value;
    *list = grown;
    return SL_OK;
}

/* One cause, or all that begin with the text and end there or at '_'. */
static sl_err add_causes(Sluice__V1__ListEventsRequest *filter, const char *text, struct sl_diag *diag)
{
    size_t len = strlen(text), found = 0;
    uint32_t cause;

    for (size_t i = 0; (cause = sl_cause_at(i)) != UINT32_MAX; i++) {
        const char *name = sl_cause_name((Sluice__V1__Cause)cause);
        size_t same = 0;
        while (same < len && name[same] && name[same] == (text[same] == '-' ? '_' : (char)toupper((unsigned char)text[same])))
            same++;
        if (same < len || (name[len] != '\0' && name[len] != '_'))
            continue;
        void *list = filter->causes;
        if (add_number(&list, &filter->n_causes, (int)cause))
            return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
        filter->causes = list;
        found++;
        if (name[len] == '\0')
            break;
    }
    return found ? SL_OK : sl_fail(diag, SL_ERR_INVALID, "--cause: there is no cause '%s'; docs/api.md lists them", text);
}

static sl_err add_type(Sluice__V1__ListEventsRequest *filter, const char *text, struct sl_diag *diag)
{
    const ProtobufCEnumDescriptor *type = &sluice__v1__event_type__descriptor;
    char name[64];

    for (unsigned i = 0; i < type->n_values; i++) {
        if (strcmp(sl_edit_enum_text(type, type->values[i].value, name, sizeof name), text) != 0)
            continue;
        void *list = filter->types;
        if (add_number(&list, &filter->n_types, type->values[i].value))
            return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
        filter->types = list;
        return SL_OK;
    }
    return sl_fail(diag, SL_ERR_INVALID, "--type: there is no type '%s'", text);
}

static sl_err set_text(struct sl_cli *cli, const char *option, char **field)
{
    const char *value = sl_cli_value(cli->args, option);
    return value ? sl_event_set(field, value) : SL_OK;
}

static sl_err set_moment(struct sl_cli *cli, const char *option, uint64_t *field, struct sl_diag *diag)
{
    const struct sl_clock *clock = sl_clock_system();
    const char *value = sl_cli_value(cli->args, option);
    char what[32];

    snprintf(what, sizeof what, "--%s", option);
    return value ? sl_units_moment(what, value, clock->wall_ns(clock->arg), field, diag) : SL_OK;
}

/* Fills an initialised request from the options. SL_ERR_INVALID is wrong usage. */
static sl_err read_filter(struct sl_cli *cli, Sluice__V1__ListEventsRequest *filter, struct sl_diag *diag)
{
    const char *values[SL_CLI_ARGS_MAX];
    sl_err err = SL_OK;

    size_t count = sl_cli_values(cli->args, "cause", values, SL_CLI_ARGS_MAX);
    for (size_t i = 0; i < count && !err; i++)
        err = add_causes(filter, values[i], diag);
    count = sl_cli_values(cli->args, "type", values, SL_CLI_ARGS_MAX);
    for (size_t i = 0; i < count && !err; i++)
        err = add_type(filter, values[i], diag);
    if (!err)
        err = set_moment(cli, "since", &filter->since_ns, diag);
    if (!err)
        err = set_moment(cli, "until", &filter->until_ns, diag);
    if (!err && (set_text(cli, "client", &filter->client) || set_text(cli, "server", &filter->server) ||
                 set_text(cli, "host", &filter->host) || set_text(cli, "flow", &filter->flow_id)))
        err = sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    return err;
}

static int filter_failed(struct sl_cli *cli, sl_err err, const struct sl_diag *diag)
{
    return err == SL_ERR_INVALID ? sl_cli_usage(cli, diag) : sl_cli_fail(cli, err, diag);
}

/* --------------------------------------------------------------------------------------------------------------- list and show */

/* Rendering wants every group of an event to be there; a peer may have left empty ones out. */
static sl_err complete(const Sluice__V1__Event *event, Sluice__V1__Event **out)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    sl_err err = sl_event_pack(event, &bytes, &len);
    if (!err)
        err = sl_event_unpack(bytes, len, out);
    free(bytes);
    return err;
}

static sl_err print_events(struct sl_cli *cli, const Sluice__V1__EventList *list)
{
    char cells[SL_EVENT_COLUMNS][SL_EVENT_CELL_MAX];
    struct sl_table table;
    sl_err err = SL_OK;

    sl_table_init(&table, sl_event_column_names, SL_EVENT_COLUMNS);
    for (size_t i = 0; i < list->n_events && !err; i++) {
        Sluice__V1__Event *event = NULL;
        if ((err = complete(list->events[i], &event)))
            break;
        sl_event_row(event, false, cells);
        for (size_t c = 0; c < SL_EVENT_COLUMNS; c++)
            sl_table_text(&table, cells[c]);
        sl_event_free(event);
    }
    if (!err)
        err = sl_table_print(&table, cli->out, "No events.");
    if (!err && list->more)
        sl_cli_note(cli, "there are older ones: --before %" PRIu64 " continues, --limit shows more at once",
                    list->events[list->n_events - 1]->id);
    sl_table_free(&table);
    return err;
}

int sl_cmd_event_list(struct sl_cli *cli)
{
    const char *limit = sl_cli_value(cli->args, "limit"), *before = sl_cli_value(cli->args, "before");
    ProtobufCMessage *request = NULL, *response = NULL;
    struct sl_diag diag = {{0}};
    uint64_t number = 0;
    int status = SL_CLI_OK;

    sl_err err = sl_rpc_message_new(&sluice__v1__list_events_request__descriptor, &request);
    if (err)
        return sl_cli_fail(cli, err, NULL);
    Sluice__V1__ListEventsRequest *filter = (Sluice__V1__ListEventsRequest *)request;
    err = read_filter(cli, filter, &diag);
    if (!err && limit && !(err = sl_units_number("--limit", limit, 1, 1000, &number, &diag)))
        filter->limit = (uint32_t)number;
    if (!err && before)
        err = sl_units_number("--before", before, 1, UINT64_MAX, &filter->before_id, &diag);
    if (err) {
        sl_rpc_message_free(request);
        return filter_failed(cli, err, &diag);
    }
    err = sl_cli_call(cli, "ListEvents", request, &response, &diag);
    if (!err && sl_cli_wants_json(cli))
        status = sl_cli_print_json(cli, response);
    else if (!err)
        err = print_events(cli, (const Sluice__V1__EventList *)response);
    sl_rpc_message_free(request);
    sl_rpc_message_free(response);
    return err ? sl_cli_fail(cli, err, &diag) : status;
}

/* By number, or by flow id: 16 hex digits with a letter or a leading zero, or after --flow. */
static int get_event(struct sl_cli *cli, const char *id, Sluice__V1__Event **out)
{
    Sluice__V1__GetEventRequest request = SLUICE__V1__GET_EVENT_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {{0}};

    if (strlen(id) == 16 && strspn(id, "0123456789abcdefABCDEF") == 16)
        request.flow_id = (char *)(uintptr_t)id;
    else if (sl_units_number("ID", id, 1, UINT64_MAX, &request.id, NULL)) {
        sl_fail(&diag, SL_ERR_INVALID, "'%s' is neither the number of an event nor a flow id (16 hex digits)", id);
        return sl_cli_usage(cli, &diag);
    }
    sl_err err = sl_cli_call(cli, "GetEvent", &request.base, &response, &diag);
    if (!err)
        err = complete((const Sluice__V1__Event *)response, out);
    sl_rpc_message_free(response);
    return err ? sl_cli_fail(cli, err, &diag) : SL_CLI_OK;
}

static struct sl_render_options render_options(const struct sl_cli *cli)
{
    struct sl_render_options options = {.width = 100, .color = cli->out_is_tty && !getenv("NO_COLOR")};
    struct winsize size;

    if (cli->out_is_tty && ioctl(fileno(cli->out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        options.width = size.ws_col;
    return options;
}

int sl_cmd_event_show(struct sl_cli *cli)
{
    struct sl_render_options options = render_options(cli);
    Sluice__V1__Event *event = NULL;
    struct sl_buf page;

    int status = get_event(cli, cli->args->operands[0], &event);
    if (status)
        return status;
    if (sl_cli_wants_json(cli)) {
        status = sl_cli_print_json(cli, &event->base);
    } else {
        sl_buf_init(&page, 16 << 20);
        sl_err err = sl_event_render(event, &options, &page);
        if (err)
            status = sl_cli_fail(cli, err, NULL);
        else if (sl_buf_len(&page))
            fwrite(sl_buf_data(&page), 1, sl_buf_len(&page), cli->out);
        sl_buf_free(&page);
    }
    sl_event_free(event);
    return status;
}

/* ----------------------------------------------------------------------------------------------------------------------- watch */

static int print_live(struct sl_cli *cli, const Sluice__V1__Event *event)
{
    struct sl_render_options options = render_options(cli);
    Sluice__V1__Event *full = NULL;
    struct sl_buf line;
    int status = SL_CLI_OK;

    if (sl_cli_wants_json(cli)) {
        status = sl_cli_print_json_line(cli, &event->base);
    } else {
        sl_err err = complete(event, &full);
        sl_buf_init(&line, 1 << 20);
        if (!err)
            err = sl_event_render_line(full, &options, &line);
        if (!err)
            fprintf(cli->out, "%6" PRIu64 "  %.*s\n", event->id, (int)sl_buf_len(&line), (const char *)sl_buf_data(&line));
        sl_buf_free(&line);
        sl_event_free(full);
        status = err ? sl_cli_fail(cli, err, NULL) : SL_CLI_OK;
    }
    return fflush(cli->out) == 0 ? status : SL_CLI_FAILED; /* nobody reads any more */
}

struct watch {
    Sluice__V1__WatchEventsRequest request;
    uint64_t left; /* events to show; 0: no end */
    int status;
};

/* One stream, until it ends. */
static sl_err watch_stream(struct sl_cli *cli, struct watch *w, struct sl_diag *diag)
{
    struct sl_rpc_client_stream *stream = NULL;
    bool enough = false;

    sl_err err = sl_rpc_client_open(cli->client, &sluice__v1__management__descriptor, "WatchEvents", 0, &stream, diag);
    if (!err)
        err = sl_rpc_client_send(stream, &w->request.base, 0);
    if (!err)
        err = sl_rpc_client_close_send(stream);
    while (stream && !err && !enough) {
        ProtobufCMessage *message = NULL;
        err = sl_rpc_client_recv(stream, &message, diag);
        if (err || !message)
            break;
        w->request.after_id = ((const Sluice__V1__Event *)message)->id;
        w->status = print_live(cli, (const Sluice__V1__Event *)message);
        enough = w->status != SL_CLI_OK || (w->left > 0 && --w->left == 0);
        sl_rpc_message_free(message);
    }
    if (stream && !enough)
        err = sl_rpc_client_finish(stream, diag);
    sl_rpc_client_stream_free(stream);
    if (!err && !enough)
        err = sl_fail(diag, SL_ERR_UNAVAILABLE, "sluiced has ended the stream");
    return err;
}

int sl_cmd_event_watch(struct sl_cli *cli)
{
    struct watch w = {.request = SLUICE__V1__WATCH_EVENTS_REQUEST__INIT};
    const char *after = sl_cli_value(cli->args, "after"), *count = sl_cli_value(cli->args, "count");
    ProtobufCMessage *filter = NULL;
    struct sl_diag diag = {{0}};

    sl_err err = sl_rpc_message_new(&sluice__v1__list_events_request__descriptor, &filter);
    if (err)
        return sl_cli_fail(cli, err, NULL);
    w.request.filter = (Sluice__V1__ListEventsRequest *)filter;
    err = read_filter(cli, w.request.filter, &diag);
    if (!err && after)
        err = sl_units_number("--after", after, 1, UINT64_MAX, &w.request.after_id, &diag);
    if (!err && count)
        err = sl_units_number("--count", count, 1, UINT64_MAX, &w.left, &diag);
    if (err) {
        sl_rpc_message_free(filter);
        return filter_failed(cli, err, &diag);
    }
    err = sl_cli_connect(cli, &diag);
    if (!err) {
        do /* a watcher that was too slow for the live stream goes on where it was */
            err = watch_stream(cli, &w, &diag);
        while (err == SL_ERR_LIMIT && w.status == SL_CLI_OK);
        if (err)
            err = sl_cli_explain(cli, err, &diag);
    }
    sl_rpc_message_free(filter);
    return err ? sl_cli_fail(cli, err, &diag) : w.status;
}

/* ------------------------------------------------------------------------------------------------------------------------- fix */

static int list_remedies(struct sl_cli *cli, const Sluice__V1__Event *event)
{
    static const char *const heads[] = {"REMEDY", "WHAT IT DOES", "COMMAND"};
    Sluice__V1__Event shown = SLUICE__V1__EVENT__INIT;
    struct sl_table table;

    if (sl_cli_wants_json(cli)) {
        shown.id = event->id;
        shown.n_remedies = event->n_remedies;
        shown.remedies = event->remedies;
        return sl_cli_print_json(cli, &shown.base);
    }
    sl_table_init(&table, heads, 3);
    for (size_t i = 0; i < event->n_remedies; i++) {
        sl_table_text(&table, event->remedies[i]->id);
        sl_table_text(&table, event->remedies[i]->title);
        sl_table_text(&table, event->remedies[i]->command[0] ? event->remedies[i]->command : "(advice only)");
    }
    sl_err err = sl_table_print(&table, cli->out, "Nothing can be done about this event from here.");
    sl_table_free(&table);
    for (size_t i = 0; i < event->n_remedies && !err; i++) {
        if (event->remedies[i]->caution[0])
            sl_cli_say(cli, "Caution with %s: %s", event->remedies[i]->id, event->remedies[i]->caution);
    }
    return err ? sl_cli_fail(cli, err, NULL) : SL_CLI_OK;
}

/* The certificate that a remedy would trust: the server's own, or the root that came with it. */
static const Sluice__V1__ChainCertificate *certificate_to_confirm(const Sluice__V1__Event *event, const char *remedy)
{
    if (event->n_server_chain == 0)
        return NULL;
    if (strcmp(remedy, "pin-certificate") == 0)
        return event->server_chain[0];
    return strcmp(remedy, "add-private-root") == 0 ? event->server_chain[event->n_server_chain - 1] : NULL;
}

/* Trusting needs a fingerprint that somebody compared: asked for on a terminal, otherwise an error that tells the command. */
static int confirm_certificate(struct sl_cli *cli, const Sluice__V1__Event *event, const char *remedy, const char **confirmed)
{
    const Sluice__V1__ChainCertificate *c = certificate_to_confirm(event, remedy);

    *confirmed = "";
    if (!c)
        return SL_CLI_OK;
    sl_cli_say(cli, "%-12s%s\n%-12s%s\n%-12s%s to %s\n%-12s%s", "Subject", c->subject, "Issuer", c->issuer, "Valid", c->not_before,
               c->not_after, "SHA-256", c->sha256);
    if (!cli->in_is_tty) {
        sl_cli_note(cli,
                    "compare the SHA-256 with what the server's owner says, by another way than this connection; then run "
                    "'sluicectl event fix %" PRIu64 " %s --confirm %.16s'",
                    event->id, remedy, c->sha256);
        return SL_CLI_FAILED;
    }
    if (!sl_cli_confirm(cli,
                        "Compare the SHA-256 with what the server's owner says, by another way than this connection.\nIs it the "
                        "same? Type yes:",
                        "yes")) {
        sl_cli_note(cli, "not confirmed: nothing was changed");
        return SL_CLI_FAILED;
    }
    *confirmed = c->sha256;
    return SL_CLI_OK;
}

static int apply_remedy(struct sl_cli *cli, const Sluice__V1__Event *event, const char *confirmed, uint64_t duration_s)
{
    Sluice__V1__ApplyRemedyRequest request = SLUICE__V1__APPLY_REMEDY_REQUEST__INIT;
    const char *comment = sl_cli_value(cli->args, "message");
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {{0}};
    int status = SL_CLI_OK;

    request.event_id = event->id;
    request.remedy_id = (char *)(uintptr_t)cli->args->operands[1];
    request.confirm_sha256 = (char *)(uintptr_t)confirmed;
    request.duration_s = duration_s;
    request.comment = (char *)(uintptr_t)(comment ? comment : "");
    sl_err err = sl_cli_call(cli, "ApplyRemedy", &request.base, &response, &diag);
    if (err)
        return sl_cli_fail(cli, err, &diag);
    const Sluice__V1__ApplyRemedyResponse *done = (const Sluice__V1__ApplyRemedyResponse *)response;
    if (sl_cli_wants_json(cli))
        status = sl_cli_print_json(cli, response);
    else
        sl_cli_say(cli, "%s Committed as version %" PRIu64 ".", done->done, done->version);
    sl_rpc_message_free(response);
    return status;
}

int sl_cmd_event_fix(struct sl_cli *cli)
{
    const struct sl_cli_args *args = cli->args;
    const char *confirmed = sl_cli_value(args, "confirm"), *duration = sl_cli_value(args, "for");
    Sluice__V1__Event *event = NULL;
    struct sl_diag diag = {{0}};
    uint64_t ns = 0;

    if (duration && (sl_units_duration("--for", duration, &ns, &diag) ||
                     (ns < SL_NS_PER_S && sl_fail(&diag, SL_ERR_INVALID, "--for: at least 1s is expected"))))
        return sl_cli_usage(cli, &diag);
    int status = get_event(cli, args->operands[0], &event);
    if (status || !event)
        return status;
    if (args->operand_count == 1)
        status = list_remedies(cli, event);
    else if (confirmed || !(status = confirm_certificate(cli, event, args->operands[1], &confirmed)))
        status = apply_remedy(cli, event, confirmed, ns / SL_NS_PER_S);
    sl_event_free(event);
    return status;
}
