/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What objects are compiled to: sets of addresses, ports and server names that are filled, sealed, and then only asked.
 * Adding after sealing, or asking before, is a programming error. On SL_ERR_NOMEM a set is as before.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "policy/address.h"

/* ---- addresses: sorted disjoint ranges, a list a family ---- */

struct sl_addr_list {
    struct sl_addr_range *ranges;
    size_t count, cap;
};
struct sl_addr_set {
    struct sl_addr_list v4, v6;
};
sl_err sl_addr_set_add(struct sl_addr_set *s, const struct sl_addr_range *r);
void sl_addr_set_seal(struct sl_addr_set *s);
bool sl_addr_set_has(const struct sl_addr_set *s, const struct sl_addr *a);
/* Every address of part is in s. */
bool sl_addr_set_covers(const struct sl_addr_set *s, const struct sl_addr_set *part);
void sl_addr_set_free(struct sl_addr_set *s);

/* ---- ports ---- */

struct sl_port_range {
    uint16_t lo, hi;
};
struct sl_port_set {
    struct sl_port_range *ranges;
    size_t count, cap;
};
/* "443", "8000-8099"; 1..65535. On failure *out is unchanged. */
sl_err sl_port_range_parse(const char *text, struct sl_port_range *out, struct sl_diag *diag);
sl_err sl_port_set_add(struct sl_port_set *s, const struct sl_port_range *r);
void sl_port_set_seal(struct sl_port_set *s);
bool sl_port_set_has(const struct sl_port_set *s, uint16_t port);
bool sl_port_set_covers(const struct sl_port_set *s, const struct sl_port_set *part);
void sl_port_set_free(struct sl_port_set *s);

/* ---- server names: a hash set of exact names and of suffixes ---- */

enum { SL_NAME_LABELS_MAX = 128, SL_NAME_BYTES = 256 };

struct sl_name_pattern {
    char name[SL_NAME_BYTES]; /* lower case, no final dot, no "*."; "" for "*" */
    bool below;               /* "*.name": every name below it; with an empty name: every name */
};
/* A name, "*.name", "*", or an address literal (put into its usual form). On failure *out is unchanged. */
sl_err sl_name_pattern_parse(const char *text, struct sl_name_pattern *out, struct sl_diag *diag);

/* A name to look for, hashed once for any number of sets. */
struct sl_name_key {
    char name[SL_NAME_BYTES];
    size_t len;
    uint64_t hash;      /* of all of it */
    size_t label_count; /* suffixes that begin after a dot */
    struct {
        size_t at;
        uint64_t hash;
    } labels[SL_NAME_LABELS_MAX];
};
/* SL_ERR_INVALID: too long to be a name; it then matches nothing but "*". */
sl_err sl_name_key_make(const char *name, struct sl_name_key *out);

struct sl_name_entry {
    uint64_t hash;
    char *name; /* NULL: free */
    bool below;
};
struct sl_name_set {
    struct sl_name_entry *slots;
    size_t count, cap; /* cap: a power of two, at most three quarters used */
    bool every;
};
sl_err sl_name_set_add(struct sl_name_set *s, const struct sl_name_pattern *p);
bool sl_name_set_has(const struct sl_name_set *s, const struct sl_name_key *k);
bool sl_name_set_covers(const struct sl_name_set *s, const struct sl_name_set *part);
void sl_name_set_free(struct sl_name_set *s);
