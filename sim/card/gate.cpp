/* SPDX-License-Identifier: Apache-2.0 */
#include "gate.hpp"

#include <stddef.h>
#include <string.h>

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

gate::gate(const card_memory &host)
    : m_host(host), m_inner(host), m_commands(make_lines(size_t{host.command_entries} * card_command_bytes)),
      m_completions(make_lines(size_t{host.command_entries} * card_completion_bytes)), m_page(make_lines(sizeof(card_host_page))),
      m_packet_pages(make_lines(2 * sizeof(card_packets_page)))
{
    m_inner.commands = m_commands.get();
    m_inner.completions = m_completions.get();
    m_inner.page = m_page.get();
    for (unsigned lane = 0; lane < 2; lane++)
        m_inner.packets[lane].page = m_packet_pages.get() + lane * sizeof(card_packets_page);
}

/* Not before the kernels are done with the entry's last command. */
bool gate::pull_commands()
{
    const uint32_t slot = m_taken & (m_host.command_entries - 1);
    const card_command *const from = as<card_command>(m_host.commands) + slot;
    if (m_taken - m_completed == m_host.command_entries || load(&from->valid) != m_taken + 1)
        return false;
    memcpy(as<card_command>(m_inner.commands) + slot, from, sizeof *from);
    m_taken++;
    return true;
}

bool gate::pull()
{
    bool news = pull_commands();
    news = carry(&as<card_host_page>(m_host.page)->events_read, &as<card_host_page>(m_inner.page)->events_read) || news;
    for (unsigned lane = 0; lane < 2; lane++) {
        const card_packets_page *const from = as<card_packets_page>(m_host.packets[lane].page);
        card_packets_page *const to = as<card_packets_page>(m_inner.packets[lane].page);
        news = carry(&from->to_card_written, &to->to_card_written) || news;
        news = carry(&from->from_card_read, &to->from_card_read) || news;
        news = carry(&from->mirror_read, &to->mirror_read) || news;
    }
    return news;
}

/* The command's keys go when it is done. */
void gate::push_completions()
{
    for (;;) {
        const uint32_t slot = m_completed & (m_host.command_entries - 1);
        const card_completion *const from = as<card_completion>(m_inner.completions) + slot;
        card_completion *const to = as<card_completion>(m_host.completions) + slot;
        if (load(&from->valid) != m_completed + 1)
            return;
        memcpy(to, from, offsetof(card_completion, valid));
        store(&to->valid, from->valid);
        memset(as<card_command>(m_inner.commands) + slot, 0, sizeof(card_command));
        m_completed++;
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
