/* SPDX-License-Identifier: Apache-2.0 */
#include "event/render.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "event/event.h"

enum { WIDTH_DEFAULT = 80, WIDTH_MIN = 40, LABEL_WIDTH = 30, VALUE_BYTES_MAX = 16384 };

/* ---- escaping ---- */

/* One UTF-8 character: its length, 0 if it is malformed. *code is its number. */
static size_t decode(const uint8_t *s, uint32_t *code)
{
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    *code = n ? s[0] & masks[n] : 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (s[i] & 0x3f);
    }
    return n;
}

/* What could move the cursor, change colours, or make text read in another order than it stands. */
static bool harmful(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xd800 && c <= 0xdfff) || c == 0x61c;
}

sl_err sl_render_escape(struct sl_buf *out, const char *text)
{
    const uint8_t *s = (const uint8_t *)text;
    sl_err err = SL_OK;
    while (!err && *s) {
        uint32_t code = 0;
        size_t n = decode(s, &code);
        if (n == 0)
            err = sl_buf_printf(out, "\\x%02x", s[0]);
        else if (harmful(code))
            err = sl_buf_printf(out, code < 0x80 ? "\\x%02x" : "\\u%04x", (unsigned)code);
        else
            err = sl_buf_append(out, s, n);
        s += n ? n : 1;
    }
    return err;
}

/* ---- the page ---- */

struct page {
    const struct sl_render_options *options;
    struct sl_buf *out;
    unsigned width;
    sl_err err;
};

static void put(struct page *p, const char *text)
{
    if (!p->err)
        p->err = sl_buf_append(p->out, text, strlen(text));
}

static void color(struct page *p, const char *code)
{
    if (p->options->color)
        put(p, code);
}

#define BOLD  "\x1b[1m"
#define RED   "\x1b[31m"
#define GREEN "\x1b[32m"
#define DIM   "\x1b[2m"
#define PLAIN "\x1b[0m"

/* Columns of escaped text: characters, since nothing else is left after escaping. */
static size_t columns(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((uint8_t)text[i] & 0xc0) != 0x80;
    return n;
}

/* Escaped text, broken at blanks, continued under its first column. Words longer than a line stay whole: they are there to be
 * copied. */
