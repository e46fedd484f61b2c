/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text waits in blocks of one size, and every byte's bit says whether it is there:
 *
 *   slot (session, lane) ──▶ head block ─┬─ text_block[0]: itself     text [0, 1088)
 *                                        ├─ text_block[1]             text [1088, 2176)
 *                                        └─ ... 16 at most, each taken with the first byte that it gets
 *
 * A lane has one record in progress a session: the next one's text comes behind its verdict. A text is shown when each of its bytes
 * has come once; what lay in the blocks before can't get between them.
 *
 * A session that ends in the middle of a record leaves its blocks behind. They are still wanted, for items that are under way, and
 * are taken from it only when there are no others, those of the session that ended first before the others'.
 */
#include "card/mirror_open.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

enum {
    CONTENT_MAX = 1 << 14, /* RFC 8446 section 5.2; in TLS 1.3 a byte for the type, or padding, comes with it */
    BLOCK_WORDS = 17,
    BLOCK_TEXT = 64 * BLOCK_WORDS, /* AES blocks, and 16 of them hold the longest text: 2^14 + 1 bytes */
    TEXT_BLOCKS = (CONTENT_MAX + 1 + BLOCK_TEXT - 1) / BLOCK_TEXT,
    MEMORY_DEFAULT = 64 << 20
};
static const uint32_t none = UINT32_MAX; /* no block */
_Static_assert(TEXT_BLOCKS == 16 && BLOCK_TEXT % 16 == 0, "no block for a single byte");

/* enum mirror_verdict of common/types.hpp */
enum { VERDICT_NONE = 0, VERDICT_VERIFIED = 1, VERDICT_BAD = 2 };

/* Whose: of the flow that is in the session's place, or of the one before. */
enum { NOW, PAST, FLOWS };

enum slot_state { SLOT_EMPTY, SLOT_TEXT, SLOT_LOST /* no room, or a byte came twice: its text is not taken any more */ };

struct slot {
    uint64_t open_seq;
    uint32_t head; /* SLOT_TEXT: block */
    uint16_t epoch;
    uint8_t state, whose;
};

struct session {
    uint64_t flow[FLOWS]; /* 0: none */
    struct slot slot[SL_ENGINE_LANES];
    bool tls13[FLOWS][SL_ENGINE_LANES];
};

struct block {
    uint32_t next; /* free: the next one */
    /* of a head: */
    uint32_t bytes, end; /* of the text: how many have come; behind the last of them */
    uint32_t past_before, past_behind;
    struct slot *slot;
    uint32_t text_block[TEXT_BLOCKS];
    /* of every one: */
    uint64_t have[BLOCK_WORDS]; /* bit i: byte i of the text is here */
    uint8_t text[BLOCK_TEXT];
};

struct sl_mirror_open {
    struct session *session;
    uint32_t sessions;
    struct block *block;
    uint32_t blocks, begun; /* blocks from `begun` on were never used */
    uint32_t first_free;
    uint32_t first_past, last_past; /* heads of records of flows that are past, in the order in which these ended */
    EVP_CIPHER_CTX *aes;
    uint8_t *opened; /* secret memory */
    size_t opened_bytes;
    struct sl_mirror_open_counters counters;
};

/* ---- blocks ---- */

static void past_add(struct sl_mirror_open *m, uint32_t head)
{
    struct block *b = &m->block[head];
    b->past_before = m->last_past;
    b->past_behind = none;
    if (m->last_past == none)
        m->first_past = head;
    else
        m->block[m->last_past].past_behind = head;
    m->last_past = head;
}

static void past_remove(struct sl_mirror_open *m, uint32_t head)
{
    const struct block *b = &m->block[head];
    if (b->past_before == none)
        m->first_past = b->past_behind;
    else
        m->block[b->past_before].past_behind = b->past_behind;
    if (b->past_behind == none)
        m->last_past = b->past_before;
    else
        m->block[b->past_behind].past_before = b->past_before;
}

