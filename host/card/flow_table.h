/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact match of 5-tuples on the host: find gives a flow's entry, a line of 64 bytes that the caller shares.
 *
 *   hash ─┬▶ bucket 1 ┐  16 bytes each: 12 tags of 8 bits, one for each of the bucket's 12 entries ─▶ entry: key, and what belongs
 *         └▶ bucket 2 ┘                                                                               to it
 *
 * So a lookup reads a tag, of which there is 1 byte a flow, and then mostly one line of memory, the right one. A flow lies in its
 * first bucket if there is room, else in its second; a bucket counts how many of its flows had to, so that most lookups, also of
 * unknown flows, touch one bucket. Buckets are at most two thirds full on average: where both are full, moving one flow to its
 * other bucket makes room. Lookups come in bursts, and their cache misses at the same time.
 *
 * Whoever sends packets chooses 5-tuples. The hash is a strongly universal one (multilinear, modulo 2^128) with a secret key that
 * is new with every table: without the key nobody finds flows that share a bucket more often than by chance. A table belongs to one
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "card/flow_key.h"

enum { SL_FLOW_BURST = 32, SL_FLOWS_MAX = 1 << 24 };
#define SL_FLOW_NONE UINT32_MAX

struct sl_flow_entry {
    struct sl_flow_key key;
    void *owned[2]; /* the caller's */
    uint32_t index; /* of the flow as long as it is there; an entry may move when another flow is added */
    uint8_t action; /* the caller's */
    uint8_t reserved[3];
};
_Static_assert(sizeof(struct sl_flow_entry) == 64, "a line");

struct sl_flow_table;

/* A table of at most `flows` flows (1..SL_FLOWS_MAX, else SL_ERR_INVALID). SL_ERR_NOMEM; SL_ERR_IO: no random numbers. */
sl_err sl_flow_table_new(size_t flows, struct sl_flow_table **out);
void sl_flow_table_free(struct sl_flow_table *t); /* NULL is allowed */

/* Adds a flow: its entry is zeroed but for key and index, an unused number below `flows`. SL_ERR_EXISTS, SL_ERR_LIMIT; then nothing
 * has changed. */
sl_err sl_flow_table_add(struct sl_flow_table *t, const struct sl_flow_key *key, struct sl_flow_entry **entry);
/* The entry is zeroed; a later flow may get the index. */
void sl_flow_table_remove(struct sl_flow_table *t, uint32_t index);

/* found[i]: the entry of the flow keys[i], or NULL. count <= SL_FLOW_BURST. */
void sl_flow_table_find(const struct sl_flow_table *t, const struct sl_flow_key *keys, size_t count, struct sl_flow_entry **found);

/* The entry of an index that is in use. */
struct sl_flow_entry *sl_flow_table_entry(const struct sl_flow_table *t, uint32_t index);
size_t sl_flow_table_count(const struct sl_flow_table *t);
/* Memory of the table, all that it may come to use. */
size_t sl_flow_table_bytes(const struct sl_flow_table *t);