static void wrapped(struct page *p, const char *text, unsigned indent)
{
    struct sl_buf escaped;
    size_t at = indent;

    sl_buf_init(&escaped, VALUE_BYTES_MAX);
    sl_err err = sl_render_escape(&escaped, text);
    if (!err)
        err = sl_buf_append(&escaped, "", 1);
    if (err && err != SL_ERR_LIMIT) {
        p->err = p->err ? p->err : err;
        sl_buf_free(&escaped);
        return;
    }
    const char *word = err ? "(too long to show)" : (const char *)sl_buf_data(&escaped);
    while (!p->err && *word) {
        size_t len = strcspn(word, " ");
        size_t need = columns(word, len);
        if (at > indent && at + 1 + need > p->width) {
            p->err = sl_buf_printf(p->out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            put(p, " ");
            at++;
        }
        if (!p->err)
            p->err = sl_buf_append(p->out, word, len);
        at += need;
        word += len;
        word += *word == ' ';
    }
    sl_buf_free(&escaped);
}

static void group(struct page *p, const char *name)
{
    put(p, "\n");
    color(p, BOLD);
    put(p, name);
    color(p, PLAIN);
    put(p, "\n");
}

static void field(struct page *p, const char *label, const char *value)
{
    bool empty = !value || !*value;
    if (empty && p->options->hide_empty)
        return;
    color(p, DIM);
    if (!p->err)
        p->err = sl_buf_printf(p->out, "  %-*s", LABEL_WIDTH - 2, label);
    color(p, PLAIN);
    wrapped(p, empty ? "-" : value, LABEL_WIDTH);
    put(p, "\n");
}

static void number(struct page *p, const char *label, uint64_t value)
{
    char text[24] = "";
    if (value)
        snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    field(p, label, text);
}

/* A number for which 0 says something. */
static void count(struct page *p, const char *label, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    field(p, label, text);
}

static void yes_no(struct page *p, const char *label, bool value)
{
    field(p, label, value ? "Yes" : "No");
}

static void list(struct page *p, const char *label, char *const *items, size_t n)
{
    struct sl_buf text;
    sl_buf_init(&text, VALUE_BYTES_MAX);
    sl_err err = SL_OK;
    for (size_t i = 0; !err && i < n; i++)
        err = sl_buf_printf(&text, "%s%s", i ? ", " : "", items[i]);
    if (!err)
        err = sl_buf_append(&text, "", 1);
    field(p, label, err ? "(too long to show: see -o json)" : (const char *)sl_buf_data(&text));
    sl_buf_free(&text);
}

static void format_time(uint64_t ns, bool utc, const char *format, char out[static 48])
{
    time_t seconds = (time_t)(ns / SL_NS_PER_S);
    struct tm tm;
    out[0] = '\0';
    if (ns && (utc ? gmtime_r(&seconds, &tm) : localtime_r(&seconds, &tm)))
        strftime(out, 48, format, &tm);
}

static void when(struct page *p, const char *label, uint64_t ns)
{
    char seconds[48], zone[48], text[128] = "";
    format_time(ns, p->options->utc, "%a %d %b %Y, %H:%M:%S", seconds);
    format_time(ns, p->options->utc, "%Z", zone);
    if (*seconds)
        snprintf(text, sizeof text, "%s.%03u %s", seconds, (unsigned)(ns % SL_NS_PER_S / SL_NS_PER_MS),
                 p->options->utc ? "UTC" : zone);
    field(p, label, text);
}

static void hit(struct page *p, const char *label, const Sluice__V1__PolicyHit *h)
{
    char text[512] = "";
    if (h && *h->name && h->id)
        snprintf(text, sizeof text, "%.300s (rule %llu): %.64s", h->name, (unsigned long long)h->id, h->action);
    else if (h && *h->name)
        snprintf(text, sizeof text, "%.300s: %.64s", h->name, h->action);
    field(p, label, text);
}

static void head(struct page *p, const Sluice__V1__Event *e)
{
    bool bad = e->cause != SLUICE__V1__CAUSE__CAUSE_NONE;
    color(p, BOLD);
    color(p, bad ? RED : GREEN);
    put(p, sl_event_type_name(e->type));
    color(p, PLAIN);
    put(p, "\n");
    wrapped(p, e->description, 0);
    put(p, "\n\n");
    wrapped(p, e->explanation, 0);
    put(p, "\n");
}

static void remedies(struct page *p, const Sluice__V1__Event *e)
{
    if (e->n_remedies == 0)
        return;
    group(p, "What to do");
    for (size_t i = 0; i < e->n_remedies; i++) {
        const Sluice__V1__Remedy *r = e->remedies[i];
        put(p, "  * ");
        wrapped(p, r->title, 4);
        put(p, "\n");
        if (*r->command) {
            put(p, "      ");
            color(p, BOLD);
            wrapped(p, r->command, 8);
            color(p, PLAIN);
            put(p, "\n");
        }
        if (*r->caution) {
            put(p, "      ");
            color(p, DIM);
            wrapped(p, r->caution, 6);
            color(p, PLAIN);
            put(p, "\n");
        }
    }
}

static void cause_group(struct page *p, const Sluice__V1__Event *e)
{
    char text[160];

    group(p, "Cause");
    field(p, "Cause", e->cause ? sl_cause_name(e->cause) : "");
    field(p, "Side", sl_side_name(e->side));
    field(p, "Stage", sl_stage_name(e->stage));
    for (size_t i = 0; i < e->n_alerts; i++) {
        const Sluice__V1__Alert *a = e->alerts[i];
        snprintf(text, sizeof text, "%s %.40s (%u), %s", a->level == 1 ? "warning" : "fatal", a->name, (unsigned)a->code,
                 sl_alert_direction_name(a->direction));
        field(p, "Alert", text);
    }
    if (e->verify && e->verify->code) {
        snprintf(text, sizeof text, "%.80s (code %d, depth %d)", e->verify->text, e->verify->code, e->verify->depth);
        field(p, "Verification", text);
    }
}

static void event_group(struct page *p, const Sluice__V1__Event *e)
{
    group(p, "Event");
    count(p, "Event ID", e->id);
    when(p, "Time stamp", e->time_ns);
    when(p, "Connection began", e->start_ns);
    field(p, "Flow ID", e->flow_id);
}

static void source_group(struct page *p, const Sluice__V1__Source *s)
{
    group(p, "Source");
    field(p, "User", s->user);
    field(p, "Realm", s->realm);
    field(p, "IP address", s->ip);
    number(p, "Port", s->port);
    field(p, "Interface", s->interface);
    field(p, "Identity", s->identity);
    yes_no(p, "Remote device", s->remote_device);
    field(p, "Client OS name", s->client_os);
    field(p, "Context name", s->context);
}

static void destination_group(struct page *p, const Sluice__V1__Destination *d)
{
    group(p, "Destination");
    field(p, "IP address", d->ip);
    number(p, "Port", d->port);
    field(p, "Interface", d->interface);
    field(p, "Service", d->service);
    field(p, "Host", d->host);
    field(p, "URL", d->url);
    field(p, "URL category", d->url_category);
    field(p, "Web reputation", d->web_reputation);
    field(p, "Threat type", d->threat_type);
}

static void transaction_group(struct page *p, const Sluice__V1__Transaction *t)
{
    group(p, "Transaction");
    number(p, "Connection ID", t->connection_id);
    number(p, "Transaction ID", t->transaction_id);
    field(p, "Component name", t->component);
    count(p, "Bytes sent", t->bytes_sent);
    count(p, "Bytes received", t->bytes_received);
    count(p, "Total bytes", t->bytes_total);
    field(p, "Request content type", t->req_content_type);
    field(p, "Response content type", t->resp_content_type);
    number(p, "HTTP response status", t->http_status);
    field(p, "HTTP app detected phase", t->http_app_phase);
    number(p, "Configuration version", t->config_version);
    field(p, "Error details", t->error);
}

static void parameters(struct page *p, const char *who, const Sluice__V1__TlsParameters *t)
{
    char label[LABEL_WIDTH];
    if (!t)
        return;
    const struct {
        const char *what;
        char **items;
        size_t n;
    } rows[] = {{"versions", t->versions, t->n_versions},
                {"ciphers", t->ciphers, t->n_ciphers},
                {"groups", t->groups, t->n_groups},
                {"signatures", t->sigalgs, t->n_sigalgs},
                {"ALPN", t->alpn, t->n_alpn}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].n == 0)
            continue;
        snprintf(label, sizeof label, "%s %s", who, rows[i].what);
        list(p, label, rows[i].items, rows[i].n);
    }
}

