/* SPDX-License-Identifier: Apache-2.0 */
/* The names of a leaf: the DNS names and addresses of the original, read from its DER; see mint.h for what is left out and added.
 */
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "pki/der.h"
#include "pki/mint_impl.h"

static const char UNNAMED[] = "unnamed server";

/* --- sensitive names --- */

sl_err sl_sensitive_new(const char *const *names, size_t count, struct sl_sensitive_list *out, struct sl_diag *diag)
{
    struct sl_sensitive_list list = {.at = calloc(count + 1, sizeof(*list.at))};

    if (!list.at)
        return sl_fail(diag, SL_ERR_NOMEM, "no memory for the list of sensitive names");
    for (; list.count < count; list.count++) {
        struct sl_sensitive *s = &list.at[list.count];
        s->subtree = strncmp(names[list.count], "*.", 2) == 0;
        if (sl_name_parse(names[list.count] + (s->subtree ? 2 : 0), &s->name)) {
            sl_fail(diag, SL_ERR_INVALID, "'%s' in the list of sensitive names is neither a host name nor an address",
                    names[list.count]);
            sl_sensitive_free(&list);
            return SL_ERR_INVALID;
        }
    }
    *out = list;
    return SL_OK;
}

void sl_sensitive_free(struct sl_sensitive_list *list)
{
    free(list->at);
    *list = (struct sl_sensitive_list){0};
}

static bool is_below(const char *text, size_t len, const char *parent)
{
    size_t parent_len = strlen(parent);
    return len > parent_len + 1 && text[len - parent_len - 1] == '.' &&
           strncasecmp(text + len - parent_len, parent, parent_len) == 0;
}

bool sl_sensitive_name(const struct sl_sensitive_list *list, const struct sl_name *name)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct sl_sensitive *s = &list->at[i];
        if (s->subtree ? is_below(name->text, strlen(name->text), s->name.text) : strcmp(s->name.text, name->text) == 0)
            return true;
    }
    return false;
}

/* Would a leaf with this DNS pattern be valid for a sensitive name? */
static bool pattern_touches(const struct sl_sensitive_list *list, const char *pattern, size_t len)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct sl_sensitive *s = &list->at[i];
        if (s->name.ip_len)
            continue;
        if (s->subtree ? is_below(pattern, len, s->name.text) : sl_san_pattern_match(pattern, len, s->name.text))
            return true;
    }
    return false;
}

static bool address_touches(const struct sl_sensitive_list *list, const uint8_t *address, size_t len)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->at[i].name.ip_len == len && memcmp(list->at[i].name.ip, address, len) == 0)
            return true;
    }
    return false;
}

/* --- names of the original --- */

struct choice {
    const struct sl_sensitive_list *sensitive;
    struct sl_name host;
    bool proved;  /* the original covers the host */
    bool covered; /* and so does what is kept */
    bool trimmed; /* something sensitive was left out */
};

/* Whether an entry is kept; notes what it means for the host. */
static bool keep(struct choice *c, uint8_t tag, const struct sl_cursor *value)
{
    size_t len = sl_cursor_left(value);
    bool match, touched;

    if (tag == SL_DER_SAN_DNS) {
        if (len == 0 || len >= SL_NAME_MAX)
            return false;
        match = c->host.ip_len == 0 && sl_san_pattern_match((const char *)value->at, len, c->host.text);
        touched = pattern_touches(c->sensitive, (const char *)value->at, len);
    } else if (tag == SL_DER_SAN_IP && (len == 4 || len == 16)) {
        match = c->host.ip_len == len && memcmp(c->host.ip, value->at, len) == 0;
        touched = address_touches(c->sensitive, value->at, len);
    } else
        return false;
    c->proved = c->proved || match;
    c->covered = c->covered || (match && !touched);
    c->trimmed = c->trimmed || touched;
    return !touched;
}

static struct sl_cursor original_sans(const X509 *upstream)
{
    struct sl_cursor none = sl_cursor_make(NULL, 0), value, names;
    uint8_t tag;
    int at = X509_get_ext_by_NID(upstream, NID_subject_alt_name, -1);

    if (at < 0)
        return none;
    const ASN1_OCTET_STRING *data = X509_EXTENSION_get_data(X509_get_ext(upstream, at));
    value = sl_cursor_make(ASN1_STRING_get0_data(data), (size_t)ASN1_STRING_length(data));
    return sl_der_read(&value, &tag, &names) == SL_OK && tag == SL_DER_SEQUENCE ? names : none;
}

