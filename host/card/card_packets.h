/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three rings in host memory by which packets go between host and a lane of the card, and the page that says how far both have
 * come. One definition for both sides, C17 and C++14. Integers are little-endian, as are the machines that a card plugs into.
 *
 *   to_card    host ─▶ card   frames for the lane's rx, inject and transmit ports
 *   from_card  card ─▶ host   frames from its tx and punt ports
 *   mirror     card ─▶ host   sealed plaintext and verdicts (docs/card.md, section 5)
 *
 * A ring is `lines` lines of 64 bytes, a power of two. Positions count lines, modulo 2^32; position n lies in line n % lines. An
 * entry is a head line and what belongs to it:
 *
 *   frame      head (struct card_packet_head), then its bytes, 64 a line, the last line filled up. A punt's bytes begin with the 64
 *              of packet/punt_layout.h
 *   mirror     head (struct card_mirror_head), then with card_mirror_text 64 bytes of text, then with card_mirror_keys key and tag
 *
 * `number` and `valid` of a head are its position plus 1. The host says in the page how far it has written and read; it moves
 * to_card_written over whole entries, when they are there. The card writes a head last. So the host waits for a head by its
 * `version`, `number` and `valid`. What lies there until then cannot look like one: the card zeroes the line behind a frame before
 * it writes the frame's head, and the host zeroes what it has read of the mirror before it says so. (Text of the mirror is sealed,
 * but whoever sent the record knows the key, and could send what looks like a head when it is sealed.)
 *
 * Nothing that was not read is overwritten: a full ring stops the lane, so the host takes what comes. A head of the host that
 * cannot be is counted in bad_heads, and everything up to to_card_written is skipped with it.
 */
#ifndef CARD_PACKETS_H
#define CARD_PACKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
namespace card
{
#endif

enum {
    card_packets_version = 1,
    card_line_bytes = 64,
    card_packet_bytes_max = 9216, /* of a frame; with card_packet_error a frame of that length is a longer one, cut */
    card_packet_lines_min = 256,  /* of from_card: more than the longest punt and its head */
    card_packet_lines_max = 1 << 24
};

enum card_packet_kind {
    card_packet_rx = 1,       /* to_card: as if it came in by the lane's port */
    card_packet_inject = 2,   /* to_card: the same, between those of the port; the host has held it back or made it */
    card_packet_transmit = 3, /* to_card: goes out by the lane's port as it is */
    card_packet_tx = 4,       /* from_card: has left the lane */
    card_packet_punt = 5      /* from_card: for the host to judge */
};

enum card_packet_flag { card_packet_error = 1 /* damaged on the wire; inject and transmit: none */ };

struct card_packet_head {
    uint32_t number;
    uint8_t version, kind, flags, lane; /* lane: from_card; 0 in to_card */
    uint16_t bytes;                     /* that follow, 1..9216; a punt's 64 more */
    uint8_t zero[50];
    uint32_t valid;
};

enum card_mirror_flag {
    card_mirror_text = 1,
    card_mirror_keys = 2,   /* with the verdict `verified` */
    card_mirror_b_alone = 4 /* there is no part a; open_seq is b's */
};

/*
 * struct mirror_item of common/types.hpp. Part b is always the beginning of the record behind a's.
 *   text  byte i of the line is text if bit i of `fresh` is set; a's lie in [a_at, a_at + a_bytes), b's likewise
 */
struct card_mirror_head {
    uint32_t number;
    uint8_t version, flags, lane, verdict;
    uint64_t flow, fresh, open_seq; /* open_seq: of a */
    uint32_t index, tcp_seq;
    uint16_t epoch, text_bytes, a_offset;
    uint8_t type, a_at, a_bytes, b_at, b_bytes, zero[9];
    uint32_t valid;
};

struct card_mirror_keys_line {
    uint8_t key[16], tag[16], zero[32];
};

/* Two lines: one that the host writes and one that the card does. Zero at first. */
struct card_packets_page {
    uint32_t to_card_written, from_card_read, mirror_read;
    uint8_t zero[52];
    uint32_t to_card_read; /* whole entries */
    uint32_t bad_heads;    /* modulo 2^32 */
    uint8_t zero_2[56];
};

#ifdef __cplusplus
#define CARD_ASSERT static_assert
#else
#define CARD_ASSERT _Static_assert
#endif
CARD_ASSERT(sizeof(struct card_packet_head) == card_line_bytes, "a line");
CARD_ASSERT(offsetof(struct card_packet_head, valid) == 60, "the last word");
CARD_ASSERT(sizeof(struct card_mirror_head) == card_line_bytes, "a line");
CARD_ASSERT(offsetof(struct card_mirror_head, a_offset) == 44, "no padding");
CARD_ASSERT(offsetof(struct card_mirror_head, valid) == 60, "the last word");
CARD_ASSERT(sizeof(struct card_mirror_keys_line) == card_line_bytes, "a line");
CARD_ASSERT(sizeof(struct card_packets_page) == 2 * card_line_bytes, "a line each");
CARD_ASSERT(offsetof(struct card_packets_page, to_card_read) == card_line_bytes, "the card's");
#undef CARD_ASSERT

/* ---- the host's end of a ring ---- */

struct card_ring {
    uint8_t *memory; /* aligned to a line, zeroed at first */
    uint32_t lines;
    uint32_t at; /* position of the next entry */
};

static inline uint8_t *card_ring_line(const struct card_ring *ring, uint32_t position)
{
    return ring->memory + (size_t)(position & (ring->lines - 1)) * card_line_bytes;
}

/* Lines of an entry with so many bytes. */
static inline uint32_t card_ring_lines(size_t bytes)
{
    return (uint32_t)(1 + (bytes + card_line_bytes - 1) / card_line_bytes);
}

static inline void card_ring_copy_in(const struct card_ring *ring, uint32_t position, const uint8_t *from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += card_line_bytes) {
        const size_t n = bytes - at < card_line_bytes ? bytes - at : (size_t)card_line_bytes;
        uint8_t *const line = card_ring_line(ring, position++);
        memcpy(line, from + at, n);
        memset(line + n, 0, card_line_bytes - n);
    }
}

