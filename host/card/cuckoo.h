/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of the card's session table (hls/session_table): it keeps a shadow of every slot, decides where a session goes
 * and which others move for it, and says so in single-slot writes. The kernel applies them in order and needs no wit of its own.
 *
 *   insert K:   K ─▶ s0   A ─▶ s1   B ─▶ s2 (empty)          slots s0, s1, s2 hold A, B, nothing; found breadth first
 *   writes:     s2 := B,  s1 := A,  s0 := K                  between any two of them A and B are found, at most twice
 *
 * Every function with a plan either succeeds, and then shadow and plan agree, or leaves both as they were. The writes of a plan
 * must reach the card in order, and plans in the order of the calls. Not thread-safe: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "session_table/table_slot.h"

#ifdef __cplusplus
extern "C" {
using card::table_slot;
#endif

enum {
    SL_CARD_SEED_BYTES = 16,
    SL_CARD_CUCKOO_NODES = 2048, /* slots that a search looks at before it gives up */
    SL_CARD_CUCKOO_WRITES = 16   /* most writes of a plan: longest path of a search, and one */
};

/* Same members as the kernel's flow_key: IPv4 addresses in the first four bytes, the rest zero; ports in host byte order. */
struct sl_card_flow_key {
    uint8_t src[16], dst[16];
    uint16_t sport, dport;
    uint8_t proto;   /* IP protocol number */
    uint8_t version; /* 4 or 6 */
};

struct sl_card_slot_write {
    uint32_t slot; /* < table_slots */
    struct table_slot content;
};

/* Filled by the functions below from write[0] on. */
struct sl_card_cuckoo_plan {
    size_t count;
    struct sl_card_slot_write write[SL_CARD_CUCKOO_WRITES];
};

struct sl_card_cuckoo;

/* An empty table. seed: SL_CARD_SEED_BYTES, or NULL: from the system's random source. SL_ERR_NOMEM, SL_ERR_IO. */
sl_err sl_card_cuckoo_new(const uint8_t *seed, struct sl_card_cuckoo **out);
void sl_card_cuckoo_free(struct sl_card_cuckoo *cuckoo);

/* Empties the table and gives it another hash. The card must be reset with the same seed before the next plan is applied. After an
 * error (SL_ERR_IO: no random source) nothing has changed. */
sl_err sl_card_cuckoo_reset(struct sl_card_cuckoo *cuckoo, const uint8_t *seed);

/* The seed as the words of the card's reset command. It is a secret. */
void sl_card_cuckoo_seed(const struct sl_card_cuckoo *cuckoo, uint64_t word[2]);

/* Adds a session; that its index is used once only is the caller's matter. SL_ERR_EXISTS: the key is there; SL_ERR_LIMIT: no place
 * was found and the stash is full; SL_ERR_INVALID: session >= table_sessions, action > 7, or version neither 4 nor 6. */
sl_err sl_card_cuckoo_insert(struct sl_card_cuckoo *cuckoo, const struct sl_card_flow_key *key, uint32_t session, uint8_t action,
                             struct sl_card_cuckoo_plan *plan);

/* Gives a session that is there another value: one write. SL_ERR_NOT_FOUND, SL_ERR_INVALID. */
sl_err sl_card_cuckoo_change(struct sl_card_cuckoo *cuckoo, const struct sl_card_flow_key *key, uint32_t session, uint8_t action,
                             struct sl_card_cuckoo_plan *plan);

/* Removes a session: one write, and if a session of the stash finds a place now, its move. SL_ERR_NOT_FOUND. */
sl_err sl_card_cuckoo_remove(struct sl_card_cuckoo *cuckoo, const struct sl_card_flow_key *key, struct sl_card_cuckoo_plan *plan);

/* The value of a session. Out parameters may be NULL and are unchanged when it is not there. */
bool sl_card_cuckoo_find(const struct sl_card_cuckoo *cuckoo, const struct sl_card_flow_key *key, uint32_t *session,
                         uint8_t *action);

size_t sl_card_cuckoo_count(const struct sl_card_cuckoo *cuckoo);    /* sessions, those in the stash included */
size_t sl_card_cuckoo_in_stash(const struct sl_card_cuckoo *cuckoo); /* the ones in the stash */
double sl_card_cuckoo_load(const struct sl_card_cuckoo *cuckoo);     /* count / slots of the ways */

/* What a slot holds, slot < table_slots; for audits of the card's content. Valid until the next change. */
const struct table_slot *sl_card_cuckoo_slot(const struct sl_card_cuckoo *cuckoo, uint32_t slot);

#ifdef __cplusplus
}
#endif
