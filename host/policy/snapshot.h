/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy in force, compiled for matching: immutable, shared by counted references, any number of threads may decide with it.
 *
 *   Config ──sl_policy_snapshot_new──▶ networks  → sorted disjoint address ranges, binary search
 *                                      services  → sorted disjoint port ranges
 *                                      hosts     → hash set of names and of suffixes, one probe a label
 *                                      rules     → in order, first match wins, then the implicit end of settings
 *
 * A connection is decided up to three times: by addresses when it arrives (name SL_NAME_PENDING), then with the name of the
 * ClientHello (SL_NAME_KNOWN or SL_NAME_ABSENT), and again after a commit only if the caller wants that. Everything that a decision
 * points to belongs to the snapshot and lives as long as the caller's reference.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "policy/address.h"
#include "sluice/v1/config.pb-c.h"

struct sl_policy_snapshot;

enum {
    SL_POLICY_RULES_MAX = 10000,
    SL_POLICY_OBJECTS_MAX = 10000,  /* of each kind */
    SL_POLICY_ENTRIES_MAX = 500000, /* prefixes, ports and patterns altogether, includes resolved */
    SL_POLICY_MONITORS_MAX = 16,    /* noted for one decision; further ones only count */
    SL_POLICY_NAME_MAX = 255
};

/*
 * Compiles a configuration. It need not have been validated, but what validation calls an error is an error here, too:
 * SL_ERR_INVALID with diag (may be NULL) telling the first one; SL_ERR_LIMIT; SL_ERR_NOMEM. Then *out is unchanged. The config is
 * copied.
 */
sl_err sl_policy_snapshot_new(const Sluice__V1__Config *config, uint64_t version, struct sl_policy_snapshot **out,
                              struct sl_diag *diag);
struct sl_policy_snapshot *sl_policy_snapshot_ref(struct sl_policy_snapshot *s); /* returns s */
void sl_policy_snapshot_unref(struct sl_policy_snapshot *s);                     /* NULL is allowed */

uint64_t sl_policy_version(const struct sl_policy_snapshot *s);

/* With every default filled in: no enum is UNSPECIFIED and no limit is 0. */
const Sluice__V1__Settings *sl_policy_settings(const struct sl_policy_snapshot *s);

/* The configuration as it was committed. */
const Sluice__V1__Config *sl_policy_config(const struct sl_policy_snapshot *s);

/* Certificates to trust beyond the system's anchors: der is set and parses, sha256 is that of der, a pin has hosts (lower case) and
 * ports. Expired ones (expires_ns != 0 and <= now) are in the list, too: the caller knows the time. */
const Sluice__V1__TrustedCertificate *const *sl_policy_trusted(const struct sl_policy_snapshot *s, size_t *count);

/* ---- deciding ---- */

enum sl_name_state {
    SL_NAME_PENDING, /* the ClientHello has not been seen */
    SL_NAME_ABSENT,  /* it was seen and names nobody; rules with hosts do not match */
    SL_NAME_KNOWN
};

struct sl_policy_query {
    struct sl_addr client, server;
    uint16_t server_port;
    enum sl_name_state name_state;
    const char
        *name; /* with SL_NAME_KNOWN: any case, a final dot allowed; an address literal in an explicit request is a name, too */
    uint64_t now_ns; /* wall time: expired rules do not match */
};

enum sl_policy_outcome {
    SL_POLICY_DECIDED,
    SL_POLICY_NEED_NAME /* the first rule that may match depends on a name that is still pending: ask again with it */
};

/* A rule that matched. */
struct sl_policy_hit {
    uint64_t id;      /* 0: the implicit last rule, or a rule that was never committed */
    const char *name; /* "implicit" for the implicit last rule */
    bool implicit;
    bool
        by_name; /* the rule has hosts: it was the name that made it match (V13: a name is a claim until a certificate proves it) */
};

struct sl_policy_decryption {
    enum sl_policy_outcome outcome;
    Sluice__V1__DecryptionAction action; /* never MONITOR or UNSPECIFIED once decided */
    struct sl_policy_hit rule;
    /* Monitor rules that matched before the deciding one. Those on names are left out while the name is pending. */
    struct sl_policy_hit monitors[SL_POLICY_MONITORS_MAX];
    size_t monitor_count; /* filled entries */
};

struct sl_policy_access {
    enum sl_policy_outcome outcome;
    Sluice__V1__AccessAction action; /* ALLOW or DENY once decided */
    struct sl_policy_hit rule;
};

/* Allocate nothing, take no lock, can't fail. */
void sl_policy_decide_decryption(const struct sl_policy_snapshot *s, const struct sl_policy_query *q,
                                 struct sl_policy_decryption *out);
void sl_policy_decide_access(const struct sl_policy_snapshot *s, const struct sl_policy_query *q, struct sl_policy_access *out);

/* The words used in events and tables: "decrypt", "do-not-decrypt", "block", "block-reset", "monitor"; "allow", "deny". */
const char *sl_policy_decryption_action_name(Sluice__V1__DecryptionAction action);
const char *sl_policy_access_action_name(Sluice__V1__AccessAction action);