static inline void card_ring_copy_out(const struct card_ring *ring, uint32_t position, uint8_t *to, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += card_line_bytes)
        memcpy(to + at, card_ring_line(ring, position++), bytes - at < card_line_bytes ? bytes - at : (size_t)card_line_bytes);
}

/* Gives a frame to the card, unless the ring is full or it is no frame: then false, and nothing has changed. */
static inline bool card_ring_send(struct card_ring *ring, struct card_packets_page *page, enum card_packet_kind kind,
                                  const uint8_t *frame, size_t bytes, bool error)
{
    struct card_packet_head head;
    const uint32_t lines = card_ring_lines(bytes);
    const uint32_t waiting = ring->at - __atomic_load_n(&page->to_card_read, __ATOMIC_ACQUIRE);
    if (bytes == 0 || bytes > card_packet_bytes_max || waiting > ring->lines || lines > ring->lines - waiting)
        return false;
    memset(&head, 0, sizeof head);
    head.number = head.valid = ring->at + 1;
    head.version = card_packets_version;
    head.kind = (uint8_t)kind;
    head.flags = error ? (uint8_t)card_packet_error : (uint8_t)0;
    head.bytes = (uint16_t)bytes;
    memcpy(card_ring_line(ring, ring->at), &head, sizeof head);
    card_ring_copy_in(ring, ring->at + 1, frame, bytes);
    ring->at += lines;
    __atomic_store_n(&page->to_card_written, ring->at, __ATOMIC_RELEASE);
    return true;
}

/* Is there an entry? Copies its head line. */
static inline bool card_ring_peek(const struct card_ring *ring, uint8_t head[card_line_bytes])
{
    const uint8_t *const line = card_ring_line(ring, ring->at);
    uint32_t number;
    const uint32_t valid = __atomic_load_n((const uint32_t *)(const void *)(line + 60), __ATOMIC_ACQUIRE);
    if (valid != ring->at + 1)
        return false;
    memcpy(head, line, card_line_bytes);
    memcpy(&number, head, sizeof number);
    return number == valid && head[4] == card_packets_version;
}

enum { card_packet_room = card_line_bytes + card_packet_bytes_max };

/* Takes a frame that the card has written, card_packet_room bytes at most. False: there is none. */
static inline bool card_ring_receive(struct card_ring *ring, struct card_packets_page *page, struct card_packet_head *head,
                                     uint8_t data[card_packet_room])
{
    uint8_t line[card_line_bytes];
    if (!card_ring_peek(ring, line))
        return false;
    memcpy(head, line, sizeof *head);
    if (head->bytes > card_packet_room)
        return false;
    card_ring_copy_out(ring, ring->at + 1, data, head->bytes);
    ring->at += card_ring_lines(head->bytes);
    __atomic_store_n(&page->from_card_read, ring->at, __ATOMIC_RELEASE);
    return true;
}

/* Lines of an entry of the mirror. */
static inline uint32_t card_mirror_lines(const struct card_mirror_head *head)
{
    return 1 + ((head->flags & card_mirror_text) != 0 ? 1U : 0U) + ((head->flags & card_mirror_keys) != 0 ? 1U : 0U);
}

struct card_mirror {
    struct card_mirror_head head;
    uint64_t a_open_seq, b_open_seq; /* valid if the part has bytes; a's with a verdict, too */
    uint8_t text[card_line_bytes];   /* zero without */
    uint8_t key[16], tag[16];        /* zero without */
};

/* Takes an entry of the mirror. False: there is none. */
static inline bool card_mirror_receive(struct card_ring *ring, struct card_packets_page *page, struct card_mirror *item)
{
    uint8_t line[card_line_bytes];
    uint32_t at = ring->at + 1;
    if (!card_ring_peek(ring, line))
        return false;
    memset(item, 0, sizeof *item);
    memcpy(&item->head, line, sizeof item->head);
    item->a_open_seq = item->head.open_seq;
    item->b_open_seq = item->head.open_seq + ((item->head.flags & card_mirror_b_alone) != 0 ? 0 : 1);
    if ((item->head.flags & card_mirror_text) != 0)
        memcpy(item->text, card_ring_line(ring, at++), sizeof item->text);
    if ((item->head.flags & card_mirror_keys) != 0) {
        struct card_mirror_keys_line keys;
        memcpy(&keys, card_ring_line(ring, at++), sizeof keys);
        memcpy(item->key, keys.key, sizeof item->key);
        memcpy(item->tag, keys.tag, sizeof item->tag);
    }
    while (ring->at != at)
        memset(card_ring_line(ring, ring->at++), 0, card_line_bytes);
    __atomic_store_n(&page->mirror_read, ring->at, __ATOMIC_RELEASE);
    return true;
}

#ifdef __cplusplus
} // namespace card
#endif

#endif