static void block_give(struct sl_mirror_open *m, uint32_t number)
{
    m->block[number].next = m->first_free;
    m->first_free = number;
}

/* The text in the slot, if there is one, is no longer wanted. */
static void slot_clear(struct sl_mirror_open *m, struct slot *slot)
{
    if (slot->state == SLOT_TEXT) {
        const struct block *head = &m->block[slot->head];
        if (slot->whose == PAST)
            past_remove(m, slot->head);
        block_give(m, slot->head);
        for (unsigned i = 1; i < TEXT_BLOCKS; i++)
            if (head->text_block[i] != none)
                block_give(m, head->text_block[i]);
    }
    slot->state = SLOT_EMPTY;
}

static void slot_lose(struct sl_mirror_open *m, struct slot *slot)
{
    slot_clear(m, slot);
    slot->state = SLOT_LOST;
}

/* A block without text; none: there is no room. Texts of past flows give way to those of others. */
static uint32_t block_take(struct sl_mirror_open *m, const struct slot *to)
{
    if (m->first_free == none && m->begun == m->blocks && m->first_past != none && to->whose == NOW)
        slot_lose(m, m->block[m->first_past].slot);
    uint32_t number = m->first_free;
    if (number != none)
        m->first_free = m->block[number].next;
    else if (m->begun < m->blocks)
        number = m->begun++;
    if (number != none)
        memset(m->block[number].have, 0, sizeof(m->block[number].have));
    return number;
}

/* ---- text comes ---- */

/* A part of an item: n bytes, of which those are text that were not mirrored before whose bits are set. */
struct part {
    uint64_t open_seq, fresh;
    const uint8_t *bytes;
    size_t offset, n;
};

static uint64_t low_bits(size_t n)
{
    return n < 64 ? (UINT64_C(1) << n) - 1 : UINT64_MAX;
}

/* The slot's record has its first text. */
static bool begin_text(struct sl_mirror_open *m, struct slot *slot)
{
    const uint32_t number = block_take(m, slot);
    if (number == none)
        return false;
    struct block *b = &m->block[number];
    b->bytes = b->end = 0;
    b->slot = slot;
    for (unsigned i = 0; i < TEXT_BLOCKS; i++)
        b->text_block[i] = none;
    slot->head = number;
    slot->state = SLOT_TEXT;
    if (slot->whose == PAST)
        past_add(m, number);
    return true;
}

/* n bytes that lie in one block, from `at` on. False: one of them was there. */
static bool put_bytes(struct block *b, size_t at, const uint8_t *bytes, uint64_t fresh, size_t n)
{
    const size_t word = at / 64, shift = at % 64;
    const uint64_t low = fresh << shift, high = shift > 0 ? fresh >> (64 - shift) : 0;
    if ((b->have[word] & low) != 0 || (high != 0 && (b->have[word + 1] & high) != 0))
        return false;
    b->have[word] |= low;
    if (high != 0)
        b->have[word + 1] |= high;
    if (n == 64 && fresh == UINT64_MAX)
        memcpy(b->text + at, bytes, 64); /* what comes by far most often, as a few moves */
    else if (fresh == low_bits(n))
        memcpy(b->text + at, bytes, n);
    else
        for (size_t i = 0; i < n; i++)
            if ((fresh >> i & 1) != 0)
                b->text[at + i] = bytes[i];
    return true;
}

static bool put_part(struct sl_mirror_open *m, struct slot *slot, const struct part *p)
{
    if (slot->state == SLOT_EMPTY && !begin_text(m, slot))
        return false;
    struct block *head = &m->block[slot->head];
    for (size_t done = 0; done < p->n && done < 64;) { /* n is never more */
        const size_t offset = p->offset + done, at = offset % BLOCK_TEXT;
        const size_t n = p->n - done < BLOCK_TEXT - at ? p->n - done : BLOCK_TEXT - at;
        const uint64_t fresh = p->fresh >> done & low_bits(n);
        uint32_t *const number = &head->text_block[offset / BLOCK_TEXT];
        if (fresh != 0 && *number == none) /* the head serves for the text's beginning */
            *number = offset < BLOCK_TEXT ? slot->head : block_take(m, slot);
        if (fresh != 0 && (*number == none || !put_bytes(&m->block[*number], at, p->bytes + done, fresh, n)))
            return false;
        done += n;
    }
    const uint32_t end = (uint32_t)p->offset + 64 - (uint32_t)__builtin_clzll(p->fresh);
    head->bytes += p->fresh == UINT64_MAX ? 64 : (uint32_t)__builtin_popcountll(p->fresh);
    head->end = end > head->end ? end : head->end;
    return true;
}

