/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands between the rings that the host has and those that the kernels see. Command and completion rings and the pages, which
 * are small, are there twice: the gate carries over what is new, and in between something can go wrong on purpose (README.md).
 * Packets, mirror and events go their own way; a packet can be spoilt while the kernels do not know of it yet.
 *
 *   host    commands ──▶ pull ──▶ commands       kernels
 *        completions ◀── push ◀── completions
 *              pages ◀─▶ both ◀─▶ pages
 */
#pragma once

#include <memory>
#include <stdint.h>
#include <stdlib.h>
#include <vector>

#include "card/card_command.h"
#include "faults.hpp"
#include "pipeline/card.hpp"

namespace sim_card
{

/* Zeroed lines of 64 bytes. */
struct free_lines {
    void operator()(uint8_t *lines) const
    {
        free(lines);
    }
};
typedef std::unique_ptr<uint8_t[], free_lines> line_memory;

/* Whose faults they are. */
struct gate_units {
    const sluice_kernel *control, *packets[2];
};

class gate
{
  public:
    /* host: as the kernels would have it, fitting. Ends the program without memory. */
    gate(const card::card_memory &host, const gate_units &units);
    gate(const gate &) = delete;
    gate &operator=(const gate &) = delete;

    /* For the kernels. */
    const card::card_memory &inner() const
    {
        return m_inner;
    }

    /* From the host, before a round. True: there was something. */
    bool pull();
    /* To the host, behind a round. */
    void push();

  private:
    bool pull_commands();
    void spoil_command(card::card_command &command, uint32_t number);
    bool pull_packets(unsigned lane);
    void spoil_packets(unsigned lane, uint32_t written);
    void push_completions();
    bool is_late(uint32_t number);

    card::card_memory m_host, m_inner;
    line_memory m_commands, m_completions, m_page, m_packet_pages;
    uint32_t m_taken = 0, m_completed = 0; /* entries carried over */

    ring_faults m_command_faults, m_packet_faults[2];
    bool m_full = false;                 /* table writes are refused */
    std::vector<bool> m_refused;         /* an entry each: its command */
    uint64_t m_late_until = 0;           /* ms; the next completion waits for it */
    uint32_t m_seen[2]{}, m_frames[2]{}; /* a lane: position in to_card, and frames before it */
};

} // namespace sim_card