static void tls_group(struct page *p, const Sluice__V1__Tls *t)
{
    group(p, "TLS");
    yes_no(p, "Encrypted flow", t->encrypted);
    yes_no(p, "Decrypted flow", t->decrypted);
    field(p, "Requested domain", t->sni);
    yes_no(p, "Ambiguous destination", t->ambiguous_destination);
    field(p, "Server certificate name", t->server_cert_subject);
    field(p, "Server certificate issuer", t->server_cert_issuer);
    field(p, "TLS version", t->version);
    field(p, "Server cipher suite", t->server_cipher);
    field(p, "Error Details", t->error);
    list(p, "Server certificate SANs", t->server_cert_sans, t->n_server_cert_sans);
    field(p, "Client cipher suite", t->client_cipher);
    field(p, "Posture", t->posture);
    field(p, "JA4", t->ja4);
    field(p, "ECH", t->ech);
    yes_no(p, "Resumed with client", t->client_resumed);
    yes_no(p, "Resumed with server", t->server_resumed);
    parameters(p, "Client offered", t->client_offered);
    parameters(p, "Offered to server", t->server_offered);
    parameters(p, "Client leg", t->client_selected);
    parameters(p, "Server leg", t->server_selected);
}

static void chain_group(struct page *p, const Sluice__V1__Event *e)
{
    if (e->n_server_chain == 0)
        return;
    group(p, "Server chain");
    for (size_t i = 0; i < e->n_server_chain; i++) {
        const Sluice__V1__ChainCertificate *c = e->server_chain[i];
        char label[40], text[160];
        snprintf(label, sizeof label, "%zu: Subject", i);
        field(p, label, *c->subject ? c->subject : "(empty)");
        field(p, "   Issuer", c->issuer);
        snprintf(text, sizeof text, "%.31s to %.31s", c->not_before, c->not_after);
        field(p, "   Valid", text);
        snprintf(text, sizeof text, "%.60s, %.80s", c->key, c->signature);
        field(p, "   Key, signature", text);
        field(p, "   SHA-256", c->sha256);
    }
    field(p, "Revocation", e->revocation ? e->revocation->result : "");
    field(p, "Revocation method", e->revocation ? e->revocation->method : "");
    if (e->leaf && *e->leaf->sha256) {
        field(p, "Leaf shown to client", e->leaf->sha256);
        field(p, "Leaf signed by CA", e->leaf->signed_by);
    }
}

