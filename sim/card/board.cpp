/* SPDX-License-Identifier: Apache-2.0 */
#include "board.hpp"

#include <algorithm>
#include <chrono>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gate.hpp"

namespace sim_card
{

using namespace card;

namespace
{

enum : unsigned {
    all_parts = (1U << part_count) - 1,
    rounds_a_look = 64,  /* at whether the card is to stop */
    rounds_at_rest = 64, /* without news from the host, before it is asked whether anything is under way */
    yields = 100,        /* of a card at rest, before it sleeps */
    sleep_ns_first = 20000,
    sleep_ns_soon = 200000, /* the longest at first; behind some, the longest of all */
    sleeps_soon = 100,
    sleep_ns_last = 1000000,
    wait_ms = 100 /* for the others, before a unit looks whether it is to stop */
};

const uint64_t for_ever = ~UINT64_C(0);

/* Nothing is under way, and only the host can change that. False: the card is to stop. */
bool rest(const sluice_kernel *kernel, gate &rings)
{
    long ns = sleep_ns_first;
    for (unsigned i = 0; !rings.pull(); i++) {
        rings.push(); /* what was late */
        if (sluice_kernel_stopping(kernel))
            return false;
        if (i < yields) {
            sched_yield();
            continue;
        }
        const timespec pause = {0, ns};
        nanosleep(&pause, nullptr);
        ns = std::min<long>(ns * 2, i < yields + sleeps_soon ? sleep_ns_soon : sleep_ns_last);
    }
    return true;
}

} // namespace

/* ---- arguments ---- */

uint64_t argument_reader::wide()
{
    const uint64_t value = sluice_kernel_read64(m_kernel, m_offset);
    m_offset += 12;
    return value;
}

uint32_t argument_reader::narrow()
{
    const uint32_t value = sluice_kernel_read(m_kernel, m_offset);
    m_offset += 8;
    return value;
}

void argument_reader::refuse(const char *what) const
{
    fprintf(stderr, "%s: %s\n", m_kernel->unit, what);
    abort();
}

void *argument_reader::memory(const char *name, uint64_t address, uint64_t bytes) const
{
    void *const found = sluice_kernel_memory(m_kernel, address, bytes);
    if (found == nullptr || bytes == 0) {
        fprintf(stderr, "%s: %s: no buffer has %llu bytes from 0x%llx on\n", m_kernel->unit, name,
                static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(address));
        abort();
    }
    return found;
}

void board::control(const sluice_kernel *kernel)
{
    argument_reader in(kernel);
    card_memory own{};
    const uint64_t commands = in.wide(), completions = in.wide(), events = in.wide(), page = in.wide();
    own.command_entries = in.narrow();
    own.event_entries = in.narrow();
    given said{};
    said.sessions = in.narrow();
    said.rounds = in.wide();
    own.commands = in.memory("commands", commands, uint64_t{own.command_entries} * card_command_bytes);
    own.completions = in.memory("completions", completions, uint64_t{own.command_entries} * card_completion_bytes);
    own.events = in.memory("events", events, uint64_t{own.event_entries} * card_event_bytes);
    own.page = in.memory("page", page, sizeof(card_host_page));
    join(kernel, part_control, own, said);
}

void board::state(const sluice_kernel *kernel, unsigned lane)
{
    static const char *const names[] = {"line_0", "line_1", "line_2", "line_3", "line_4", "line_5"};
    argument_reader in(kernel);
    card_memory own{};
    uint64_t lines[6], writes[6];
    for (uint64_t &line : lines)
        line = in.wide();
    for (uint64_t &write : writes)
        write = in.wide();
    given said{};
    said.sessions = in.narrow();
    said.rounds = in.wide();
    for (unsigned i = 0; i < 6; i++) {
        if (lines[i] != writes[i])
            in.refuse("line_N and write_N are not the same memory");
        own.sessions[lane][i] = in.memory(names[i], lines[i], uint64_t{said.sessions} * card_line_bytes);
    }
    join(kernel, lane == 0 ? part_state_0 : part_state_1, own, said);
}

void board::packets(const sluice_kernel *kernel, unsigned lane)
{
    argument_reader in(kernel);
    card_memory own{};
    card_packets_memory &mine = own.packets[lane];
    const uint64_t to_card = in.wide(), from_card = in.wide(), mirror = in.wide(), page = in.wide();
    mine.to_card_lines = in.narrow();
    mine.from_card_lines = in.narrow();
    mine.mirror_lines = in.narrow();
    if ((in.narrow() & 0xff) != lane)
        in.refuse("the argument `lane` is not the lane that this unit is linked to");
    given said{};
    said.rounds = in.wide();
    mine.to_card = in.memory("to_card", to_card, uint64_t{mine.to_card_lines} * card_line_bytes);
    mine.from_card = in.memory("from_card", from_card, uint64_t{mine.from_card_lines} * card_line_bytes);
    mine.mirror = in.memory("mirror", mirror, uint64_t{mine.mirror_lines} * card_line_bytes);
    mine.page = in.memory("page", page, sizeof(card_packets_page));
    join(kernel, lane == 0 ? part_packets_0 : part_packets_1, own, said);
}

/* ---- all together ---- */

void board::take(unit_part part, const card_memory &own)
{
    switch (part) {
    case part_control:
        m_memory.commands = own.commands;
        m_memory.completions = own.completions;
        m_memory.events = own.events;
        m_memory.page = own.page;
        m_memory.command_entries = own.command_entries;
        m_memory.event_entries = own.event_entries;
        break;
    case part_state_0:
    case part_state_1: {
        const unsigned lane = part - part_state_0;
        std::copy(std::begin(own.sessions[lane]), std::end(own.sessions[lane]), std::begin(m_memory.sessions[lane]));
        break;
    }
    default:
        m_memory.packets[part - part_packets_0] = own.packets[part - part_packets_0];
    }
}

/* The last one to come runs them all. The others look by themselves whether they are to stop: whoever runs may have crashed. */
void board::join(const sluice_kernel *kernel, unit_part part, const card_memory &own, const given &said)
{
    std::unique_lock<std::mutex> lock(m_lock);
    take(part, own);
    m_given[part] = said;
    m_units[part] = kernel;
    m_here |= 1U << part;
    if (m_here == all_parts) {
        const given *const g = m_given;
        const bool agreed =
            g[part_control].sessions == g[part_state_0].sessions && g[part_control].sessions == g[part_state_1].sessions;
        uint64_t rounds = for_ever;
        for (const given &one : m_given)
            rounds = std::min(rounds, one.rounds);
        m_memory.session_count = g[part_control].sessions;
        lock.unlock();
        if (!agreed)
            argument_reader(kernel).refuse("the units were told different numbers of sessions");
        run(kernel, rounds);
        lock.lock();
        m_here = 0;
        m_ended++;
        m_over.notify_all();
        return;
    }
    const uint64_t ended = m_ended;
    while (m_ended == ended && !sluice_kernel_stopping(kernel))
        m_over.wait_for(lock, std::chrono::milliseconds(wait_ms));
}

void board::run(const sluice_kernel *kernel, uint64_t rounds)
{
    if (!card_model::fits(m_memory))
        argument_reader(kernel).refuse("a ring's size, or the number of sessions, is not one that the kernels take");
    gate rings(m_memory, gate_units{m_units[part_control], {m_units[part_packets_0], m_units[part_packets_1]}});
    card_model model(rings.inner());
    unsigned quiet = 0;
    for (uint64_t round = 0; round < rounds || rounds == for_ever; round++) {
        quiet = rings.pull() ? 0 : quiet + 1;
        model.step();
        rings.push();
        if (round % rounds_a_look == 0 && sluice_kernel_stopping(kernel))
            return;
        if (quiet < rounds_at_rest || rounds != for_ever)
            continue;
        quiet = 0;
        if (model.idle() && !rest(kernel, rings))
            return;
    }
}

} // namespace sim_card
