/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "pki/trust_impl.h"

/* CAs whose private key is public knowledge: SHA-256 of the certificate. */
static const uint8_t KNOWN_BAD[][SL_SHA256_LEN] = {
    /* Superfish, Inc. (Lenovo, 2015) */
    {0xb6, 0xfe, 0x91, 0x51, 0x40, 0x2b, 0xad, 0x1c, 0x06, 0xd7, 0xe6, 0x6d, 0xb6, 0x7a, 0x26, 0xaa,
     0x73, 0x56, 0xf2, 0xe6, 0xc6, 0x44, 0xdb, 0xcf, 0x9f, 0x98, 0x96, 0x8f, 0xf6, 0x32, 0xe1, 0xb7},
    /* eDellRoot (Dell, 2015) */
    {0xec, 0x30, 0xc9, 0xc3, 0x06, 0x5a, 0x06, 0xbb, 0x07, 0xdc, 0x5b, 0x1c, 0x6b, 0x49, 0x7f, 0x37,
     0x0c, 0x1c, 0xa6, 0x5c, 0x0f, 0x30, 0xc0, 0x8e, 0x04, 0x2b, 0xa6, 0xbc, 0xec, 0xc7, 0x8f, 0x2c},
    /* DSDTestProvider (Dell, 2015) */
    {0x0f, 0x91, 0x2f, 0xd7, 0xbe, 0x76, 0x0b, 0xe2, 0x5a, 0xfb, 0xc5, 0x6b, 0xdc, 0x09, 0xcd, 0x9e,
     0x5d, 0xcc, 0x9c, 0x6f, 0x6a, 0x55, 0xa7, 0x78, 0xae, 0xfc, 0xb6, 0xaa, 0x30, 0xe3, 0x15, 0x54},
    /* Sennheiser HeadSetup (2018), two */
    {0x91, 0xe5, 0xcc, 0x32, 0x91, 0x06, 0x86, 0xc5, 0xca, 0xc2, 0x5c, 0x18, 0xcc, 0x80, 0x56, 0x96,
     0xc7, 0xb3, 0x38, 0x68, 0xc2, 0x80, 0xca, 0xf0, 0xc7, 0x28, 0x44, 0xa2, 0xa8, 0xeb, 0x91, 0xe2},
    {0xdd, 0xd8, 0xab, 0x91, 0x78, 0xc9, 0x9c, 0xbd, 0x96, 0x85, 0xea, 0x4a, 0xe6, 0x6d, 0xc2, 0x8b,
     0xfd, 0xc9, 0xa5, 0xa8, 0xa1, 0x66, 0xf7, 0xf6, 0x9a, 0xd0, 0xb5, 0x04, 0x2a, 0xd6, 0xeb, 0x28},
};
enum { KNOWN_BAD_COUNT = sizeof(KNOWN_BAD) / sizeof(KNOWN_BAD[0]) };

static bool listed(const uint8_t (*list)[SL_SHA256_LEN], size_t count, const uint8_t hash[static SL_SHA256_LEN])
{
    for (size_t i = 0; i < count; i++) {
        if (memcmp(list[i], hash, SL_SHA256_LEN) == 0)
            return true;
    }
    return false;
}

bool sl_trust_is_bad(const struct sl_trust *trust, const X509 *cert)
{
    uint8_t whole[SL_SHA256_LEN], key[SL_SHA256_LEN];

    /* What can't be hashed can't be cleared. */
    if (sl_cert_sha256(cert, whole) || sl_cert_spki_sha256(cert, key))
        return true;
    return listed(KNOWN_BAD, KNOWN_BAD_COUNT, whole) ||
           listed((const uint8_t(*)[SL_SHA256_LEN])trust->bad, trust->bad_count, whole) ||
           listed((const uint8_t(*)[SL_SHA256_LEN])trust->bad, trust->bad_count, key);
}

static bool same_subject_and_key_id(X509 *a, X509 *b)
{
    const ASN1_OCTET_STRING *id_a = X509_get0_subject_key_id(a), *id_b = X509_get0_subject_key_id(b);
    return id_a && id_b && ASN1_OCTET_STRING_cmp(id_a, id_b) == 0 &&
           X509_NAME_cmp(X509_get_subject_name(a), X509_get_subject_name(b)) == 0;
}

/* The signature is checked only where the names say that it could be ours: a public-key operation for each stranger would be waste.
 */