static void latency(struct page *p, const Sluice__V1__Latency *l)
{
    char text[200];
    if (!l || (!l->tcp_us && !l->server_handshake_us && !l->client_handshake_us))
        return;
    snprintf(text, sizeof text, "TCP %llu µs, server handshake %llu µs, leaf %llu µs, client handshake %llu µs",
             (unsigned long long)l->tcp_us, (unsigned long long)l->server_handshake_us, (unsigned long long)l->sign_us,
             (unsigned long long)l->client_handshake_us);
    field(p, "Latency", text);
}

static void policy_group(struct page *p, const Sluice__V1__Event *e)
{
    group(p, "Policy");
    hit(p, "Identity", e->policy->identity);
    hit(p, "Decryption", e->policy->decryption);
    hit(p, "Access", e->policy->access);
    for (size_t i = 0; i < e->policy->n_monitors; i++)
        hit(p, "Monitor", e->policy->monitors[i]);
    if (e->decision && *e->decision->action) {
        char text[256];
        snprintf(text, sizeof text, "%.80s (%.120s)", e->decision->action, e->decision->reason);
        field(p, "Decision", text);
    }
    field(p, "Records handled in", e->placement ? e->placement->where : "");
    latency(p, e->latency);
    if (e->records && e->records->records) {
        count(p, "Records", e->records->records);
        count(p, "Key updates", e->records->rekeys);
    }
}

sl_err sl_event_render(const Sluice__V1__Event *e, const struct sl_render_options *options, struct sl_buf *out)
{
    unsigned width = options->width ? options->width : WIDTH_DEFAULT;
    struct page p = {.options = options, .out = out, .width = width < WIDTH_MIN ? WIDTH_MIN : width};

    head(&p, e);
    remedies(&p, e);
    if (e->cause || e->n_alerts)
        cause_group(&p, e);
    event_group(&p, e);
    if (e->src && e->type != SLUICE__V1__EVENT_TYPE__SYSTEM)
        source_group(&p, e->src);
    if (e->dst && e->type != SLUICE__V1__EVENT_TYPE__SYSTEM)
        destination_group(&p, e->dst);
    if (e->txn)
        transaction_group(&p, e->txn);
    if (e->tls && e->type != SLUICE__V1__EVENT_TYPE__SYSTEM) {
        tls_group(&p, e->tls);
        chain_group(&p, e);
    }
    if (e->app && e->type != SLUICE__V1__EVENT_TYPE__SYSTEM) {
        group(&p, "Application");
        field(&p, "Name", e->app->name);
        field(&p, "Type", e->app->type);
        field(&p, "Behavior", e->app->behavior);
    }
    if (e->device) {
        group(&p, "Device");
        field(&p, "Name", e->device->name);
        field(&p, "Type", e->device->type);
    }
    if (e->policy && e->type != SLUICE__V1__EVENT_TYPE__SYSTEM)
        policy_group(&p, e);
    return p.err;
}