static void append(struct sl_leaf_names *out, const uint8_t *bytes, size_t len)
{
    memcpy(out->sans + out->sans_len, bytes, len);
    out->sans_len += len;
}

static void copy_sans(struct choice *c, struct sl_cursor sans, struct sl_leaf_names *out)
{
    struct sl_cursor value;
    const uint8_t *start;
    uint8_t tag;

    /* A list that breaks off was not accepted by the validation either; what is whole is taken. */
    while (start = sans.at, sl_der_read(&sans, &tag, &value) == SL_OK) {
        if (keep(c, tag, &value))
            append(out, start, (size_t)(sans.at - start));
    }
}

/* An entry of at most 255 bytes. */
static void append_host(const struct sl_name *host, struct sl_leaf_names *out)
{
    uint8_t bytes[SL_NAME_MAX + 4];
    struct sl_der_writer w;

    sl_der_writer_init(&w, bytes, sizeof(bytes));
    if (host->ip_len)
        sl_der_put(&w, host->ip, host->ip_len);
    else
        sl_der_put(&w, host->text, strlen(host->text));
    sl_der_wrap(&w, host->ip_len ? SL_DER_SAN_IP : SL_DER_SAN_DNS, 0);
    append(out, sl_der_data(&w), sl_der_len(&w));
}

/* The entries become the value of the extension: a sequence of them. */
static sl_err wrap(struct sl_leaf_names *names)
{
    enum { HEADER_MAX = 5 };
    size_t cap = names->sans_len + HEADER_MAX;
    struct sl_der_writer w;

    if (names->sans_len == 0)
        return SL_OK;
    uint8_t *bytes = malloc(cap);
    if (!bytes)
        return SL_ERR_NOMEM;
    sl_der_writer_init(&w, bytes, cap);
    sl_der_put(&w, names->sans, names->sans_len);
    sl_der_wrap(&w, SL_DER_SEQUENCE, 0);
    names->sans_len = sl_der_len(&w);
    memmove(bytes, sl_der_data(&w), names->sans_len);
    free(names->sans);
    names->sans = bytes;
    return w.failed ? SL_ERR_LIMIT : SL_OK;
}

static sl_err copy_common_name(const struct sl_sensitive_list *sensitive, const X509 *upstream, struct sl_leaf_names *out)
{
    char *text = NULL;
    sl_err err = sl_cert_common_name(upstream, &text);

    if (!err && strlen(text) <= SL_LEAF_CN_MAX && !pattern_touches(sensitive, text, strlen(text)))
        memcpy(out->common_name, text, strlen(text) + 1);
    free(text);
    /* A certificate must name something (RFC 5280 section 4.1.2.6); no client takes this for a host. */
    if (!err && !out->common_name[0] && out->sans_len == 0)
        memcpy(out->common_name, UNNAMED, sizeof(UNNAMED));
    return err;
}

sl_err sl_leaf_names_choose(const struct sl_sensitive_list *sensitive, const X509 *upstream, const char *host, bool add_host,
                            struct sl_leaf_names *out)
{
    struct choice c = {.sensitive = sensitive};
    struct sl_leaf_names names = {0};
    struct sl_cursor sans = original_sans(upstream);
    sl_err err;

    if (sl_name_parse(host, &c.host))
        c.host = (struct sl_name){0};
    if (c.host.text[0] && sl_sensitive_name(sensitive, &c.host))
        return SL_ERR_DENIED;
    if (!(names.sans = malloc(sl_cursor_left(&sans) + SL_NAME_MAX + 4)))
        return SL_ERR_NOMEM;
    copy_sans(&c, sans, &names);
    names.host_specific = c.trimmed;
    if (c.host.text[0] && !c.covered && (add_host || c.proved)) {
        append_host(&c.host, &names);
        names.host_specific = true;
    }
    err = wrap(&names);
    if (err || (err = copy_common_name(sensitive, upstream, &names)))
        sl_leaf_names_free(&names);
    else
        *out = names;
    return err;
}

void sl_leaf_names_free(struct sl_leaf_names *names)
{
    free(names->sans);
    *names = (struct sl_leaf_names){0};
}
