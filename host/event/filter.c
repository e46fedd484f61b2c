/* SPDX-License-Identifier: Apache-2.0 */
#include "event/filter.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { CODES_MAX = 256 };

static sl_err parse_range(const char *text, const char *what, struct sl_addr_range *out, struct sl_diag *diag)
{
    struct sl_diag inner = {""};
    sl_err err = sl_addr_range_parse(text, out, &inner);
    return err ? sl_fail(diag, err, "%s: %s", what, inner.text) : SL_OK;
}

static sl_err parse_host(struct sl_filter *f, const char *text, struct sl_diag *diag)
{
    size_t len;
    f->below = strncmp(text, "*.", 2) == 0;
    text += f->below ? 2 : 0;
    len = strlen(text);
    if (len == 0 || len >= sizeof f->host || strchr(text, '*'))
        return sl_fail(diag, SL_ERR_INVALID, "host: '%s' is neither a name nor '*.' and a name", text);
    for (size_t i = 0; i <= len; i++)
        f->host[i] = (char)tolower((unsigned char)text[i]);
    return SL_OK;
}

sl_err sl_filter_init(struct sl_filter *f, const Sluice__V1__ListEventsRequest *request, struct sl_diag *diag)
{
    sl_err err = SL_OK;

    memset(f, 0, sizeof *f);
    f->request = request;
    if (!request)
        return SL_OK;
    if (request->n_types > CODES_MAX || request->n_causes > CODES_MAX)
        return sl_fail(diag, SL_ERR_INVALID, "at most %d types and causes", CODES_MAX);
    f->has_client = *request->client != '\0';
    f->has_server = *request->server != '\0';
    if (f->has_client)
        err = parse_range(request->client, "client", &f->client, diag);
    if (!err && f->has_server)
        err = parse_range(request->server, "server", &f->server, diag);
    if (!err && *request->host)
        err = parse_host(f, request->host, diag);
    return err;
}

void sl_filter_host_of(const Sluice__V1__Event *event, char out[static 256])
{
    const char *host = event->tls && *event->tls->sni ? event->tls->sni : event->dst ? event->dst->host : "";
    size_t i = 0;
    for (; i < 255 && host[i]; i++)
        out[i] = (char)tolower((unsigned char)host[i]);
    out[i] = '\0';
}

bool sl_filter_address_of(const char *text, struct sl_addr *out)
{
    return text && *text && sl_addr_parse(text, out) == SL_OK;
}

/* ---- in memory ---- */

static bool address_in(const char *text, const struct sl_addr_range *range)
{
    struct sl_addr a;
    return sl_filter_address_of(text, &a) && sl_addr_range_has(range, &a);
}

static bool host_matches(const struct sl_filter *f, const Sluice__V1__Event *event)
{
    char host[256];
    sl_filter_host_of(event, host);
    if (!f->below)
        return strcmp(host, f->host) == 0;
    size_t len = strlen(host), suffix = strlen(f->host);
    return len > suffix + 1 && host[len - suffix - 1] == '.' && strcmp(host + len - suffix, f->host) == 0;
}

bool sl_filter_match(const struct sl_filter *f, const Sluice__V1__Event *event)
{
    const Sluice__V1__ListEventsRequest *r = f->request;
    bool type = true, cause = true;

    if (!r)
        return true;
    for (size_t i = 0; i < r->n_types; i++)
        if ((type = r->types[i] == event->type))
            break;
    for (size_t i = 0; i < r->n_causes; i++)
        if ((cause = r->causes[i] == event->cause))
            break;
    return type && cause && (!r->since_ns || event->time_ns >= r->since_ns) && (!r->until_ns || event->time_ns < r->until_ns) &&
           (!*r->flow_id || strcmp(r->flow_id, event->flow_id) == 0) &&
           (!f->has_client || (event->src && address_in(event->src->ip, &f->client))) &&
           (!f->has_server || (event->dst && address_in(event->dst->ip, &f->server))) && (!*f->host || host_matches(f, event));
}

/* ---- SQL ---- */

