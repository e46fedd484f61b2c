/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/offer.h"

#include <openssl/evp.h>
#include <string.h>

#include "record/tls.h"

/* ---- what Sluice speaks ---- */

/* P2, P3: nothing without forward secrecy or without AEAD in the modern profile; nothing below 112 bits anywhere. */
static const struct sl_tls_suite suites[] = {
    {0x1301, SL_TLS13, "TLS_AES_128_GCM_SHA256", SL_KX_TLS13, SL_AUTH_ANY, true, true},
    {0x1302, SL_TLS13, "TLS_AES_256_GCM_SHA384", SL_KX_TLS13, SL_AUTH_ANY, true, true},
    {0x1303, SL_TLS13, "TLS_CHACHA20_POLY1305_SHA256", SL_KX_TLS13, SL_AUTH_ANY, false, true},
    {0xc02b, SL_TLS12, "ECDHE-ECDSA-AES128-GCM-SHA256", SL_KX_ECDHE, SL_AUTH_ECDSA, true, true},
    {0xc02c, SL_TLS12, "ECDHE-ECDSA-AES256-GCM-SHA384", SL_KX_ECDHE, SL_AUTH_ECDSA, true, true},
    {0xc02f, SL_TLS12, "ECDHE-RSA-AES128-GCM-SHA256", SL_KX_ECDHE, SL_AUTH_RSA, true, true},
    {0xc030, SL_TLS12, "ECDHE-RSA-AES256-GCM-SHA384", SL_KX_ECDHE, SL_AUTH_RSA, true, true},
    {0xcca8, SL_TLS12, "ECDHE-RSA-CHACHA20-POLY1305", SL_KX_ECDHE, SL_AUTH_RSA, false, true},
    {0xcca9, SL_TLS12, "ECDHE-ECDSA-CHACHA20-POLY1305", SL_KX_ECDHE, SL_AUTH_ECDSA, false, true},
    {0x009e, SL_TLS12, "DHE-RSA-AES128-GCM-SHA256", SL_KX_DHE, SL_AUTH_RSA, true, false},
    {0x009f, SL_TLS12, "DHE-RSA-AES256-GCM-SHA384", SL_KX_DHE, SL_AUTH_RSA, true, false},
    {0xc009, SL_TLS12, "ECDHE-ECDSA-AES128-SHA", SL_KX_ECDHE, SL_AUTH_ECDSA, false, false},
    {0xc00a, SL_TLS12, "ECDHE-ECDSA-AES256-SHA", SL_KX_ECDHE, SL_AUTH_ECDSA, false, false},
    {0xc013, SL_TLS12, "ECDHE-RSA-AES128-SHA", SL_KX_ECDHE, SL_AUTH_RSA, false, false},
    {0xc014, SL_TLS12, "ECDHE-RSA-AES256-SHA", SL_KX_ECDHE, SL_AUTH_RSA, false, false},
    {0xc023, SL_TLS12, "ECDHE-ECDSA-AES128-SHA256", SL_KX_ECDHE, SL_AUTH_ECDSA, false, false},
    {0xc024, SL_TLS12, "ECDHE-ECDSA-AES256-SHA384", SL_KX_ECDHE, SL_AUTH_ECDSA, false, false},
    {0xc027, SL_TLS12, "ECDHE-RSA-AES128-SHA256", SL_KX_ECDHE, SL_AUTH_RSA, false, false},
    {0xc028, SL_TLS12, "ECDHE-RSA-AES256-SHA384", SL_KX_ECDHE, SL_AUTH_RSA, false, false},
    {0x009c, SL_TLS12, "AES128-GCM-SHA256", SL_KX_RSA, SL_AUTH_RSA, true, false},
    {0x009d, SL_TLS12, "AES256-GCM-SHA384", SL_KX_RSA, SL_AUTH_RSA, true, false},
};

enum { X25519 = 0x001d, P256 = 0x0017, P384 = 0x0018, P521 = 0x0019, X448 = 0x001e, FFDHE2048 = 0x0100 };

