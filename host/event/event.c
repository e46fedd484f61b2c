/* SPDX-License-Identifier: Apache-2.0 */
#include "event/event.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/explain.h"
#include "rpc/json.h"
#include "rpc/message.h"

/* ---- building ---- */

static sl_err ensure(ProtobufCMessage **field, const ProtobufCMessageDescriptor *type)
{
    return *field ? SL_OK : sl_rpc_message_new(type, field);
}

#define ENSURE(field, type) ensure((ProtobufCMessage **)(void *)&(field), &sluice__v1__##type##__descriptor)

static sl_err ensure_groups(Sluice__V1__Event *e)
{
    if (ENSURE(e->src, source) || ENSURE(e->dst, destination) || ENSURE(e->txn, transaction) || ENSURE(e->tls, tls) ||
        ENSURE(e->app, application) || ENSURE(e->device, device) || ENSURE(e->policy, policy) ||
        ENSURE(e->policy->identity, policy_hit) || ENSURE(e->policy->decryption, policy_hit) ||
        ENSURE(e->policy->access, policy_hit) || ENSURE(e->verify, verify) || ENSURE(e->revocation, revocation) ||
        ENSURE(e->leaf, leaf) || ENSURE(e->decision, decision) || ENSURE(e->placement, placement) || ENSURE(e->latency, latency) ||
        ENSURE(e->records, records))
        return SL_ERR_NOMEM;
    return SL_OK;
}

sl_err sl_event_new(Sluice__V1__Event **out)
{
    ProtobufCMessage *message = NULL;
    sl_err err = sl_rpc_message_new(&sluice__v1__event__descriptor, &message);
    if (err)
        return err;
    Sluice__V1__Event *e = (Sluice__V1__Event *)message;
    if ((err = ensure_groups(e)) || (err = sl_event_set(&e->txn->component, "TLS Proxy"))) {
        sl_event_free(e);
        return err;
    }
    *out = e;
    return SL_OK;
}

void sl_event_free(Sluice__V1__Event *event)
{
    if (event)
        sl_rpc_message_free(&event->base);
}

sl_err sl_event_copy(const Sluice__V1__Event *event, Sluice__V1__Event **out)
{
    ProtobufCMessage *copy = NULL;
    sl_err err = sl_rpc_message_copy(&event->base, &copy);
    if (!err)
        *out = (Sluice__V1__Event *)copy;
    return err;
}

sl_err sl_event_pack(const Sluice__V1__Event *event, uint8_t **bytes, size_t *len)
{
    size_t size = sluice__v1__event__get_packed_size(event);
    uint8_t *packed = malloc(size ? size : 1);
    if (!packed)
        return SL_ERR_NOMEM;
    *len = sluice__v1__event__pack(event, packed);
    *bytes = packed;
    return SL_OK;
}

sl_err sl_event_unpack(const uint8_t *bytes, size_t len, Sluice__V1__Event **out)
{
    ProtobufCMessage *message = NULL;
    sl_err err = sl_rpc_message_unpack(&sluice__v1__event__descriptor, bytes, len, &message, NULL);
    if (err)
        return err == SL_ERR_NOMEM ? err : SL_ERR_CORRUPT;
    Sluice__V1__Event *e = (Sluice__V1__Event *)message;
    if ((err = ensure_groups(e))) {
        sl_event_free(e);
        return err;
    }
    *out = e;
    return SL_OK;
}

/* Length of the valid UTF-8 sequence at s (RFC 3629), 0 if there is none. */
static size_t utf8_sequence(const uint8_t *s, size_t len)
{
    if (s[0] < 0x80)
        return s[0] ? 1 : 0;
    size_t n = s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

/* A copy in valid UTF-8: every offending byte becomes U+FFFD. */
static char *utf8_copy(const uint8_t *s, size_t len)
{
    char *out = len <= SIZE_MAX / 4 ? malloc(3 * len + 1) : NULL;
    size_t used = 0;
    if (!out)
        return NULL;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_sequence(s + i, len - i);
        memcpy(out + used, n ? (const char *)s + i : "\xef\xbf\xbd", n ? n : 3);
        used += n ? n : 3;
        i += n ? n : 1;
    }
    out[used] = '\0';
    return out;
}

static void replace(char **field, char *value)
{
    if (*field != protobuf_c_empty_string)
        free(*field);
    *field = value;
}