static bool signed_by(X509 *cert, X509 *ca)
{
    const ASN1_OCTET_STRING *wanted = X509_get0_authority_key_id(cert), *own = X509_get0_subject_key_id(ca);
    bool named = X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(ca)) == 0;
    bool keyed = wanted && own && ASN1_OCTET_STRING_cmp(wanted, own) == 0;

    if (!named && !keyed)
        return false;
    EVP_PKEY *key = X509_get0_pubkey(ca);
    bool genuine = key && X509_verify(cert, key) == 1;
    ERR_clear_error();
    return genuine || (named && keyed);
}

bool sl_trust_is_own(const struct sl_trust *trust, X509 *cert)
{
    uint8_t spki[SL_SHA256_LEN];

    if (trust->own_count == 0)
        return false;
    if (sl_cert_spki_sha256(cert, spki))
        return true;
    for (size_t i = 0; i < trust->own_count; i++) {
        const struct sl_own_ca *own = &trust->own[i];
        if (memcmp(own->spki, spki, sizeof(spki)) == 0 || same_subject_and_key_id(cert, own->cert) || signed_by(cert, own->cert))
            return true;
    }
    return false;
}

static bool pin_covers_port(const struct sl_pin *pin, uint16_t port)
{
    for (size_t i = 0; i < pin->port_count; i++) {
        if (pin->ports[i] == port)
            return true;
    }
    return pin->port_count == 0 && port == SL_PIN_DEFAULT_PORT;
}

static bool pin_covers_host(const struct sl_pin *pin, const struct sl_name *name)
{
    for (size_t i = 0; name && name->text[0] && i < pin->host_count; i++) {
        if (strcmp(pin->hosts[i].text, name->text) == 0)
            return true;
    }
    return false;
}

const struct sl_pin *sl_trust_find_pin(const struct sl_trust *trust, const uint8_t sha256[static SL_SHA256_LEN],
                                       const struct sl_name *host, const struct sl_name *address, uint16_t port, uint64_t now_ns)
{
    for (size_t i = 0; i < trust->pin_count; i++) {
        const struct sl_pin *pin = &trust->pins[i];
        if (memcmp(pin->sha256, sha256, SL_SHA256_LEN) == 0 && now_ns < pin->expires_ns && pin_covers_port(pin, port) &&
            (pin_covers_host(pin, host) || pin_covers_host(pin, address)))
            return pin;
    }
    return NULL;
}

static const char *item_name(const struct sl_trust_item *item)
{
    return item->name && item->name[0] ? item->name : "(unnamed)";
}

static sl_err fill_pin(const struct sl_trust_item *item, X509 *cert, struct sl_pin *pin, struct sl_diag *diag)
{
    int64_t end = 0;

    if (item->host_count == 0)
        return sl_fail(diag, SL_ERR_INVALID, "certificate '%s': a pin needs at least one host", item_name(item));
    pin->hosts = calloc(item->host_count, sizeof(*pin->hosts));
    pin->ports = calloc(item->port_count + 1, sizeof(*pin->ports));
    if (!pin->hosts || !pin->ports)
        return sl_fail(diag, SL_ERR_NOMEM, "no memory for the trust store");
    for (; pin->host_count < item->host_count; pin->host_count++) {
        if (sl_name_parse(item->hosts[pin->host_count], &pin->hosts[pin->host_count]))
            return sl_fail(diag, SL_ERR_INVALID, "certificate '%s': '%s' is neither a host name nor an address", item_name(item),
                           item->hosts[pin->host_count]);
    }
    for (; pin->port_count < item->port_count; pin->port_count++) {
        uint32_t port = item->ports[pin->port_count];
        if (port == 0 || port > UINT16_MAX)
            return sl_fail(diag, SL_ERR_INVALID, "certificate '%s': %u is no port", item_name(item), port);
        pin->ports[pin->port_count] = (uint16_t)port;
    }
    pin->own_end = item->expires_ns != 0;
    pin->expires_ns = item->expires_ns;
    if (!pin->own_end) {
        if (sl_cert_time(X509_get0_notAfter(cert), &end))
            return sl_fail(diag, SL_ERR_CORRUPT, "certificate '%s': its end date is no date", item_name(item));
        pin->expires_ns = end > 0 ? (uint64_t)end * SL_NS_PER_S : 0;
    }
    return sl_cert_sha256(cert, pin->sha256);
}

static void free_pin(struct sl_pin *pin)
{
    free(pin->hosts);
    free(pin->ports);
}