/* Finite fields of RFC 7919 count as DHE: not modern. */
static const struct {
    uint16_t id;
    bool modern;
} groups[] = {{X25519, true}, {P256, true},       {P384, true},    {P521, true},
              {X448, true},   {FFDHE2048, false}, {0x0101, false}, {0x0102, false}};

/* Everything with SHA-1 or MD5 is left out (V5). */
static const uint16_t sigalgs[] = {0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0807,
                                   0x0808, 0x0809, 0x080a, 0x080b, 0x0401, 0x0501, 0x0601};

/* Of a client that has no signature_algorithms or supported_groups extension: RFC 5246 section 7.4.1.4.1 would mean SHA-1, which
 * nobody accepts any more; such a client can't be asked, so the modern set is offered. */
static const uint16_t default_sigalgs[] = {0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601};
static const uint16_t default_groups[] = {P256, P384, P521};

const struct sl_tls_suite *sl_tls_suite_find(uint16_t id)
{
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++)
        if (suites[i].id == id)
            return &suites[i];
    return NULL;
}

static bool group_allowed(uint16_t id, enum sl_crypto_profile profile)
{
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (groups[i].id == id)
            return groups[i].modern || profile == SL_PROFILE_COMPATIBLE;
    return false;
}

static bool sigalg_allowed(uint16_t id)
{
    for (size_t i = 0; i < sizeof sigalgs / sizeof sigalgs[0]; i++)
        if (sigalgs[i] == id)
            return true;
    return false;
}

static bool has(const uint16_t *list, size_t count, uint16_t value)
{
    return sl_u16_list_has(&(struct sl_u16_list){list, count}, value);
}

/* ---- intersection ---- */

static sl_err take_versions(const struct sl_client_hello *h, struct sl_offer *o)
{
    bool v12 = sl_client_hello_offers_version(h, SL_TLS12), v13 = sl_client_hello_offers_version(h, SL_TLS13);
    if (!v12 && !v13)
        return SL_ERR_UNSUPPORTED;
    o->version_min = v12 ? SL_TLS12 : SL_TLS13;
    o->version_max = v13 ? SL_TLS13 : SL_TLS12;
    return SL_OK;
}

static bool suite_allowed(const struct sl_tls_suite *s, const struct sl_offer *o)
{
    return s && (s->modern || o->profile == SL_PROFILE_COMPATIBLE) && s->version >= o->version_min && s->version <= o->version_max;
}

static bool is_scsv(uint16_t id)
{
    return id == 0x00ff || id == 0x5600;
}

static void take_suites(const struct sl_client_hello *h, struct sl_offer *o)
{
    for (size_t i = 0; i < h->suites.count; i++) {
        uint16_t id = h->suites.at[i];
        if (sl_is_grease(id) || is_scsv(id) || has(o->suites, o->suite_count, id))
            continue;
        if (suite_allowed(sl_tls_suite_find(id), o) && o->suite_count < SL_OFFER_SUITES_MAX)
            o->suites[o->suite_count++] = id;
        else if (o->dropped_count < SL_OFFER_DROPPED_MAX && !has(o->dropped, o->dropped_count, id))
            o->dropped[o->dropped_count++] = id;
    }
}

static void take_groups(const struct sl_client_hello *h, struct sl_offer *o)
{
    struct sl_u16_list from = h->groups;
    if (from.count == 0)
        from = (struct sl_u16_list){default_groups, sizeof default_groups / sizeof default_groups[0]};
    for (size_t i = 0; i < from.count; i++)
        if (group_allowed(from.at[i], o->profile) && !has(o->groups, o->group_count, from.at[i]) &&
            o->group_count < SL_OFFER_GROUPS_MAX)
            o->groups[o->group_count++] = from.at[i];
}

static void take_sigalgs(const struct sl_client_hello *h, struct sl_offer *o)
{
    struct sl_u16_list from = h->sigalgs;
    if (from.count == 0)
        from = (struct sl_u16_list){default_sigalgs, sizeof default_sigalgs / sizeof default_sigalgs[0]};
    for (size_t i = 0; i < from.count; i++)
        if (sigalg_allowed(from.at[i]) && !has(o->sigalgs, o->sigalg_count, from.at[i]) && o->sigalg_count < SL_OFFER_SIGALGS_MAX)
            o->sigalgs[o->sigalg_count++] = from.at[i];
}