sl_err sl_event_setn(char **field, const void *value, size_t len)
{
    if (len == 0) {
        replace(field, (char *)protobuf_c_empty_string);
        return SL_OK;
    }
    char *copy = utf8_copy(value, len);
    if (!copy)
        return SL_ERR_NOMEM;
    replace(field, copy);
    return SL_OK;
}

sl_err sl_event_set(char **field, const char *value)
{
    return sl_event_setn(field, value, value ? strlen(value) : 0);
}

sl_err sl_event_setf(char **field, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0)
        return SL_ERR_NOMEM;
    sl_err err = sl_event_set(field, text);
    free(text);
    return err;
}

/* Makes room for one more pointer in a repeated field. */
static sl_err grow(void *list, size_t count)
{
    void **items = *(void ***)list;
    void **more = count < SIZE_MAX / sizeof *more - 1 ? realloc(items, (count + 1) * sizeof *more) : NULL;
    if (!more)
        return SL_ERR_NOMEM;
    *(void ***)list = more;
    return SL_OK;
}

sl_err sl_event_append(char ***list, size_t *count, const char *value)
{
    char *copy = utf8_copy((const uint8_t *)value, strlen(value));
    if (!copy || grow(list, *count)) {
        free(copy);
        return SL_ERR_NOMEM;
    }
    (*list)[(*count)++] = copy;
    return SL_OK;
}

static sl_err append_message(void *list, size_t *count, const ProtobufCMessageDescriptor *type, ProtobufCMessage **out)
{
    ProtobufCMessage *message = NULL;
    sl_err err = grow(list, *count);
    if (!err)
        err = sl_rpc_message_new(type, &message);
    if (err)
        return err;
    (*(ProtobufCMessage ***)list)[(*count)++] = message;
    *out = message;
    return SL_OK;
}

sl_err sl_event_add_alert(Sluice__V1__Event *event, uint32_t level, uint32_t code, Sluice__V1__AlertDirection direction)
{
    ProtobufCMessage *message = NULL;
    sl_err err = append_message(&event->alerts, &event->n_alerts, &sluice__v1__alert__descriptor, &message);
    if (err)
        return err;
    Sluice__V1__Alert *alert = (Sluice__V1__Alert *)message;
    alert->level = level;
    alert->code = code;
    alert->direction = direction;
    return sl_event_set(&alert->name, code < 256 ? sl_alert_name((uint8_t)code) : "unknown");
}

sl_err sl_event_add_certificate(Sluice__V1__Event *event, Sluice__V1__ChainCertificate **out)
{
    ProtobufCMessage *message = NULL;
    sl_err err = append_message(&event->server_chain, &event->n_server_chain, &sluice__v1__chain_certificate__descriptor, &message);
    if (!err)
        *out = (Sluice__V1__ChainCertificate *)message;
    return err;
}

sl_err sl_event_set_hit(Sluice__V1__PolicyHit *hit, uint64_t id, const char *name, const char *action)
{
    hit->id = id;
    sl_err err = sl_event_set(&hit->name, name);
    return err ? err : sl_event_set(&hit->action, action);
}

sl_err sl_event_add_monitor(Sluice__V1__Event *event, uint64_t id, const char *name)
{
    ProtobufCMessage *message = NULL;
    sl_err err =
        append_message(&event->policy->monitors, &event->policy->n_monitors, &sluice__v1__policy_hit__descriptor, &message);
    return err ? err : sl_event_set_hit((Sluice__V1__PolicyHit *)message, id, name, "monitor");
}

sl_err sl_event_finish(Sluice__V1__Event *event)
{
    sl_err err = SL_OK;

    event->txn->bytes_total = event->txn->bytes_sent + event->txn->bytes_received;
    if (event->side == SLUICE__V1__SIDE__SIDE_UNSPECIFIED)
        event->side = sl_cause_side(event->cause);
    if (!*event->description)
        err = sl_event_set(&event->description, sl_event_type_description(event->type));
    if (!err && !*event->dst->service && event->dst->port)
        err = sl_event_setf(&event->dst->service, "tcp/%u", (unsigned)event->dst->port);
    if (!err && !*event->explanation)
        err = sl_event_explain(event);
    if (!err && event->n_remedies == 0)
        err = sl_event_remedies(event);
    return err;
}

sl_err sl_event_json(const Sluice__V1__Event *event, char **out)
{
    return sl_json_print(&event->base, SL_JSON_PROTO_NAMES, out, NULL);
}