static sl_err add_item(struct sl_trust *trust, const struct sl_trust_item *item, struct sl_diag *diag)
{
    X509 *cert = NULL;
    sl_err err = sl_cert_decode(item->der.data, item->der.len, &cert, diag);

    if (err)
        return sl_fail_prefix(diag, err, "certificate '%s'", item_name(item));
    if (sl_trust_is_own(trust, cert))
        err = sl_fail(diag, SL_ERR_INVALID, "certificate '%s' belongs to this gateway's own CA, which is never trusted for servers",
                      item_name(item));
    else if (sl_trust_is_bad(trust, cert))
        err = sl_fail(diag, SL_ERR_INVALID, "certificate '%s' is on the list of certificates whose key is public", item_name(item));
    else if (item->kind == SL_TRUST_PIN) {
        trust->info.pins++;
        err = fill_pin(item, cert, &trust->pins[trust->pin_count++], diag);
    } else if (X509_check_ca(cert) == 0)
        err = sl_fail(diag, SL_ERR_INVALID,
                      "certificate '%s' is not a CA and can't be an anchor: import it as a pin, with the hosts it is for",
                      item_name(item));
    else {
        trust->info.policy_anchors++;
        err = sl_trust_add_anchor(trust, cert);
    }
    X509_free(cert);
    ERR_clear_error();
    return err;
}

static sl_err add_own(struct sl_trust *trust, const struct sl_der *der, struct sl_diag *diag)
{
    struct sl_own_ca *own = &trust->own[trust->own_count];
    sl_err err = sl_cert_decode(der->data, der->len, &own->cert, diag);

    if (err)
        return sl_fail_prefix(diag, err, "own CA");
    X509_check_purpose(own->cert, -1, 0);
    trust->own_count++;
    return sl_cert_spki_sha256(own->cert, own->spki);
}

static sl_err new_empty(const struct sl_trust_options *o, struct sl_trust **out)
{
    const struct sl_clock *clock = o->clock ? o->clock : sl_clock_system();
    struct sl_trust *t = calloc(1, sizeof(*t));

    if (!t)
        return SL_ERR_NOMEM;
    atomic_init(&t->references, 1);
    t->info.policy_version = o->version;
    t->info.loaded_ns = clock->wall_ns(clock->arg);
    t->store = X509_STORE_new();
    t->own = calloc(o->own_ca_count + 1, sizeof(*t->own));
    t->bad = calloc(o->bad_count + 1, sizeof(*t->bad));
    t->pins = calloc(o->item_count + 1, sizeof(*t->pins));
    if (!t->store || !t->own || !t->bad || !t->pins || RAND_bytes(t->id, sizeof(t->id)) != 1) {
        sl_trust_unref(t);
        return SL_ERR_NOMEM;
    }
    if (o->bad_count > 0)
        memcpy(t->bad, o->bad, o->bad_count * SL_SHA256_LEN);
    t->bad_count = o->bad_count;
    *out = t;
    return SL_OK;
}

sl_err sl_trust_new(const struct sl_trust_options *options, struct sl_trust **out, struct sl_diag *diag)
{
    struct sl_trust *trust = NULL;
    sl_err err = new_empty(options, &trust);

    if (err)
        return sl_fail(diag, err, "no memory for the trust store");
    /* First what is never trusted: everything after is held against it. */
    for (size_t i = 0; i < options->own_ca_count && !err; i++)
        err = add_own(trust, &options->own_cas[i], diag);
    if (!err && options->bundle)
        err = sl_trust_load_bundle(trust, options->bundle, diag);
    for (size_t i = 0; i < options->item_count && !err; i++)
        err = add_item(trust, &options->items[i], diag);
    for (size_t i = 0; i < options->crl_count && !err; i++)
        err = sl_trust_load_crl(trust, options->crls[i], diag);
    if (err)
        sl_trust_unref(trust);
    else
        *out = trust;
    return err;
}

sl_err sl_trust_item_check(const struct sl_trust_item *item, const struct sl_der *own_cas, size_t own_ca_count,
                           struct sl_diag *diag)
{
    const struct sl_trust_options options = {.items = item, .item_count = 1, .own_cas = own_cas, .own_ca_count = own_ca_count};
    struct sl_trust *trust = NULL;
    sl_err err = sl_trust_new(&options, &trust, diag);

    sl_trust_unref(trust);
    return err;
}

struct sl_trust *sl_trust_ref(struct sl_trust *trust)
{
    if (trust)
        atomic_fetch_add_explicit(&trust->references, 1, memory_order_relaxed);
    return trust;
}

void sl_trust_unref(struct sl_trust *trust)
{
    if (!trust || atomic_fetch_sub_explicit(&trust->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < trust->own_count; i++)
        X509_free(trust->own[i].cert);
    for (size_t i = 0; i < trust->pin_count; i++)
        free_pin(&trust->pins[i]);
    X509_STORE_free(trust->store);
    free(trust->own);
    free(trust->bad);
    free(trust->pins);
    free(trust);
}

void sl_trust_info(const struct sl_trust *trust, struct sl_trust_info *out)
{
    *out = trust->info;
}
