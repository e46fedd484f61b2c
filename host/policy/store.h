/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The versions of the policy and the candidate, in one SQLite file (WAL, synchronous=FULL: what was confirmed is on disk).
 *
 *   set_candidate ──▶ candidate (revision rises) ──commit──▶ validate ─▶ rule ids ─▶ compile ─▶ write ─▶ version n+1 + snapshot
 *
 * Thread-safe: calls are serialised. On any failure the running version and the candidate are what they were before the call, in
 * the file and in memory. A file that is damaged is never replaced or emptied: SL_ERR_CORRUPT, and diag says how to get the policy
 * back.
 *
 * First start: version 1, author "sluiced", no rules, every setting at its default, so that nothing is decrypted and everything
 * passes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "policy/snapshot.h"
#include "policy/validate.h"

struct sl_policy_store;

/* clock: NULL means the system's; borrowed. SL_ERR_IO, SL_ERR_CORRUPT, SL_ERR_UNSUPPORTED (written by a newer Sluice),
 * SL_ERR_NOMEM; then *out is unchanged. */
sl_err sl_policy_store_open(const char *path, const struct sl_clock *clock, struct sl_policy_store **out, struct sl_diag *diag);
void sl_policy_store_close(struct sl_policy_store *s); /* NULL is allowed */

/* The running version; the caller releases the reference. */
struct sl_policy_snapshot *sl_policy_store_running(struct sl_policy_store *s);

/* ---- the candidate ---- */

struct sl_policy_candidate {
    Sluice__V1__Config *config; /* the caller's copy */
    uint64_t version;           /* running version that it stems from */
    uint64_t revision;          /* at least 1 */
    bool differs;               /* from the running configuration */
};
void sl_policy_candidate_free(struct sl_policy_candidate *c);

sl_err sl_policy_store_candidate(struct sl_policy_store *s, struct sl_policy_candidate *out);
/* revision: the one the caller began from; SL_ERR_CONFLICT if the candidate has moved on; 0: unconditional. The candidate may have
 * findings; only a commit insists. out (may be NULL) gets the candidate as it is now. */
sl_err sl_policy_store_set_candidate(struct sl_policy_store *s, const Sluice__V1__Config *config, uint64_t revision,
                                     struct sl_policy_candidate *out, struct sl_diag *diag);
/* The candidate becomes the running configuration again. */
sl_err sl_policy_store_discard(struct sl_policy_store *s, struct sl_policy_candidate *out, struct sl_diag *diag);

/* ---- versions ---- */

struct sl_policy_commit {
    uint64_t version;
    struct sl_policy_snapshot *snapshot; /* the caller's reference; NULL after a failure */
    struct sl_findings findings;         /* all of them, after SL_ERR_INVALID, too */
};
void sl_policy_commit_free(struct sl_policy_commit *c);

/* Makes the candidate the next version. SL_ERR_INVALID: validation found errors (out->findings); SL_ERR_CONFLICT: the candidate is
 * not at this revision (0: whatever it is now); SL_ERR_STATE: it equals the running configuration; SL_ERR_IO: not written, e.g. a
 * full disk. */
sl_err sl_policy_store_commit(struct sl_policy_store *s, const char *author, const char *comment, uint64_t revision,
                              struct sl_policy_commit *out, struct sl_diag *diag);

/* Commits an old version's configuration as a new version; the candidate becomes that, too. SL_ERR_NOT_FOUND. */
sl_err sl_policy_store_rollback(struct sl_policy_store *s, uint64_t version, const char *author, const char *comment,
                                struct sl_policy_commit *out, struct sl_diag *diag);

/*
 * Commits one change alone: edit is applied to a copy of the running configuration, which becomes the next version, and to the
 * candidate, which otherwise keeps what others have pending there. If edit fails on the running configuration nothing happens and
 * its error is returned; if it fails on the candidate, the candidate stays without it. edit is called with the store locked: it
 * must not call the store.
 */
typedef sl_err (*sl_policy_edit)(void *arg, Sluice__V1__Config *config, struct sl_diag *diag);
sl_err sl_policy_store_amend(struct sl_policy_store *s, sl_policy_edit edit, void *arg, const char *author, const char *comment,
                             struct sl_policy_commit *out, struct sl_diag *diag);

/* Newest first, at most limit (0: 50). The array and its messages come from malloc (as in VersionList); free with the function
 * below. */
sl_err sl_policy_store_list(struct sl_policy_store *s, size_t limit, Sluice__V1__VersionInfo ***out, size_t *count,
                            struct sl_diag *diag);
void sl_policy_versions_free(Sluice__V1__VersionInfo **versions, size_t count);

/* A committed configuration; free with sl_rpc_message_free(&config->base). SL_ERR_NOT_FOUND, SL_ERR_CORRUPT. */
sl_err sl_policy_store_get(struct sl_policy_store *s, uint64_t version, Sluice__V1__Config **out, struct sl_diag *diag);
