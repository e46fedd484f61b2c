/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of any content through ports, parser and rewrite: no reading beyond them, the same headers as the lane's model finds, and
 * a rewritten packet whose checksum is right. The first bytes choose what becomes of the packet. */
#include <hls_stream.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "packet/parser.hpp"
#include "packet/rewrite.hpp"

enum : size_t { choice_bytes = 24 };

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static uint32_t word(const uint8_t *at)
{
    return uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
}

static card::beat beat_at(const uint8_t *frame, size_t size, size_t at, bool error)
{
    card::beat b = {};
    const size_t n = size - at < card::beat_bytes ? size - at : size_t{card::beat_bytes};
    memcpy(b.byte, frame + at, n);
    b.bytes = static_cast<uint8_t>(n);
    b.last = at + n == size;
    b.error = b.last && error;
    return b;
}

static void parse(const uint8_t *frame, size_t size, bool error, card::packet_key &key, card::headers &head)
{
    static card::parser_state state; /* lasts, with what earlier frames left in its window */
    hls::stream<card::beat> in("in"), out("out");
    hls::stream<card::packet_key> keys("keys");
    hls::stream<card::headers> summaries("summaries");
    for (size_t at = 0; at < size; at += card::beat_bytes) {
        in.write(beat_at(frame, size, at, error));
        card::parser(state, in, out, keys, summaries);
        out.read();
    }
    key = keys.read();
    head = summaries.read();
}

static void compare(const model_headers &m, const card::packet_key &key, const card::headers &head)
{
    expect(head.reason == static_cast<card::punt_reason>(m.reason));
    if (m.reason != model_reason_none)
        return;
    expect(key.valid && head.l3 == m.l3 && head.l4 == m.l4 && head.payload == m.payload && head.payload_bytes == m.payload_bytes);
    expect(head.sack == m.sack && head.sack_blocks == m.sack_blocks && head.timestamps == m.timestamps);
    expect(head.seq == m.seq && head.ack == m.ack && head.flags == m.tcp_flags);
    expect(memcmp(key.key.src, m.flow.src, 16) == 0 && memcmp(key.key.dst, m.flow.dst, 16) == 0);
    expect(key.key.sport == m.flow.sport && key.key.dport == m.flow.dport);
    expect(key.key.proto == m.flow.proto && key.key.version == m.flow.version);
}

/* The payload stays; the rest of the header changes as the choice says. */
static void rewrite(const uint8_t *frame, size_t size, const uint8_t *choice, const card::headers &head)
{
    static uint8_t left[card::frame_bytes_max];
    hls::stream<card::out_beat> in("in");
    hls::stream<card::beat, card::packet_fifo_beats> fifo("packet_fifo");
    hls::stream<card::emit_job> jobs("jobs");
    hls::stream<card::beat> tx("tx"), punt("punt");
    card::payload_sum_state sum;
    card::emit_state out;
    for (size_t at = 0; at < size; at += card::beat_bytes) {
        card::out_beat b = {};
        b.data = beat_at(frame, size, at, false);
        b.first = at == 0;
        b.verdict.head = head;
        b.verdict.what = card::action_session_forward;
        b.verdict.rewrite = true;
        b.verdict.rule = {word(choice), word(choice + 4), word(choice + 8), word(choice + 12),
                          static_cast<int8_t>(static_cast<int>(choice[16] % 29) - 14)};
        in.write(b);
        card::payload_sum(sum, in, fifo, jobs);
    }
    size_t bytes = 0;
    while (bytes < size) {
        card::emit(out, fifo, jobs, tx, punt);
        if (!tx.empty()) {
            const card::beat b = tx.read();
            memcpy(left + bytes, b.byte, b.bytes);
            bytes += b.bytes;
        }
    }
    expect(bytes == size);
    const model_headers m = model_parse(left, size, false);
    expect(m.reason == model_reason_none && m.payload == head.payload && m.sack == head.sack && m.timestamps == head.timestamps);
    if (m.flow.proto == 6)
        expect(m.seq == head.seq + word(choice) && m.ack == head.ack + ((head.flags & card::tcp_ack) != 0 ? word(choice + 4) : 0));
    else
        expect(memcmp(left, frame, size) == 0);
}

static void put_word(uint8_t *at, unsigned value)
{
    at[0] = static_cast<uint8_t>(value >> 8);
    at[1] = static_cast<uint8_t>(value);
}

/* Makes the checksums right, so that the fuzzer need not find them. What is not there, or not whole, is left alone. */
static void repair(uint8_t *frame, size_t size)
{
    size_t l3 = 14;
    while (l3 + 4 <= size && l3 < 22 &&
           ((frame[l3 - 2] == 0x81 && frame[l3 - 1] == 0) || (frame[l3 - 2] == 0x88 && frame[l3 - 1] == 0xa8)))
        l3 += 4;
    if (l3 + 40 > size)
        return;
    uint8_t *ip = frame + l3;
    model_headers h = {};
    size_t l4, end;
    if (frame[l3 - 2] == 8) {
        l4 = l3 + 4u * (ip[0] & 15u);
        end = l3 + word(ip) % 65536;
        if (l4 > size)
            return;
        put_word(ip + 10, 0);
        put_word(ip + 10, 0xffffu - model_sum(0, ip, l4 - l3));
        h.flow.version = 4;
        h.flow.proto = ip[9];
        memcpy(h.flow.src, ip + 12, 4);
        memcpy(h.flow.dst, ip + 16, 4);
    } else {
        l4 = l3 + 40;
        end = l4 + word(ip + 4) / 65536;
        h.flow.version = 6;
        h.flow.proto = ip[6];
        memcpy(h.flow.src, ip + 8, 16);
        memcpy(h.flow.dst, ip + 24, 16);
        while ((h.flow.proto == 0 || h.flow.proto == 43 || h.flow.proto == 60) && l4 + 8 <= size) {
            h.flow.proto = frame[l4];
            l4 += 8 * (frame[l4 + 1] + size_t{1});
        }
    }
    if (end > size || l4 + 20 > end || (h.flow.proto != 6 && h.flow.proto != 17))
        return;
    const size_t udp_bytes = word(frame + l4 + 2) % 65536;
    if (h.flow.proto == 17 && udp_bytes >= 8 && l4 + udp_bytes < end)
        end = l4 + udp_bytes;
    h.l4 = static_cast<uint16_t>(l4);
    put_word(frame + l4 + (h.flow.proto == 6 ? 16 : 6), model_l4_checksum(frame, &h, end - l4));
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= choice_bytes || size - choice_bytes > card::frame_bytes_max)
        return 0;
    static uint8_t frame[card::frame_bytes_max];
    const size_t bytes = size - choice_bytes;
    memcpy(frame, data + choice_bytes, bytes);
    if ((data[17] & 1) != 0)
        repair(frame, bytes);
    const bool error = data[18] == 255;
    card::packet_key key;
    card::headers head;
    parse(frame, bytes, error, key, head);
    compare(model_parse(frame, bytes, error), key, head);
    if (head.reason == card::punt_none && head.l4 != 0)
        rewrite(frame, bytes, data, head);
    return 0;
}