/* ---- rows and lines ---- */

const char *const sl_event_column_names[SL_EVENT_COLUMNS] = {"ID", "TIME", "TYPE", "CLIENT", "SERVER", "WHAT"};

/* Escaped text into a cell, cut at a character. */
static void cell(char out[static SL_EVENT_CELL_MAX], const char *text)
{
    struct sl_buf escaped;
    sl_buf_init(&escaped, VALUE_BYTES_MAX);
    size_t n = 0;
    if (sl_render_escape(&escaped, text) == SL_OK) {
        n = sl_buf_len(&escaped) < SL_EVENT_CELL_MAX - 1 ? sl_buf_len(&escaped) : SL_EVENT_CELL_MAX - 1;
        memcpy(out, sl_buf_data(&escaped) ? (const char *)sl_buf_data(&escaped) : "", n);
        while (n < sl_buf_len(&escaped) && n > 0 && ((uint8_t)sl_buf_data(&escaped)[n] & 0xc0) == 0x80)
            n--;
    }
    out[n] = '\0';
    sl_buf_free(&escaped);
}

static void what(const Sluice__V1__Event *e, char out[static SL_EVENT_CELL_MAX])
{
    if (e->type == SLUICE__V1__EVENT_TYPE__SYSTEM)
        cell(out, e->explanation);
    else if (e->cause)
        snprintf(out, SL_EVENT_CELL_MAX, "%s", sl_cause_name(e->cause));
    else
        cell(out, e->decision ? e->decision->action : "");
}

void sl_event_row(const Sluice__V1__Event *e, bool utc, char cells[SL_EVENT_COLUMNS][SL_EVENT_CELL_MAX])
{
    char time[48], text[400];

    snprintf(cells[0], SL_EVENT_CELL_MAX, "%llu", (unsigned long long)e->id);
    format_time(e->time_ns, utc, "%Y-%m-%d %H:%M:%S", time);
    snprintf(cells[1], SL_EVENT_CELL_MAX, "%s", time);
    snprintf(cells[2], SL_EVENT_CELL_MAX, "%s", sl_event_type_name(e->type));
    cell(cells[3], e->src ? e->src->ip : "");
    const char *name = e->tls && *e->tls->sni ? e->tls->sni : e->dst && *e->dst->host ? e->dst->host : "";
    snprintf(text, sizeof text, *name ? "%.300s (%.60s)" : "%.300s%.60s", name, e->dst ? e->dst->ip : "");
    cell(cells[4], text);
    what(e, cells[5]);
}

sl_err sl_event_render_line(const Sluice__V1__Event *e, const struct sl_render_options *options, struct sl_buf *out)
{
    char cells[SL_EVENT_COLUMNS][SL_EVENT_CELL_MAX];
    bool bad = e->cause != SLUICE__V1__CAUSE__CAUSE_NONE;

    sl_event_row(e, options->utc, cells);
    if (e->type == SLUICE__V1__EVENT_TYPE__SYSTEM)
        return sl_buf_printf(out, "%s  #%s  %s  %s", cells[1], cells[0], cells[2], cells[5]);
    return sl_buf_printf(out, "%s  #%s  %s%s%s  %s -> %s  %s", cells[1], cells[0], options->color ? (bad ? RED : GREEN) : "",
                         cells[2], options->color ? PLAIN : "", cells[3], cells[4], cells[5]);
}
