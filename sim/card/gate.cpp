/* SPDX-License-Identifier: Apache-2.0 */
#include "gate.hpp"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

namespace sim_card
{

using namespace card;

namespace
{

line_memory make_lines(size_t bytes)
{
    void *const lines = aligned_alloc(card_line_bytes, bytes);
    if (lines == nullptr)
        abort();
    memset(lines, 0, bytes);
    return line_memory(static_cast<uint8_t *>(lines));
}

template <typename T> T *as(void *memory)
{
    return static_cast<T *>(memory);
}

uint32_t load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

void store(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

uint64_t now_ms()
{
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
}

enum : unsigned {
    flips = 1U << SLUICE_FAULT_FLIP,
    faults_of_commands = flips | 1U << SLUICE_FAULT_LOSE | 1U << SLUICE_FAULT_DELAY | 1U << SLUICE_FAULT_OVERRUN |
                         1U << SLUICE_FAULT_STRAY | 1U << SLUICE_FAULT_REFUSE
};

/* Copies a position if it has moved. */
bool carry(const uint32_t *from, uint32_t *to)
{
    const uint32_t value = load(from);
    if (value == *to)
        return false;
    store(to, value);
    return true;
}

} // namespace

gate::gate(const card_memory &host, const gate_units &units)
    : m_host(host), m_inner(host), m_commands(make_lines(size_t{host.command_entries} * card_command_bytes)),
      m_completions(make_lines(size_t{host.command_entries} * card_completion_bytes)), m_page(make_lines(sizeof(card_host_page))),
      m_packet_pages(make_lines(2 * sizeof(card_packets_page))),
      m_command_faults(units.control, faults_of_commands), m_packet_faults{{units.packets[0], flips}, {units.packets[1], flips}},
      m_refused(host.command_entries)
{
    m_inner.commands = m_commands.get();
    m_inner.completions = m_completions.get();
    m_inner.page = m_page.get();
    for (unsigned lane = 0; lane < 2; lane++)
        m_inner.packets[lane].page = m_packet_pages.get() + lane * sizeof(card_packets_page);
}

/* What is obeyed in the place of what the host wrote. */
void gate::spoil_command(card_command &command, uint32_t number)
{
    sluice_kernel_fault fault{};
    m_command_faults.arrive(number);
    if (m_command_faults.take(SLUICE_FAULT_STRAY, number, fault)) {
        memset(&command, 0, sizeof command);
        command.sequence = command.valid = number;
        command.opcode = card_no_op;
    }
    if (m_command_faults.take(SLUICE_FAULT_OVERRUN, number, fault))
        command.sequence += m_host.command_entries;
    if (m_command_faults.take(SLUICE_FAULT_FLIP, number, fault))
        reinterpret_cast<uint8_t *>(&command)[fault.byte % sizeof command] ^= static_cast<uint8_t>(1U << fault.bit);
    m_full = m_command_faults.take(SLUICE_FAULT_REFUSE, number, fault) || m_full;
    const bool refused = m_full && command.opcode == card_table_write;
    m_refused[(number - 1) & (m_host.command_entries - 1)] = refused;
    if (refused)
        command.opcode = 0; /* changes nothing; push_completions says why */
}

/* Not before the kernels are done with the entry's last command. */
bool gate::pull_commands()
{
    const uint32_t slot = m_taken & (m_host.command_entries - 1);
    const card_command *const from = as<card_command>(m_host.commands) + slot;
    if (m_taken - m_completed == m_host.command_entries || load(&from->valid) != m_taken + 1)
        return false;
    card_command *const to = as<card_command>(m_inner.commands) + slot;
    memcpy(to, from, sizeof *from);
    spoil_command(*to, ++m_taken);
    return true;
}

/* Frames are told apart as the kernels do it: behind a head that cannot be, everything is skipped. */
void gate::spoil_packets(unsigned lane, uint32_t written)
{
    const card_ring ring = {as<uint8_t>(m_host.packets[lane].to_card), m_host.packets[lane].to_card_lines, 0};
    uint32_t &at = m_seen[lane];
    while (at != written) {
        card_packet_head head;
        memcpy(&head, card_ring_line(&ring, at), sizeof head);
        const uint32_t lines = card_ring_lines(head.bytes);
        if (head.number != at + 1 || head.valid != at + 1 || head.bytes == 0 || head.bytes > card_packet_bytes_max ||
            lines > written - at) {
            at = written;
            return;
        }
        sluice_kernel_fault fault{};
        m_packet_faults[lane].arrive(++m_frames[lane]);
        while (m_packet_faults[lane].take(SLUICE_FAULT_FLIP, m_frames[lane], fault)) {
            const uint32_t byte = static_cast<uint32_t>(fault.byte % head.bytes);
            card_ring_line(&ring, at + 1 + byte / card_line_bytes)[byte % card_line_bytes] ^= static_cast<uint8_t>(1U << fault.bit);
        }
        at += lines;
    }
}

bool gate::pull_packets(unsigned lane)
{
    const card_packets_page *const from = as<card_packets_page>(m_host.packets[lane].page);
    card_packets_page *const to = as<card_packets_page>(m_inner.packets[lane].page);
    const uint32_t written = load(&from->to_card_written);
    bool news = written != to->to_card_written;
    if (news) {
        if (written - m_seen[lane] <= m_host.packets[lane].to_card_lines) /* else the kernels will not believe it either */
            spoil_packets(lane, written);
        store(&to->to_card_written, written);
    }
    news = carry(&from->from_card_read, &to->from_card_read) || news;
    return carry(&from->mirror_read, &to->mirror_read) || news;
}

bool gate::pull()
{
    bool news = pull_commands();
    news = carry(&as<card_host_page>(m_host.page)->events_read, &as<card_host_page>(m_inner.page)->events_read) || news;
    for (unsigned lane = 0; lane < 2; lane++)
        news = pull_packets(lane) || news;
    return news;
}

bool gate::is_late(uint32_t number)
{
    sluice_kernel_fault fault{};
    if (m_command_faults.take(SLUICE_FAULT_DELAY, number, fault))
        m_late_until = now_ms() + fault.delay_ms;
    if (m_late_until != 0 && now_ms() >= m_late_until)
        m_late_until = 0;
    return m_late_until != 0;
}

/* The command's keys go when it is done. */
void gate::push_completions()
{
    for (;;) {
        const uint32_t slot = m_completed & (m_host.command_entries - 1);
        const card_completion *const from = as<card_completion>(m_inner.completions) + slot;
        card_completion *const to = as<card_completion>(m_host.completions) + slot;
        if (load(&from->valid) != m_completed + 1 || is_late(m_completed + 1))
            return;
        sluice_kernel_fault fault{};
        card_completion told = *from;
        if (m_refused[slot]) {
            told.opcode = card_table_write;
            told.status = card_refused;
        }
        memset(as<card_command>(m_inner.commands) + slot, 0, sizeof(card_command));
        m_completed++;
        if (m_command_faults.take(SLUICE_FAULT_LOSE, m_completed, fault))
            continue;
        memcpy(to, &told, offsetof(card_completion, valid));
        store(&to->valid, told.valid);
    }
}

void gate::push()
{
    push_completions();
    for (unsigned lane = 0; lane < 2; lane++) {
        const card_packets_page *const from = as<card_packets_page>(m_inner.packets[lane].page);
        card_packets_page *const to = as<card_packets_page>(m_host.packets[lane].page);
        carry(&from->bad_heads, &to->bad_heads);
        carry(&from->to_card_read, &to->to_card_read);
    }
}

} // namespace sim_card
