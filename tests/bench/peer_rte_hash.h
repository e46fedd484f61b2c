/* SPDX-License-Identifier: Apache-2.0 */
/* DPDK's rte_hash as something to compare with: a table of keys, asked 32 at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PEER_BURST = 32 };

/* DPDK's environment, without huge page files, devices or ports; its memory is offered large pages as ours is. false: not here. */
bool peer_init(void);
/* A table of `count` keys of key_bytes each; the position of a key is stored with it. false: it has no room. */
bool peer_fill(const uint8_t *keys, size_t count, size_t key_bytes);
void peer_empty(void);
/* How many of PEER_BURST keys were found; sums up their positions, so that the work is not left out. */
unsigned peer_find(const void *const keys[PEER_BURST], uint64_t *sum);
