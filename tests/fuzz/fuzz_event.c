/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a stored event: explained, rendered, logged, exported, its remedies applied. No control character gets out. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "event/event.h"
#include "event/explain.h"
#include "event/render.h"
#include "event/tls_log.h"
#include "rpc/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_harmless(const struct sl_buf *text)
{
    const uint8_t *bytes = sl_buf_data(text);
    for (size_t i = 0; i < sl_buf_len(text); i++)
        if ((bytes[i] < 0x20 && bytes[i] != '\n') || bytes[i] == 0x7f)
            abort();
}

static void show(const Sluice__V1__Event *e)
{
    const struct sl_render_options options = {.width = 60, .utc = true};
    struct sl_buf text;
    char cells[SL_EVENT_COLUMNS][SL_EVENT_CELL_MAX], *json = NULL;

    sl_buf_init(&text, 4 << 20);
    (void)sl_event_render(e, &options, &text);
    (void)sl_event_render_line(e, &options, &text);
    (void)sl_tls_log_format(e, false, &text);
    expect_harmless(&text);
    sl_buf_free(&text);
    sl_event_row(e, true, cells);
    if (sl_event_json(e, &json) == SL_OK && strchr(json, '\n'))
        abort();
    free(json);
}

static void apply_all(const Sluice__V1__Event *e)
{
    for (size_t i = 0; i < e->n_remedies; i++) {
        const struct sl_remedy_params params = {.confirm_sha256 = e->n_server_chain ? e->server_chain[0]->sha256 : NULL,
                                                .now_ns = 1};
        ProtobufCMessage *config = NULL;
        struct sl_diag done = {""}, diag = {""};
        if (sl_rpc_message_new(&sluice__v1__config__descriptor, &config))
            abort();
        sl_err err = sl_remedy_apply((Sluice__V1__Config *)config, e, e->remedies[i]->id, &params, &done, &diag);
        if (!(err ? diag : done).text[0])
            abort();
        sl_rpc_message_free(config);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Sluice__V1__Event *e = NULL;

    if (sl_event_unpack(data, size, &e))
        return 0;
    show(e);
    apply_all(e);
    if (sl_event_finish(e) || sl_event_explain(e) || sl_event_remedies(e))
        abort();
    show(e);
    apply_all(e);
    sl_event_free(e);
    return 0;
}
