/* SPDX-License-Identifier: Apache-2.0 */
/* The words for the codes of events. */
#include <ctype.h>
#include <string.h>

#include "event/causes.h"
#include "event/event.h"

struct cause {
    Sluice__V1__Cause code;
    const char *name;
    Sluice__V1__Side side;
    const char *text;
};

#define ROW(name, side, text) {SLUICE__V1__CAUSE__##name, #name, SLUICE__V1__SIDE__SIDE_##side, text},
static const struct cause causes[] = {SL_CAUSES(ROW)};
enum { CAUSES = sizeof causes / sizeof causes[0] };

/* A code of a newer version reads as unknown. */
static const struct cause *find(Sluice__V1__Cause code)
{
    static const struct cause unknown = {0, "UNKNOWN", SLUICE__V1__SIDE__SIDE_UNSPECIFIED,
                                         "for a reason that this version does not know"};
    for (size_t i = 0; i < CAUSES; i++)
        if (causes[i].code == code)
            return &causes[i];
    return &unknown;
}

const char *sl_cause_name(Sluice__V1__Cause cause)
{
    return find(cause)->name;
}

Sluice__V1__Side sl_cause_side(Sluice__V1__Cause cause)
{
    return find(cause)->side;
}

const char *sl_cause_text(Sluice__V1__Cause cause)
{
    return find(cause)->text;
}

static int same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (toupper((unsigned char)*a) != (*b == '-' ? '_' : toupper((unsigned char)*b)))
            return 0;
    return *a == *b;
}

sl_err sl_cause_by_name(const char *name, Sluice__V1__Cause *out)
{
    for (size_t i = 0; i < CAUSES; i++)
        if (same_name(causes[i].name, name)) {
            *out = causes[i].code;
            return SL_OK;
        }
    return SL_ERR_NOT_FOUND;
}

bool sl_cause_is_certificate(Sluice__V1__Cause cause)
{
    return cause >= SLUICE__V1__CAUSE__SRV_CERT_SELF_SIGNED && cause <= SLUICE__V1__CAUSE__SRV_CERT_OTHER;
}

uint32_t sl_cause_at(size_t index)
{
    return index < CAUSES ? (uint32_t)causes[index].code : UINT32_MAX;
}

static const struct {
    Sluice__V1__EventType type;
    const char *name, *description;
} types[] = {
    {SLUICE__V1__EVENT_TYPE__TLS_ABORT, "TLS Abort",
     "A TLS or SSL flow was aborted due to a handshake failure or certificate validation error."},
    {SLUICE__V1__EVENT_TYPE__TLS_DECRYPTED, "TLS Decrypted", "A TLS flow was decrypted and relayed."},
    {SLUICE__V1__EVENT_TYPE__TLS_BYPASSED, "TLS Bypassed", "A TLS flow was passed unmodified."},
    {SLUICE__V1__EVENT_TYPE__TLS_BLOCKED, "TLS Blocked", "A flow was ended by a rule."},
    {SLUICE__V1__EVENT_TYPE__NON_TLS, "Non-TLS", "A flow on a watched port did not begin with TLS."},
    {SLUICE__V1__EVENT_TYPE__CONNECTION_FAILED, "Connection Failed", "A flow failed before TLS was spoken."},
    {SLUICE__V1__EVENT_TYPE__SYSTEM, "System", "An event of the gateway itself."},
};

const char *sl_event_type_name(Sluice__V1__EventType type)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].type == type)
            return types[i].name;
    return "Unknown";
}

const char *sl_event_type_description(Sluice__V1__EventType type)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].type == type)
            return types[i].description;
    return "";
}

const char *sl_side_name(Sluice__V1__Side side)
{
    static const char *const names[] = {"", "client", "server", "gateway"};
    return (size_t)side < sizeof names / sizeof names[0] ? names[side] : "";
}

const char *sl_stage_name(Sluice__V1__Stage stage)
{
    static const char *const names[] = {"",       "tcp",          "client_hello", "server_hello",   "certificate",
                                        "verify", "key_exchange", "finished",     "post_handshake", "record"};
    return (size_t)stage < sizeof names / sizeof names[0] ? names[stage] : "";
}

const char *sl_alert_direction_name(Sluice__V1__AlertDirection direction)
{
    static const char *const names[] = {"", "received from server", "sent to server", "received from client", "sent to client"};
    return (size_t)direction < sizeof names / sizeof names[0] ? names[direction] : "";
}