static void take_part(struct sl_mirror_open *m, struct slot *slot, unsigned whose, uint16_t epoch, const struct part *p)
{
    if (p->fresh == 0)
        return; /* nothing, or a retransmission of what was mirrored before: of any record */
    if (slot->state == SLOT_EMPTY || slot->whose != whose || slot->epoch != epoch || slot->open_seq != p->open_seq) {
        slot_clear(m, slot);
        *slot = (struct slot){.open_seq = p->open_seq, .epoch = epoch, .whose = (uint8_t)whose};
    }
    if (slot->state != SLOT_LOST && !put_part(m, slot, p))
        slot_lose(m, slot);
}

/* ---- a record is over ---- */

/* Is the whole text of the record there? */
static bool text_is_whole(const struct sl_mirror_open *m, const struct slot *slot, unsigned whose, const struct card_mirror *item)
{
    if (slot->state != SLOT_TEXT || slot->whose != whose || slot->epoch != item->head.epoch || slot->open_seq != item->a_open_seq)
        return item->head.text_bytes == 0;
    const struct block *head = &m->block[slot->head];
    return head->bytes == item->head.text_bytes && head->end == item->head.text_bytes;
}

/* Opens it into secret memory: its first CONTENT_MAX bytes, and the one behind them into *behind. */
static bool open_text(struct sl_mirror_open *m, const struct slot *slot, const uint8_t key[16], size_t count, uint8_t *behind)
{
    static const uint8_t first_counter[16] = {0};
    if (count == 0)
        return true;
    const struct block *head = &m->block[slot->head];
    int n;
    if (EVP_EncryptInit_ex(m->aes, NULL, NULL, key, first_counter) != 1)
        return false;
    for (size_t done = 0; done < count;) {
        const uint8_t *text = m->block[head->text_block[done / BLOCK_TEXT]].text + done % BLOCK_TEXT;
        const size_t left = (done < CONTENT_MAX && count > CONTENT_MAX ? CONTENT_MAX : count) - done;
        const size_t room = BLOCK_TEXT - done % BLOCK_TEXT, now = left < room ? left : room;
        uint8_t *to = done < CONTENT_MAX ? m->opened + done : behind;
        m->opened_bytes = done + now < CONTENT_MAX ? done + now : CONTENT_MAX;
        if (EVP_EncryptUpdate(m->aes, to, &n, text, (int)now) != 1)
            return false;
        done += now;
    }
    return true;
}

/* How many bytes there are before the zeros at the end. */
static size_t without_zeros(const uint8_t *bytes, size_t count)
{
    uint64_t word;
    while (count >= sizeof(word)) {
        memcpy(&word, bytes + count - sizeof(word), sizeof(word));
        if (word != 0)
            break;
        count -= sizeof(word);
    }
    while (count > 0 && bytes[count - 1] == 0)
        count--;
    return count;
}

/* RFC 8446 section 5.4: content, type, zeros. False: there is no type, or another one than the card says. */
static bool find_content(const struct sl_mirror_open *m, uint8_t behind, uint8_t type, size_t *count)
{
    const size_t whole = *count;
    if (whole > CONTENT_MAX && behind != 0) {
        *count = CONTENT_MAX;
        return behind == type;
    }
    const size_t used = without_zeros(m->opened, whole < CONTENT_MAX ? whole : CONTENT_MAX);
    if (used == 0)
        return false;
    *count = used - 1;
    return m->opened[used - 1] == type;
}

