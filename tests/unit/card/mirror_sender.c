/* SPDX-License-Identifier: Apache-2.0 */
#include "mirror_sender.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct trace_random mirror_random;

/* ---- records ---- */

/* AES-128 of the counter blocks 0, 1, 2, ...: the definition, block by block (docs/card.md, section 5). */
void mirror_seal(struct mirror_record *r)
{
    EVP_CIPHER_CTX *aes = EVP_CIPHER_CTX_new();
    assert_non_null(aes);
    assert_int_equal(EVP_EncryptInit_ex(aes, EVP_aes_128_ecb(), NULL, r->key, NULL), 1);
    for (unsigned at = 0; at < r->text_bytes; at += 16) {
        uint8_t block[16] = {0};
        int n;
        block[14] = (uint8_t)(at / 16 >> 8);
        block[15] = (uint8_t)(at / 16);
        assert_int_equal(EVP_EncryptUpdate(aes, block, &n, block, 16), 1);
        for (unsigned i = 0; i < 16 && at + i < r->text_bytes; i++)
            r->sealed[at + i] = r->plain[at + i] ^ block[i];
    }
    EVP_CIPHER_CTX_free(aes);
}

void mirror_make_record(struct mirror_record *r, uint32_t index, uint8_t lane, uint64_t flow, uint64_t open_seq, unsigned content,
                        int padding)
{
    *r = (struct mirror_record){.flow = flow,
                                .open_seq = open_seq,
                                .index = index,
                                .lane = lane,
                                .type = (uint8_t)trace_between(&mirror_random, 21, 23),
                                .verdict = MIRROR_VERIFIED,
                                .epoch = (uint16_t)(flow & 3),
                                .tcp_seq = (uint32_t)trace_random64(&mirror_random),
                                .content_bytes = (uint16_t)content,
                                .text_bytes = (uint16_t)(content + (padding < 0 ? 0 : 1 + (unsigned)padding))};
    trace_random_bytes(&mirror_random, r->key, 16);
    trace_random_bytes(&mirror_random, r->tag, 16);
    trace_random_bytes(&mirror_random, r->plain, content);
    if (trace_below(&mirror_random, 4) == 0) /* content that looks like padding */
        memset(r->plain + content / 2, 0, content - content / 2);
    if (padding >= 0)
        r->plain[content] = r->type;
    mirror_seal(r);
}

/* ---- items ---- */

struct card_mirror mirror_item_of(const struct mirror_record *r)
{
    struct card_mirror x;
    memset(&x, 0, sizeof x);
    x.head.version = card_packets_version;
    x.head.lane = r->lane;
    x.head.flow = r->flow;
    x.head.index = r->index;
    x.head.epoch = r->epoch;
    x.head.open_seq = r->open_seq;
    return x;
}

uint64_t mirror_bits(unsigned at, unsigned n)
{
    return n == 0 ? 0 : (n < 64 ? (UINT64_C(1) << n) - 1 : UINT64_MAX) << at;
}

void mirror_put_text(struct card_mirror *x, const struct mirror_record *r, unsigned at, unsigned offset, unsigned n, uint64_t fresh)
{
    for (unsigned i = 0; i < n; i++)
        if ((fresh >> i & 1) != 0)
            x->text[at + i] = r->sealed[offset + i];
    x->head.fresh |= n > 0 ? fresh << at : 0;
    if (x->head.fresh != 0)
        x->head.flags |= card_mirror_text;
}

/* [offset, offset + n) of the text, where it lies in the beat, and which bytes are new. */
void mirror_put_a(struct card_mirror *x, const struct mirror_record *r, unsigned at, unsigned offset, unsigned n, uint64_t fresh)
{
    x->head.a_at = (uint8_t)at;
    x->head.a_bytes = (uint8_t)n;
    x->head.a_offset = (uint16_t)offset;
    mirror_put_text(x, r, at, offset, n, fresh & mirror_bits(0, n));
}

/* The first n bytes, at the end of the beat. */
void mirror_put_b(struct card_mirror *x, const struct mirror_record *r, unsigned n)
{
    x->head.b_at = (uint8_t)(64 - n);
    x->head.b_bytes = (uint8_t)n;
    mirror_put_text(x, r, 64 - n, 0, n, mirror_bits(0, n));
}

void mirror_put_verdict(struct card_mirror *x, const struct mirror_record *r)
{
    x->head.verdict = r->verdict;
    x->head.text_bytes = r->text_bytes;
    x->head.tcp_seq = r->tcp_seq;
    if (r->verdict == MIRROR_VERIFIED) {
        x->head.flags |= card_mirror_keys;
        x->head.type = r->type;
        memcpy(x->key, r->key, 16);
        memcpy(x->tag, r->tag, 16);
    }
}

