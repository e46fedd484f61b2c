/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/card.hpp"

#include <initializer_list>
#include <stdlib.h>

#include "pipeline/card_kernels.hpp"

namespace card
{

namespace
{

bool is_power_of_two(uint32_t x)
{
    return x != 0 && (x & (x - 1)) == 0;
}

bool are_lines(const void *memory)
{
    return memory != nullptr && reinterpret_cast<uintptr_t>(memory) % beat_bytes == 0;
}

bool is_ring(const void *memory, uint32_t entries, uint32_t least)
{
    return are_lines(memory) && is_power_of_two(entries) && entries >= least && entries <= card_packet_lines_max;
}

memory_port port_of(void *memory)
{
    return memory_port(static_cast<memory_word *>(memory));
}

volatile ring_line *ring_of(void *memory)
{
    return static_cast<volatile ring_line *>(memory);
}

/* What the lists of processes take: PORT is a port or argument of the kernel, `k` the struct that has it. */
#define PORT(name)             k.name
#define CALL(name, depth, ...) __VA_ARGS__;
#define IF_LOOK(name, depth, ...)                                                                                                  \
    if (look)                                                                                                                      \
        __VA_ARGS__;

enum : unsigned {
    page_rounds = 8,
    calm_rounds = 64 /* more than anything stays in a process beside its streams */
};

void step_control(card_control &k)
{
    control_kernel_state &s = k.state;
    control_streams &x = k.streams;
    CARD_CONTROL_PROCESSES(CALL, CALL, PORT)
}

/* The page is looked at less often than a process is called, as on the card. The mirror's two lines an item go in one round. */
void step_packets(card_lane &k)
{
    packets_kernel_state &s = k.packets;
    packets_streams &x = k.packets_internal;
    const bool look = k.rounds++ % page_rounds == 0;
    CARD_PACKETS_PROCESSES(CALL, IF_LOOK, PORT)
    mirror_writer(s.mirror, k.mirror, k.mirror_lines, k.lane, mirror_writer_in{k.mirror_head, k.mirror_data, x.mirror_read});
}

void step_lane(card_lane &k)
{
    lane_port_state &e = k.outer;
    lane_port_streams &y = k.outer_streams;
    lane_ports &p = k.inner_ports;
    CARD_LANE_INPUTS(CALL, PORT)
    card::step_lane(k.inner, k.inner_streams, p, lane_number);
    CARD_LANE_OUTPUTS(CALL, PORT)
}

void step_state(card_lane &k)
{
    state_kernel_state &s = k.state;
    state_streams &x = k.state_internal;
    CARD_STATE_PROCESSES(CALL, PORT)
}

#undef IF_LOOK
#undef CALL
#undef PORT

/* ---- is anything under way? ---- */

template <typename... Streams> bool empty(Streams &...streams)
{
    bool all = true;
    (void)std::initializer_list<int>{(all = all && streams.empty(), 0)...};
    return all;
}

bool empty(lane_ports &p)
{
    return empty(p.rx, p.inject, p.transmit, p.tx, p.punt, p.mirror, p.events, p.state_reads, p.state_lines, p.state_writes,
                 p.state_acks, p.fetch_commands, p.fetch_replies, p.key_loads, p.seal_limits, p.table_updates, p.table_dones,
                 p.rule_updates, p.rule_dones, p.counter_commands, p.counter_answers);
}

bool empty(lane_streams &x)
{
    return empty(x.received, x.packet_keys, x.session_results, x.lookups, x.beats, x.summaries, x.work_items, x.track_lines,
                 x.pieces, x.key_lines, x.keyed, x.open_jobs, x.seal_jobs, x.mirror_jobs, x.open_streams, x.seal_streams,
                 x.mirror_streams, x.open_exponents, x.seal_exponents, x.open_weights, x.seal_weights, x.open_hashing,
                 x.seal_hashing, x.open_hashes, x.seal_hashes, x.mixed, x.finish_lines, x.contexts, x.out_beats, x.packet_fifo,
                 x.emit_jobs, x.emitted, x.dones, x.releases, x.track_write_backs, x.finish_write_backs, x.tracks, x.finishes,
                 x.wipes, x.wiped, x.record_events, x.packet_events, x.key_events, x.counts);
}

bool empty(state_streams &x)
{
    bool all = empty(x.writes, x.order, x.lane_acks, x.control_acks);
    for (unsigned i = 0; i < session_lines; i++)
        all = all && empty(x.indexes[i], x.lines[i], x.jobs[i], x.written[i]);
    return all;
}

/* The lane and its memory. */
bool is_calm(card_lane &k)
{
    return empty(k.inner_ports) && empty(k.inner_streams) && empty(k.outer_streams.requests, k.outer_streams.replies) &&
           empty(k.state_internal) && !k.state.acks.waits && !k.outer.link.waits && k.outer.link.lines == 0 &&
           !k.outer.mirror.second &&
           empty(k.rx, k.inject, k.transmit, k.command, k.memory_write, k.state_index, k.state_ack, k.state_line, k.state_write);
}

bool at_rest(card_lane &k)
{
    return is_calm(k) &&
           empty(k.packets_internal.written, k.packets_internal.from_card_read, k.packets_internal.mirror_read,
                 k.packets_internal.lines, k.packets_internal.progress) &&
           k.packets.receiver.phase == packet_data && k.packets.mirror.phase == mirror_phase::head &&
           empty(k.rx, k.inject, k.transmit, k.tx, k.punt, k.mirror_head, k.mirror_data, k.command, k.reply, k.memory_write,
                 k.events, k.memory_ack, k.state_index, k.state_ack, k.state_line, k.state_write);
}

bool at_rest(card_control &k)
{
    control_streams &x = k.streams;
    bool all = k.state.control.phase == phase_read && k.state.control.line == 0 && k.state.rings.line == 0 &&
               empty(x.commands, x.completions, x.entries, x.host_read);
    for (control_lane_streams &l : x.lane)
        all = all && empty(l.requests, l.replies, l.writes, l.acks, l.events);
    return all;
}

/* A lane in which nothing is under way rests: it is not called until something comes; only its clock goes on. */
void step_lane_unless_calm(card_lane &k)
{
    if (k.calm >= calm_rounds && empty(k.rx, k.inject, k.transmit, k.command, k.memory_write)) {
        session_counters(k.inner.counters, k.inner_streams.counts, k.inner_ports.counter_commands, k.inner_ports.counter_answers);
        return;
    }
    step_lane(k);
    step_state(k);
    k.calm = is_calm(k) ? k.calm + 1 : 0;
}

} // namespace

card_lane::card_lane(const card_memory &memory, uint8_t number)
    : inner(), outer(), state(), packets(), line_0(port_of(memory.sessions[number][0])),
      line_1(port_of(memory.sessions[number][1])), line_2(port_of(memory.sessions[number][2])),
      line_3(port_of(memory.sessions[number][3])), line_4(port_of(memory.sessions[number][4])),
      line_5(port_of(memory.sessions[number][5])), sessions(memory.session_count), to_card(port_of(memory.packets[number].to_card)),
      from_card(port_of(memory.packets[number].from_card)), mirror(port_of(memory.packets[number].mirror)),
      page(port_of(memory.packets[number].page)), to_card_lines(memory.packets[number].to_card_lines),
      from_card_lines(memory.packets[number].from_card_lines), mirror_lines(memory.packets[number].mirror_lines), lane(number)
{
}

card_control::card_control(const card_memory &memory, card_lane &lane_0, card_lane &lane_1)
    : state(), commands(ring_of(memory.commands)), completions(ring_of(memory.completions)), events(ring_of(memory.events)),
      page(ring_of(memory.page)), command_entries(memory.command_entries), event_entries(memory.event_entries),
      sessions(memory.session_count), reply_0(lane_0.reply), reply_1(lane_1.reply), events_0(lane_0.events),
      events_1(lane_1.events), command_0(lane_0.command), command_1(lane_1.command), memory_write_0(lane_0.memory_write),
      memory_write_1(lane_1.memory_write), memory_ack_0(lane_0.memory_ack), memory_ack_1(lane_1.memory_ack)
{
}

bool card_model::fits(const card_memory &memory)
{
    bool good = is_ring(memory.commands, memory.command_entries, 1) && are_lines(memory.completions) &&
                is_ring(memory.events, memory.event_entries, 1) && are_lines(memory.page) && memory.session_count != 0 &&
                memory.session_count <= sessions_max && memory.session_count % 64 == 0;
    for (const card_packets_memory &p : memory.packets)
        good = good && is_ring(p.to_card, p.to_card_lines, card_packet_lines_min) &&
               is_ring(p.from_card, p.from_card_lines, card_packet_lines_min) &&
               is_ring(p.mirror, p.mirror_lines, card_packet_lines_min) && are_lines(p.page);
    for (void *const(&lane)[6] : memory.sessions)
        for (const void *line : lane)
            good = good && are_lines(line);
    return good;
}

card_model::card_model(const card_memory &memory)
{
    if (!fits(memory))
        abort();
    m_kernels.reset(new kernels(memory));
}

card_model::~card_model() = default;

void card_model::step()
{
    step_control(m_kernels->control);
    for (card_lane &lane : m_kernels->lane) {
        step_packets(lane);
        step_lane_unless_calm(lane);
    }
}

bool card_model::idle()
{
    for (unsigned i = 0; i < calm_rounds; i++) {
        if (!at_rest(m_kernels->control) || !at_rest(m_kernels->lane[0]) || !at_rest(m_kernels->lane[1]))
            return false;
        step();
    }
    return true;
}

} // namespace card