static void wipe_opened(struct sl_mirror_open *m)
{
    if (m->opened_bytes == 0)
        return;
    sl_wipe(m->opened, m->opened_bytes);
    m->opened_bytes = 0;
}

static bool open_record(struct sl_mirror_open *m, const struct session *s, unsigned whose, const struct card_mirror *item,
                        struct sl_engine_mirror *out)
{
    const struct card_mirror_head *h = &item->head;
    const struct slot *slot = &s->slot[h->lane];
    size_t count = h->text_bytes;
    uint8_t behind = 0;
    bool good = text_is_whole(m, slot, whose, item) && open_text(m, slot, item->key, count, &behind);
    if (good && s->tls13[whose][h->lane])
        good = find_content(m, behind, h->type, &count);
    sl_wipe(&behind, sizeof(behind));
    if (!good) {
        wipe_opened(m);
        return false;
    }
    *out = (struct sl_engine_mirror){.flow = h->flow,
                                     .open_seq = item->a_open_seq,
                                     .tcp_seq = h->tcp_seq,
                                     .epoch = h->epoch,
                                     .lane = h->lane,
                                     .type = h->type,
                                     .bytes = m->opened,
                                     .count = (uint32_t)count};
    memcpy(out->tag, item->tag, sizeof(out->tag));
    return true;
}

static bool take_verdict(struct sl_mirror_open *m, struct session *s, unsigned whose, const struct card_mirror *item,
                         struct sl_engine_mirror *out)
{
    const bool verified = item->head.verdict == VERDICT_VERIFIED;
    const bool opened = verified && open_record(m, s, whose, item, out);
    slot_clear(m, &s->slot[item->head.lane]);
    m->counters.verified += opened;
    m->counters.refused += !verified;
    m->counters.lost += verified && !opened;
    return opened;
}

/* ---- items ---- */

static uint64_t range_bits(unsigned at, unsigned bytes)
{
    return bytes == 0 ? 0 : low_bits(bytes) << at;
}

/* Does it lie where text can lie, and agree with itself? */
static bool item_is_sound(const struct card_mirror_head *h, bool tls13)
{
    const unsigned text_max = CONTENT_MAX + (tls13 ? 1 : 0);
    const bool verdict = h->verdict != VERDICT_NONE, verified = h->verdict == VERDICT_VERIFIED;
    if (h->a_at + h->a_bytes > card_line_bytes || h->b_at + h->b_bytes > card_line_bytes || h->verdict > VERDICT_BAD)
        return false;
    const uint64_t a = range_bits(h->a_at, h->a_bytes), b = range_bits(h->b_at, h->b_bytes);
    if ((a & b) != 0 || (h->fresh & ~(a | b)) != 0 || ((h->flags & card_mirror_text) != 0) != (h->fresh != 0))
        return false;
    if ((h->flags & card_mirror_b_alone) != 0 && (verdict || a != 0))
        return false;
    if (((h->flags & card_mirror_keys) != 0) != verified || h->text_bytes > text_max)
        return false;
    return (unsigned)h->a_offset + h->a_bytes <= (verdict ? h->text_bytes : text_max);
}

