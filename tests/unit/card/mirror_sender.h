/* SPDX-License-Identifier: Apache-2.0 */
/* Records as a card mirrors them, sealed by the definition (docs/card.md, section 5) and cut into items in every way there is. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "card/card_packets.h"
#include "trace_frame.h" /* random numbers */

enum { MIRROR_CONTENT_MAX = 1 << 14, MIRROR_TEXT_MAX = MIRROR_CONTENT_MAX + 1, MIRROR_VERIFIED = 1, MIRROR_BAD = 2 };

extern struct trace_random mirror_random;

struct mirror_record {
    uint64_t flow, open_seq;
    uint32_t index, tcp_seq;
    uint16_t epoch, text_bytes, content_bytes;
    uint8_t lane, type, verdict;
    uint8_t key[16], tag[16];
    uint8_t plain[MIRROR_TEXT_MAX], sealed[MIRROR_TEXT_MAX];
};

/* content: bytes; padding: behind the type, -1 for TLS 1.2, where there is no type in the text. The verdict is MIRROR_VERIFIED. */
void mirror_make_record(struct mirror_record *r, uint32_t index, uint8_t lane, uint64_t flow, uint64_t open_seq, unsigned content,
                        int padding);
void mirror_random_record(struct mirror_record *r, uint32_t index, uint8_t lane, uint64_t flow, uint64_t open_seq, bool tls13);
unsigned mirror_random_length(unsigned most); /* often short */
void mirror_seal(struct mirror_record *r);    /* again, after plain or key was changed */

/* An item of the record without text; then what comes into it: bytes [offset, offset + n) of the text, which lie from `at` on, and
 * of which those are new whose bits are set; the first n bytes as part b, at the end of the line; the verdict with key and tag. */
struct card_mirror mirror_item_of(const struct mirror_record *r);
void mirror_put_a(struct card_mirror *x, const struct mirror_record *r, unsigned at, unsigned offset, unsigned n, uint64_t fresh);
void mirror_put_b(struct card_mirror *x, const struct mirror_record *r, unsigned n);
void mirror_put_text(struct card_mirror *x, const struct mirror_record *r, unsigned at, unsigned offset, unsigned n,
                     uint64_t fresh);
void mirror_put_verdict(struct card_mirror *x, const struct mirror_record *r);
uint64_t mirror_bits(unsigned at, unsigned n); /* n of them from `at` on */

struct card_mirror mirror_text_item(const struct mirror_record *r, unsigned offset, unsigned n, uint64_t fresh);
struct card_mirror mirror_end_item(const struct mirror_record *r);

struct mirror_items {
    struct card_mirror *item;
    size_t count, room;
};
struct card_mirror *mirror_add(struct mirror_items *l, const struct card_mirror *x);

/* The record's items behind those that are there. Its text in order, nearly so or in any; its first bytes maybe with the verdict of
 * the one before, its verdict maybe with its last text. */
void mirror_send_record(struct mirror_items *l, const struct mirror_record *r);
