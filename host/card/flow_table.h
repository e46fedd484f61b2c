/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact match of 5-tuples on the host: find gives the index of a flow's entry, a line of 64 bytes that the caller shares.
 *
 *   hash ─┬▶ bucket 1 ┐  a line each: 12 tags of 8 bits, 12 indexes ─▶ entry: key, and what belongs to it
 *         └▶ bucket 2 ┘
 *
 * A flow lies in its first bucket if there is room, else in its second; a bucket counts how many of its flows had to, so that most
 * lookups, also of unknown flows, touch one bucket. Buckets are at most two thirds full on average: where both are full, moving one
 * flow to its other bucket makes room. Lookups come in bursts, and their cache misses at the same time.
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
    uint8_t action; /* the caller's */
    uint8_t used;
    uint16_t reserved;
    uint32_t next_free;
};
_Static_assert(sizeof(struct sl_flow_entry) == 64, "a line");

struct sl_flow_table;

/* A table of at most `flows` flows (1..SL_FLOWS_MAX, else SL_ERR_INVALID). SL_ERR_NOMEM; SL_ERR_IO: no random numbers. */
sl_err sl_flow_table_new(size_t flows, struct sl_flow_table **out);
void sl_flow_table_free(struct sl_flow_table *t); /* NULL is allowed */

/* Adds a flow: its entry is zeroed but for the key, and stays where it is. SL_ERR_EXISTS, SL_ERR_LIMIT; then nothing has changed.
 */
sl_err sl_flow_table_add(struct sl_flow_table *t, const struct sl_flow_key *key, uint32_t *index);
/* The entry is zeroed; a later flow may get the index. */
void sl_flow_table_remove(struct sl_flow_table *t, uint32_t index);

/* index[i]: of the flow keys[i], or SL_FLOW_NONE. count <= SL_FLOW_BURST. */
void sl_flow_table_find(const struct sl_flow_table *t, const struct sl_flow_key *keys, size_t count, uint32_t *index);

struct sl_flow_entry *sl_flow_table_entry(const struct sl_flow_table *t, uint32_t index);
size_t sl_flow_table_count(const struct sl_flow_table *t);
/* Memory of the table, all that it may come to use. */
size_t sl_flow_table_bytes(const struct sl_flow_table *t);