static bool alpn_is_grease(struct sl_cursor name)
{
    return sl_cursor_left(&name) == 2 && sl_is_grease((uint16_t)(name.at[0] << 8 | name.at[1]));
}

static void take_alpn(const struct sl_client_hello *h, struct sl_offer *o)
{
    struct sl_cursor list = h->alpn, name;
    while (h->has_alpn && sl_client_hello_alpn_next(&list, &name)) {
        size_t len = sl_cursor_left(&name);
        if (alpn_is_grease(name) || o->alpn_len + 1 + len > SL_OFFER_ALPN_MAX)
            continue;
        o->alpn[o->alpn_len++] = (uint8_t)len;
        memcpy(o->alpn + o->alpn_len, name.at, len);
        o->alpn_len += len;
    }
}

/* A version without a suite is not offered. */
static sl_err narrow_versions(struct sl_offer *o)
{
    bool v12 = false, v13 = false;
    for (size_t i = 0; i < o->suite_count; i++) {
        v12 |= sl_tls_suite_find(o->suites[i])->version == SL_TLS12;
        v13 |= sl_tls_suite_find(o->suites[i])->version == SL_TLS13;
    }
    if ((!v12 && !v13) || o->group_count == 0 || o->sigalg_count == 0)
        return SL_ERR_UNSUPPORTED;
    if (!v12)
        o->version_min = SL_TLS13;
    if (!v13)
        o->version_max = SL_TLS12;
    return SL_OK;
}

/* Lengths are part of what is hashed, so that no two offers run together. */
static sl_err hash_offer(struct sl_offer *o)
{
    struct {
        uint16_t versions[2];
        uint16_t counts[4];
        uint16_t suites[SL_OFFER_SUITES_MAX], groups[SL_OFFER_GROUPS_MAX], sigalgs[SL_OFFER_SIGALGS_MAX];
        uint8_t alpn[SL_OFFER_ALPN_MAX];
    } plain = {0};
    uint8_t digest[EVP_MAX_MD_SIZE];

    plain.versions[0] = o->version_min;
    plain.versions[1] = o->version_max;
    plain.counts[0] = (uint16_t)o->suite_count;
    plain.counts[1] = (uint16_t)o->group_count;
    plain.counts[2] = (uint16_t)o->sigalg_count;
    plain.counts[3] = (uint16_t)o->alpn_len;
    memcpy(plain.suites, o->suites, sizeof plain.suites);
    memcpy(plain.groups, o->groups, sizeof plain.groups);
    memcpy(plain.sigalgs, o->sigalgs, sizeof plain.sigalgs);
    memcpy(plain.alpn, o->alpn, sizeof plain.alpn);
    if (!EVP_Q_digest(NULL, "SHA256", NULL, &plain, sizeof plain, digest, NULL))
        return SL_ERR_CRYPTO;
    memcpy(o->hash, digest, sizeof o->hash);
    return SL_OK;
}

static sl_err refuse(Sluice__V1__Cause *cause, Sluice__V1__Cause value)
{
    if (cause)
        *cause = value;
    return SL_ERR_UNSUPPORTED;
}

sl_err sl_offer_make(const struct sl_client_hello *hello, enum sl_crypto_profile profile, struct sl_offer *offer,
                     Sluice__V1__Cause *cause)
{
    *offer = (struct sl_offer){.profile = profile};
    if (cause)
        *cause = SLUICE__V1__CAUSE__CAUSE_NONE;
    offer->fallback_scsv = hello->fallback_scsv;
    if (take_versions(hello, offer))
        return refuse(cause, SLUICE__V1__CAUSE__CLI_UNSUPPORTED_VERSION);
    take_suites(hello, offer);
    take_groups(hello, offer);
    take_sigalgs(hello, offer);
    take_alpn(hello, offer);
    if (narrow_versions(offer))
        return refuse(cause, SLUICE__V1__CAUSE__CLI_NO_SHARED_CIPHER);
    sl_err err = hash_offer(offer);
    if (err && cause)
        *cause = SLUICE__V1__CAUSE__INTERNAL_ERROR;
    return err;
}
