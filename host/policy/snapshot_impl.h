/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a snapshot, shared by its compiler, the matcher and the search for rules that can't match. */
#pragma once

#include <stdatomic.h>

#include "policy/sets.h"
#include "policy/snapshot.h"

/* The objects that one list of a match names; the literals among its entries are one more set. */
#define SL_CONDITION(type)                                                                                                         \
    struct {                                                                                                                       \
        bool any; /* holds always */                                                                                               \
        const struct type **sets;                                                                                                  \
        size_t count;                                                                                                              \
    }

struct sl_policy_match {
    SL_CONDITION(sl_addr_set) sources, destinations;
    SL_CONDITION(sl_port_set) services;
    SL_CONDITION(sl_name_set) hosts;
    /* literals of the rule */
    struct sl_addr_set own_sources, own_destinations;
    struct sl_port_set own_services;
    struct sl_name_set own_hosts;
};

struct sl_policy_rule {
    struct sl_policy_match match;
    const char *name; /* in the snapshot's copy of the configuration */
    uint64_t id;
    uint64_t expires_ns;
    bool disabled;
    unsigned action;
};

struct sl_policy_snapshot {
    _Atomic unsigned references;
    uint64_t version;
    Sluice__V1__Config *config;
    Sluice__V1__Settings settings;
    struct sl_addr_set *networks; /* as many as config has, includes resolved */
    struct sl_port_set *services;
    struct sl_name_set *hosts;
    struct sl_policy_rule *decryption, *access;
    size_t decryption_count, access_count;
    Sluice__V1__TrustedCertificate **trusted; /* the config's, with defaults filled in */
    size_t trusted_count;
};
