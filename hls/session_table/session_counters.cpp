/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazards, by name:
 *
 * stale_count: a packet's sum is not in memory yet when the next packet of the session reads. Sums are written back
 * counter_write_delay calls later and seen counter_read_latency calls after that; until then they are in flight[], and a packet
 * takes the newest one of its session instead of what memory says. The DEPENDENCE pragma states the distance that flight[] covers,
 * so that the tool refuses a slower memory.
 *
 * starved_read: commands use the cycles without packets (at 100 Gb/s at least every other). Under a packet every cycle a command
 * would wait for ever: after counter_command_wait packets it goes first, and the packet waits in its stream.
 *
 * ack_stall: an answer on its way to a full FIFO would hold up packets. As in session_table.cpp, a command is taken only when no
 * answer can be on its way.
 */
#include "session_table/session_counters.hpp"

namespace card
{

static_assert(counter_packet_bits + counter_tick_bits == 64, "packets and tick share a word");

enum : uint64_t { tick_mask = (uint64_t(1) << counter_tick_bits) - 1 };

static counter_word count_packet(const counter_word &sum, uint16_t bytes, uint64_t tick)
{
#pragma HLS INLINE
    const uint64_t packets = (sum.packets_tick >> counter_tick_bits) + 1;
    return counter_word{sum.bytes + bytes, packets << counter_tick_bits | tick};
}

static counter_total add_packet(const counter_total &sum, uint16_t bytes)
{
#pragma HLS INLINE
    return counter_total{sum.bytes + bytes, sum.packets + 1};
}

static counter_word newest(const session_counters_state &s, uint32_t session)
{
#pragma HLS INLINE
    counter_word sum = s.memory[session];
    for (unsigned i = counter_forward; i-- > 0;) {
#pragma HLS UNROLL
        if (s.flight[i].valid && s.flight[i].session == session) {
            sum = s.flight[i].sum;
        }
    }
    return sum;
}

void session_counters(session_counters_state &s, hls::stream<counter_packet> &packets, hls::stream<counter_command> &commands,
                      hls::stream<counter_answer> &answers)
{
#pragma HLS PIPELINE II = 1
#pragma HLS ARRAY_PARTITION variable = s.flight complete
#pragma HLS ARRAY_PARTITION variable = s.total complete
#pragma HLS BIND_STORAGE variable = s.memory type = RAM_S2P impl = URAM
#pragma HLS DEPENDENCE variable = s.memory type = inter direction = RAW distance = 5 dependent = true
    const uint64_t tick = s.cycle >> counter_tick_shift & tick_mask;
    s.cycle++;

    const bool ready = s.quiet == 0 && !commands.empty() && !answers.full();
    s.quiet = s.quiet > 0 ? s.quiet - 1 : 0;
    const bool command_turn = ready && (packets.empty() || s.waited >= counter_command_wait);
    const bool packet_turn = !command_turn && !packets.empty();
    s.waited = ready && packet_turn ? s.waited + 1 : 0;

    counter_packet packet = {0, 0, counter_sent, false};
    counter_command command = {counter_read, 0, 0};
    if (packet_turn) {
        packet = packets.read();
    }
    if (command_turn) {
        command = commands.read();
    }
    const uint32_t session = (packet_turn ? packet.session : command.session) & (sessions_max - 1);
    const counter_word sum = newest(s, session);

    const counter_flight oldest = s.flight[counter_write_delay - 1];
    if (oldest.valid) {
        s.memory[oldest.session] = oldest.sum;
    }

    const bool known = command.session < counter_totals_end && (command.op == counter_read || command.op == counter_clear);
    const bool clear = command_turn && known && command.op == counter_clear;
    const bool of_total = command.session >= counter_totals_at;
    const uint32_t asked = (command.session - counter_totals_at) & 3;
    for (unsigned i = counter_forward - 1; i > 0; i--) {
#pragma HLS UNROLL
        s.flight[i] = s.flight[i - 1];
    }
    s.flight[0].valid = (packet_turn && packet.of_session) || (clear && !of_total);
    s.flight[0].session = session;
    s.flight[0].sum = clear ? counter_word{0, 0} : count_packet(sum, packet.bytes, tick);

    counter_total total = {0, 0};
    for (unsigned i = 0; i < counter_fates; i++) {
#pragma HLS UNROLL
        if (asked == i) {
            total = s.total[i];
        }
        if (packet_turn && packet.fate == i) {
            s.total[i] = add_packet(s.total[i], packet.bytes);
        } else if (clear && of_total && asked == i) {
            s.total[i] = counter_total{0, 0};
        }
    }

    if (command_turn) {
        s.quiet = session_counters_depth - 1;
        counter_value value = {0, 0, 0};
        if (known && of_total) {
            value = counter_value{total.bytes, total.packets, 0};
        } else if (known) {
            value = counter_value{sum.bytes, sum.packets_tick >> counter_tick_bits, uint32_t(sum.packets_tick & tick_mask)};
        }
        answers.write(counter_answer{command.tag, known, value, uint32_t(tick)});
    }
}

} // namespace card