/* A range of IPv6 holds no IPv4 address (address.h), though those sort inside of it. */
static sl_err address_range(struct sl_buf *sql, const char *column, const struct sl_addr_range *range)
{
    sl_err err = sl_buf_printf(sql, " AND %s BETWEEN ? AND ?", column);
    if (!err && !sl_addr_is_v4(&range->lo))
        err = sl_buf_printf(sql, " AND substr(%s, 1, 12) <> x'00000000000000000000ffff'", column);
    return err;
}

static sl_err code_list(struct sl_buf *sql, const char *column, size_t count)
{
    sl_err err = sl_buf_printf(sql, " AND %s IN (", column);
    for (size_t i = 0; !err && i < count; i++)
        err = sl_buf_printf(sql, i ? ",?" : "?");
    return err ? err : sl_buf_printf(sql, ")");
}

sl_err sl_filter_sql(const struct sl_filter *f, struct sl_buf *sql)
{
    const Sluice__V1__ListEventsRequest *r = f->request;
    sl_err err = SL_OK;

    if (!r)
        return SL_OK;
    if (r->n_types)
        err = code_list(sql, "type", r->n_types);
    if (!err && r->n_causes)
        err = code_list(sql, "cause", r->n_causes);
    if (!err && r->since_ns)
        err = sl_buf_printf(sql, " AND time_ns >= ?");
    if (!err && r->until_ns)
        err = sl_buf_printf(sql, " AND time_ns < ?");
    if (!err && *r->flow_id)
        err = sl_buf_printf(sql, " AND flow_id = ?");
    if (!err && f->has_client)
        err = address_range(sql, "client", &f->client);
    if (!err && f->has_server)
        err = address_range(sql, "server", &f->server);
    if (!err && *f->host) /* a suffix: the dot, then the name, at the end of a longer text */
        err = sl_buf_printf(sql, f->below ? " AND substr(host, -length(?)) = ?" : " AND host = ?");
    return err;
}

int sl_filter_bind(const struct sl_filter *f, sqlite3_stmt *s, int next)
{
    const Sluice__V1__ListEventsRequest *r = f->request;

    if (!r)
        return next;
    for (size_t i = 0; i < r->n_types; i++)
        sqlite3_bind_int(s, next++, (int)r->types[i]);
    for (size_t i = 0; i < r->n_causes; i++)
        sqlite3_bind_int(s, next++, (int)r->causes[i]);
    if (r->since_ns)
        sqlite3_bind_int64(s, next++, (sqlite3_int64)r->since_ns);
    if (r->until_ns)
        sqlite3_bind_int64(s, next++, (sqlite3_int64)r->until_ns);
    if (*r->flow_id)
        sqlite3_bind_text(s, next++, r->flow_id, -1, SQLITE_TRANSIENT);
    for (int side = 0; side < 2; side++) {
        if (!(side ? f->has_server : f->has_client))
            continue;
        const struct sl_addr_range *range = side ? &f->server : &f->client;
        sqlite3_bind_blob(s, next++, range->lo.b, sizeof range->lo.b, SQLITE_TRANSIENT);
        sqlite3_bind_blob(s, next++, range->hi.b, sizeof range->hi.b, SQLITE_TRANSIENT);
    }
    if (*f->host) {
        char text[258];
        snprintf(text, sizeof text, "%s%s", f->below ? "." : "", f->host);
        sqlite3_bind_text(s, next++, text, -1, SQLITE_TRANSIENT);
        if (f->below)
            sqlite3_bind_text(s, next++, text, -1, SQLITE_TRANSIENT);
    }
    return next;
}

/* ---- public ---- */

sl_err sl_event_filter_check(const Sluice__V1__ListEventsRequest *filter, struct sl_diag *diag)
{
    struct sl_filter f;
    return sl_filter_init(&f, filter, diag);
}

bool sl_event_filter_match(const Sluice__V1__ListEventsRequest *filter, const Sluice__V1__Event *event)
{
    struct sl_filter f;
    return sl_filter_init(&f, filter, NULL) == SL_OK && sl_filter_match(&f, event);
}