bool sl_mirror_open_take(struct sl_mirror_open *m, const struct card_mirror *item, struct sl_engine_mirror *out)
{
    const struct card_mirror_head *h = &item->head;
    struct session *s = h->index < m->sessions ? &m->session[h->index] : NULL;
    wipe_opened(m);
    if (s == NULL || h->lane >= SL_ENGINE_LANES || h->flow == 0 || (h->flow != s->flow[NOW] && h->flow != s->flow[PAST])) {
        m->counters.lost++;
        return false;
    }
    const unsigned whose = h->flow == s->flow[NOW] ? NOW : PAST;
    if (!item_is_sound(h, s->tls13[whose][h->lane])) {
        m->counters.lost++;
        return false;
    }
    struct slot *slot = &s->slot[h->lane];
    bool opened = false;
    if (h->a_bytes > 0) {
        const struct part a = {.open_seq = item->a_open_seq,
                               .fresh = h->fresh >> h->a_at & low_bits(h->a_bytes),
                               .bytes = item->text + h->a_at,
                               .offset = h->a_offset,
                               .n = h->a_bytes};
        take_part(m, slot, whose, h->epoch, &a);
    }
    if (h->verdict != VERDICT_NONE)
        opened = take_verdict(m, s, whose, item, out);
    if (h->b_bytes > 0) {
        const struct part b = {.open_seq = item->b_open_seq,
                               .fresh = h->fresh >> h->b_at & low_bits(h->b_bytes),
                               .bytes = item->text + h->b_at,
                               .n = h->b_bytes};
        take_part(m, slot, whose, h->epoch, &b);
    }
    return opened;
}

/* ---- sessions ---- */

void sl_mirror_open_session(struct sl_mirror_open *m, uint32_t index, uint64_t flow, const bool tls13[SL_ENGINE_LANES])
{
    if (index >= m->sessions)
        return;
    struct session *s = &m->session[index];
    if (s->flow[NOW] != 0) {
        for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
            struct slot *slot = &s->slot[i];
            if (slot->whose == PAST)
                slot_clear(m, slot);
            slot->whose = PAST;
            if (slot->state == SLOT_TEXT)
                past_add(m, slot->head);
        }
        s->flow[PAST] = s->flow[NOW];
        memcpy(s->tls13[PAST], s->tls13[NOW], sizeof(s->tls13[PAST]));
    }
    s->flow[NOW] = flow;
    if (flow != 0)
        memcpy(s->tls13[NOW], tls13, sizeof(s->tls13[NOW]));
}

void sl_mirror_open_reset(struct sl_mirror_open *m)
{
    wipe_opened(m);
    sl_wipe(m->block, m->begun * sizeof(*m->block));
    m->begun = 0;
    m->first_free = m->first_past = m->last_past = none;
    memset(m->session, 0, m->sessions * sizeof(*m->session));
}

void sl_mirror_open_counters(const struct sl_mirror_open *m, struct sl_mirror_open_counters *out)
{
    *out = m->counters;
}

sl_err sl_mirror_open_new(uint32_t sessions, size_t memory_max, struct sl_mirror_open **out)
{
    struct sl_mirror_open *m = calloc(1, sizeof(*m));
    const size_t blocks = (memory_max == 0 ? (size_t)MEMORY_DEFAULT : memory_max) / sizeof(*m->block);
    void *opened = NULL;
    sl_err err = SL_ERR_NOMEM;
    if (m == NULL)
        return err;
    m->sessions = sessions;
    m->blocks = blocks < none ? (uint32_t)blocks : none - 1;
    m->first_free = m->first_past = m->last_past = none;
    m->session = calloc(sessions > 0 ? sessions : 1, sizeof(*m->session));
    m->block = malloc((m->blocks > 0 ? m->blocks : 1) * sizeof(*m->block)); /* pages that were never used cost nothing */
    m->aes = EVP_CIPHER_CTX_new();
    if (m->session == NULL || m->block == NULL || m->aes == NULL)
        goto Exit;
    if (EVP_EncryptInit_ex(m->aes, EVP_aes_128_ctr(), NULL, NULL, NULL) != 1)
        goto Exit;
    err = sl_secret_alloc(CONTENT_MAX, &opened);
Exit:
    m->opened = opened;
    if (err == SL_OK)
        *out = m;
    else
        sl_mirror_open_free(m);
    return err;
}

void sl_mirror_open_free(struct sl_mirror_open *m)
{
    if (m == NULL)
        return;
    if (m->block != NULL)
        sl_wipe(m->block, m->begun * sizeof(*m->block));
    EVP_CIPHER_CTX_free(m->aes);
    sl_secret_free(m->opened);
    free(m->block);
    free(m->session);
    free(m);
}
