/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS part of a flow's event: what each side offered, what was chosen, what the server showed and how it was judged. */
#include "gateway/flow_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/event.h"
#include "pki/chain.h"
#include "pki/verify.h"
#include "tls/names.h"

typedef const char *name_fn(uint16_t value, char buf[static SL_TLS_NAME_BYTES]);

static Sluice__V1__TlsParameters *new_parameters(Sluice__V1__TlsParameters **field)
{
    if (!*field) {
        *field = malloc(sizeof **field);
        if (*field)
            sluice__v1__tls_parameters__init(*field);
    }
    return *field;
}

static void append_names(char ***list, size_t *count, const uint16_t *values, size_t n, name_fn *name)
{
    char buf[SL_TLS_NAME_BYTES];
    for (size_t i = 0; i < n; i++)
        sl_event_append(list, count, name(values[i], buf));
}

static void append_alpn(char ***list, size_t *count, struct sl_cursor names)
{
    struct sl_cursor name;
    char text[256];
    while (sl_client_hello_alpn_next(&names, &name)) {
        snprintf(text, sizeof text, "%.*s", (int)sl_cursor_left(&name), (const char *)name.at);
        sl_event_append(list, count, text);
    }
}

static const char *ech_text(enum sl_ech ech)
{
    return ech == SL_ECH_OFFERED ? "offered" : ech == SL_ECH_GREASE ? "grease" : "none";
}

void sl_report_hello(struct sl_flow *f, const struct sl_client_hello *hello)
{
    Sluice__V1__TlsParameters *p = f->event ? new_parameters(&f->event->tls->client_offered) : NULL;
    if (!p)
        return;
    sl_event_set(&f->event->tls->sni, hello->sni);
    sl_event_set(&f->event->tls->ja4, hello->ja4);
    sl_event_set(&f->event->tls->ech, ech_text(hello->ech));
    sl_event_set(&f->event->app->name, "Transport Layer Security Protocol");
    sl_event_set(&f->event->app->type, "IP Protocol");
    append_names(&p->versions, &p->n_versions, hello->versions.at, hello->versions.count, sl_tls_version_name);
    append_names(&p->ciphers, &p->n_ciphers, hello->suites.at, hello->suites.count, sl_tls_suite_name);
    append_names(&p->groups, &p->n_groups, hello->groups.at, hello->groups.count, sl_tls_group_name);
    append_names(&p->sigalgs, &p->n_sigalgs, hello->sigalgs.at, hello->sigalgs.count, sl_tls_sigalg_name);
    append_alpn(&p->alpn, &p->n_alpn, hello->alpn);
}

void sl_report_offer(struct sl_flow *f)
{
    const struct sl_offer *o = &f->handshake->offer;
    Sluice__V1__TlsParameters *p = f->event ? new_parameters(&f->event->tls->server_offered) : NULL;
    if (!p)
        return;
    for (uint16_t version = o->version_max; version >= o->version_min && version >= SL_TLS12; version--)
        append_names(&p->versions, &p->n_versions, &version, 1, sl_tls_version_name);
    append_names(&p->ciphers, &p->n_ciphers, o->suites, o->suite_count, sl_tls_suite_name);
    append_names(&p->groups, &p->n_groups, o->groups, o->group_count, sl_tls_group_name);
    append_names(&p->sigalgs, &p->n_sigalgs, o->sigalgs, o->sigalg_count, sl_tls_sigalg_name);
    append_alpn(&p->alpn, &p->n_alpn, sl_cursor_make(o->alpn, o->alpn_len));
}

static void fill_selected(Sluice__V1__TlsParameters **field, const struct sl_leg_info *info)
{
    Sluice__V1__TlsParameters *p = info->server_hello ? new_parameters(field) : NULL;
    char text[256];
    if (!p)
        return;
    append_names(&p->versions, &p->n_versions, &info->version, info->version ? 1 : 0, sl_tls_version_name);
    append_names(&p->ciphers, &p->n_ciphers, &info->suite, info->suite ? 1 : 0, sl_tls_suite_name);
    append_names(&p->groups, &p->n_groups, &info->group, info->group ? 1 : 0, sl_tls_group_name);
    append_names(&p->sigalgs, &p->n_sigalgs, &info->sigalg, info->sigalg ? 1 : 0, sl_tls_sigalg_name);
    if (info->alpn_len) {
        snprintf(text, sizeof text, "%.*s", (int)info->alpn_len, (const char *)info->alpn);
        sl_event_append(&p->alpn, &p->n_alpn, text);
    }
}

/* Each alert of a leg once, in the order seen. */
static void note_alerts(struct sl_flow *f, const struct sl_leg_info *info, size_t *noted)
{
    for (; *noted < info->alert_count; ++*noted)
        sl_flow_note_alert(f, info->alerts[*noted].level, info->alerts[*noted].code, info->alerts[*noted].direction);
}