/* Any cut will do: bytes of [0, text) whose mask is set. */
struct card_mirror mirror_text_item(const struct mirror_record *r, unsigned offset, unsigned n, uint64_t fresh)
{
    struct card_mirror x = mirror_item_of(r);
    mirror_put_a(&x, r, trace_below(&mirror_random, 64 - n + 1), offset, n, fresh);
    return x;
}

struct card_mirror mirror_end_item(const struct mirror_record *r)
{
    struct card_mirror x = mirror_item_of(r);
    mirror_put_verdict(&x, r);
    return x;
}

struct card_mirror *mirror_add(struct mirror_items *l, const struct card_mirror *x)
{
    if (l->count == l->room) {
        l->room = l->room * 2 + 64;
        l->item = realloc(l->item, l->room * sizeof *l->item);
        assert_non_null(l->item);
    }
    l->item[l->count] = *x;
    return &l->item[l->count++];
}

/* Cuts [from, text_bytes): each piece in one item, or in two that have its bytes between them. In order, nearly so or in any. */
static void cut(struct mirror_items *l, const struct mirror_record *r, unsigned from)
{
    const size_t first = l->count;
    const unsigned longest = trace_below(&mirror_random, 3) == 0 ? trace_between(&mirror_random, 1, 64) : 64;
    for (unsigned n; from < r->text_bytes; from += n) {
        n = trace_between(&mirror_random, longest == 64 ? 32 : 1, longest);
        n = n < r->text_bytes - from ? n : r->text_bytes - from;
        const uint64_t once = trace_below(&mirror_random, 4) == 0 ? trace_random64(&mirror_random) : UINT64_MAX;
        struct card_mirror x = mirror_text_item(r, from, n, once);
        mirror_add(l, &x);
        x = mirror_text_item(r, from, n, ~once);
        if (x.head.fresh != 0 || trace_below(&mirror_random, 8) == 0) /* nothing in it: no card would write it, and no harm */
            mirror_add(l, &x);
    }
    const unsigned order = trace_below(&mirror_random, 3);
    for (size_t i = l->count - first; order > 0 && i > 1; i--) {
        const uint32_t reach = order == 1 && i > 8 ? 8 : (uint32_t)i;
        const size_t a = first + i - 1, b = a - trace_below(&mirror_random, reach);
        const struct card_mirror x = l->item[a];
        l->item[a] = l->item[b];
        l->item[b] = x;
    }
}

void mirror_send_record(struct mirror_items *l, const struct mirror_record *r)
{
    unsigned from = 0;
    const unsigned n = trace_below(&mirror_random, r->text_bytes < 40 ? r->text_bytes + 1u : 40);
    struct card_mirror *last = l->count > 0 ? &l->item[l->count - 1] : NULL;
    if (n > 0 && last != NULL && last->head.verdict != 0 && last->head.a_at + last->head.a_bytes + n <= 64) {
        mirror_put_b(last, r, from = n);
    } else if (n > 0 && trace_below(&mirror_random, 2) == 0) {
        struct card_mirror x = mirror_item_of(r);
        x.head.flags |= card_mirror_b_alone;
        mirror_put_b(&x, r, from = n);
        mirror_add(l, &x);
    }
    const size_t before = l->count;
    cut(l, r, from);
    const struct card_mirror bare = mirror_item_of(r);
    struct card_mirror *end =
        l->count > before && trace_below(&mirror_random, 2) == 0 ? &l->item[l->count - 1] : mirror_add(l, &bare);
    mirror_put_verdict(end, r);
}

unsigned mirror_random_length(unsigned most)
{
    static const unsigned lengths[] = {2, 40, 300, 2500, MIRROR_CONTENT_MAX};
    const unsigned limit = lengths[trace_below(&mirror_random, 5)];
    return trace_below(&mirror_random, (limit < most ? limit : most) + 1);
}

void mirror_random_record(struct mirror_record *r, uint32_t index, uint8_t lane, uint64_t flow, uint64_t open_seq, bool tls13)
{
    const unsigned content = mirror_random_length(MIRROR_CONTENT_MAX);
    mirror_make_record(r, index, lane, flow, open_seq, content,
                       !tls13                                ? -1
                       : trace_below(&mirror_random, 2) == 0 ? 0
                                                             : (int)mirror_random_length(MIRROR_CONTENT_MAX - content));
    r->epoch = (uint16_t)(open_seq / 5 & 0xff);
}
