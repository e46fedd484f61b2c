/* SPDX-License-Identifier: Apache-2.0 */
/* Inside pki: which names a leaf gets. */
#pragma once

#include "pki/mint.h"
#include "pki/san.h"

enum { SL_LEAF_CN_MAX = 64 /* RFC 5280: ub-common-name */ };

/* A name that is never signed for. */
struct sl_sensitive {
    struct sl_name name;
    bool subtree; /* "*.x": everything below x */
};
struct sl_sensitive_list {
    struct sl_sensitive *at;
    size_t count;
};
sl_err sl_sensitive_new(const char *const *names, size_t count, struct sl_sensitive_list *out, struct sl_diag *diag);
void sl_sensitive_free(struct sl_sensitive_list *list);
bool sl_sensitive_name(const struct sl_sensitive_list *list, const struct sl_name *name);

struct sl_leaf_names {
    uint8_t *sans; /* SEQUENCE OF GeneralName in DER, malloc'ed; empty if there are none */
    size_t sans_len;
    char common_name[SL_LEAF_CN_MAX + 1]; /* "": none */
    bool host_specific;
};
/* add_host: the host was vouched for by a pin and is added if upstream doesn't prove it. SL_ERR_DENIED: the host is sensitive. */
sl_err sl_leaf_names_choose(const struct sl_sensitive_list *sensitive, const X509 *upstream, const char *host, bool add_host,
                            struct sl_leaf_names *out);
void sl_leaf_names_free(struct sl_leaf_names *names);