static void fill_chain(Sluice__V1__Event *e, const struct sl_chain *chain)
{
    const struct sl_chain_cert *leaf = sl_chain_at(chain, 0);

    if (!leaf || e->n_server_chain > 0)
        return;
    sl_event_set(&e->tls->server_cert_subject, leaf->common_name);
    sl_event_set(&e->tls->server_cert_issuer, leaf->issuer);
    for (size_t i = 0; i < leaf->san_count && i < SL_FLOW_SANS_REPORTED; i++)
        sl_event_append(&e->tls->server_cert_sans, &e->tls->n_server_cert_sans, leaf->sans[i]);
    for (size_t i = 0; i < sl_chain_count(chain); i++) {
        Sluice__V1__ChainCertificate *message = NULL, *slot = NULL;
        if (sl_chain_message(chain, i, &message) || sl_event_add_certificate(e, &slot)) {
            sluice__v1__chain_certificate__free_unpacked(message, NULL);
            return;
        }
        sluice__v1__chain_certificate__free_unpacked(slot, NULL);
        e->server_chain[e->n_server_chain - 1] = message;
    }
}

static void fill_verdict(Sluice__V1__Event *e, const struct sl_verdict *v)
{
    if (v->chain)
        fill_chain(e, v->chain);
    e->verify->code = v->code;
    e->verify->depth = v->depth;
    sl_event_set(&e->verify->text, v->text);
    sl_event_set(&e->verify->name, v->name);
    sl_event_set(&e->revocation->method, sl_revocation_method_text(v->revocation.method));
    sl_event_set(&e->revocation->result, sl_revocation_result_text(v->revocation.result));
    e->revocation->age_s = v->revocation.age_s;
    e->tls->ambiguous_destination = v->cause == SLUICE__V1__CAUSE__SRV_CERT_HOST_MISMATCH;
}

void sl_report_server_leg(struct sl_flow *f)
{
    const struct sl_leg_info *info = sl_leg_info(sl_server_leg_base(f->handshake->server_leg));
    const struct sl_verdict *verdict = sl_server_leg_verdict(f->handshake->server_leg);
    char buf[SL_TLS_NAME_BYTES];
    Sluice__V1__Event *e = f->event;

    if (!e)
        return;
    e->latency->server_handshake_us = sl_report_lap(f);
    note_alerts(f, info, &f->handshake->server_alerts);
    if (info->server_hello && info->version)
        sl_event_set(&e->tls->version, sl_tls_version_name(info->version, buf));
    if (info->server_hello && info->suite)
        sl_event_set(&e->tls->server_cipher, sl_tls_suite_name(info->suite, buf));
    fill_selected(&e->tls->server_selected, info);
    e->tls->server_resumed = info->resumed;
    if (*info->error)
        sl_event_set(&e->tls->error, info->error);
    if (info->resumed && info->cause == SLUICE__V1__CAUSE__CAUSE_NONE)
        sl_metric_add(f->worker->gateway->metrics.resumed_server, 1);
    if (verdict)
        fill_verdict(e, verdict);
}

static int suite_bits(uint16_t id)
{
    const struct sl_suite *suite = sl_suite_find(id);
    return suite ? suite->key_len * 8 : 256; /* outside AES-GCM: ChaCha20-Poly1305 or what the client itself preferred */
}

void sl_report_client_leg(struct sl_flow *f)
{
    const struct sl_leg_info *info = sl_leg_info(sl_client_leg_base(f->handshake->client_leg));
    const struct sl_leg_info *server = sl_leg_info(sl_server_leg_base(f->handshake->server_leg));
    char buf[SL_TLS_NAME_BYTES];
    Sluice__V1__Event *e = f->event;

    if (!e)
        return;
    e->latency->client_handshake_us = sl_report_lap(f);
    note_alerts(f, info, &f->handshake->client_alerts);
    if (info->suite)
        sl_event_set(&e->tls->client_cipher, sl_tls_suite_name(info->suite, buf));
    fill_selected(&e->tls->client_selected, info);
    e->tls->client_resumed = info->resumed;
    if (*info->error)
        sl_event_set(&e->tls->error, info->error);
    if (info->cause == SLUICE__V1__CAUSE__CAUSE_NONE && info->suite && server->suite) {
        int difference = suite_bits(server->suite) - suite_bits(info->suite);
        sl_event_set(&e->tls->posture, difference == 0 ? "equal" : difference > 0 ? "stronger" : "weaker");
        sl_metric_add(f->worker->gateway->metrics.resumed_client, info->resumed ? 1 : 0);
    }
}

void sl_report_leaf(struct sl_flow *f, const struct sl_leaf *leaf, bool cached)
{
    struct sl_gateway_metrics *m = &f->worker->gateway->metrics;

    sl_metric_add(cached ? m->leaf_cached : m->leaf_minted, 1);
    if (!f->event)
        return;
    f->event->latency->sign_us = sl_report_lap(f);
    f->event->leaf->cached = cached;
    sl_event_set(&f->event->leaf->sha256, leaf->sha256_hex);
    sl_event_set(&f->event->leaf->signed_by, leaf->untrusted ? "untrusted" : "trusted");
}
