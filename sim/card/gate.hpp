/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands between the rings that the host has and those that the kernels see. Command and completion rings and the pages, which
 * are small, are there twice: the gate carries over what is new, and in between something can go wrong on purpose. Packets, mirror
 * and events go their own way.
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

class gate
{
  public:
    /* host: as the kernels would have it, fitting. Ends the program without memory. */
    explicit gate(const card::card_memory &host);
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
    void push_completions();

    card::card_memory m_host, m_inner;
    line_memory m_commands, m_completions, m_page, m_packet_pages;
    uint32_t m_taken = 0, m_completed = 0; /* entries carried over */
};

} // namespace sim_card
