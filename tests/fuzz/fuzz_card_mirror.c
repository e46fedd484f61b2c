/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A card that writes what it likes into its rings: card_mirror_receive and card_ring_receive (card/card_packets.h) read raw lines,
 * and sl_mirror_open takes what comes of them. What the host waits for in a head (version, number, valid) is put right where an
 * entry begins, so that the rest is read; with it wrong there is no entry, which the input tries at its end.
 *
 *   input   the sessions: 2 bytes; then lines of 64 bytes
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "card/mirror_open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES = 256, SESSIONS = 8, MEMORY = 30000 };

static uint8_t memory[LINES * card_line_bytes] __attribute__((aligned(64)));

static void begin_entry(const struct card_ring *ring)
{
    uint8_t *const line = card_ring_line(ring, ring->at);
    const uint32_t number = ring->at + 1;
    memcpy(line, &number, 4);
    line[4] = card_packets_version;
    memcpy(line + 60, &number, 4);
}

/* What is said to be there must be readable, and no more than was promised. */
static void read_record(const struct sl_engine_mirror *r)
{
    uint8_t sum = 0;
    for (uint32_t i = 0; i < r->count; i++)
        sum = (uint8_t)(sum ^ r->bytes[i]);
    if (r->count > 1 << 14 || r->lane >= SL_ENGINE_LANES || (sum == 0 && r->flow == 0))
        abort();
}

static void fill(const uint8_t *data, size_t size)
{
    memset(memory, 0, sizeof memory);
    memcpy(memory, data, size < sizeof memory ? size : sizeof memory);
}

static void mirror(const uint8_t *data, size_t size)
{
    struct sl_mirror_open *m;
    struct card_packets_page page = {0};
    struct card_ring ring = {.memory = memory, .lines = LINES, .at = (uint32_t)-LINES};
    struct card_mirror item;
    struct sl_engine_mirror out;
    struct sl_mirror_open_counters n;
    uint64_t shown = 0;
    if (sl_mirror_open_new(SESSIONS, MEMORY, &m) != SL_OK)
        return;
    for (unsigned i = 0; i < SESSIONS; i++) {
        const bool tls13[SL_ENGINE_LANES] = {(data[0] >> i & 1) != 0, (data[1] >> i & 1) != 0};
        sl_mirror_open_session(m, i, i % 3, tls13);
    }
    fill(data + 2, size - 2);
    for (size_t lines = 0; lines < (size - 2) / card_line_bytes + 1 && lines < LINES; lines++) {
        const uint32_t at = ring.at;
        begin_entry(&ring);
        if (!card_mirror_receive(&ring, &page, &item) || ring.at - at > 3)
            abort();
        if (item.head.zero[0] == 1) /* sessions come and go between */
            sl_mirror_open_session(m, item.head.index % SESSIONS, item.head.zero[1] % 4, (const bool[]){true, false});
        if (sl_mirror_open_take(m, &item, &out)) {
            shown++;
            read_record(&out);
        }
    }
    sl_mirror_open_counters(m, &n);
    if (n.verified != shown)
        abort();
    if (card_mirror_receive(&ring, &page, &item) && memcmp(&item.head.valid, &item.head.number, 4) != 0)
        abort();
    sl_mirror_open_free(m);
}

static void frames(const uint8_t *data, size_t size)
{
    struct card_packets_page page = {0};
    struct card_ring ring = {.memory = memory, .lines = LINES, .at = (uint32_t)-LINES};
    struct card_packet_head head;
    uint8_t *const room = malloc(card_packet_room);
    if (room == NULL)
        return;
    fill(data, size);
    for (size_t lines = 0; lines < size / card_line_bytes + 1; lines++) {
        begin_entry(&ring);
        if (!card_ring_receive(&ring, &page, &head, room))
            break;
        if (page.from_card_read != ring.at || head.bytes > card_packet_room)
            abort();
    }
    free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    mirror(data, size);
    frames(data, size);
    return 0;
}
