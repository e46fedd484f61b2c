/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The card's compute units together. Each is started by itself, on its own thread, and brings its arguments; the one that comes
 * last runs the kernels of all, the others wait until it is over.
 */
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdint.h>

#include <kernel.h>

#include "pipeline/card.hpp"

namespace sim_card
{

/* A unit's part of the whole. */
enum unit_part : unsigned { part_control, part_state_0, part_state_1, part_packets_0, part_packets_1, part_count };

/* Registers as the host set them, one after the other. Anything that cannot be ends the unit as a crash: the card is broken. */
class argument_reader
{
  public:
    explicit argument_reader(const sluice_kernel *kernel) : m_kernel(kernel)
    {
    }
    uint64_t wide(); /* an address, or 64 bits */
    uint32_t narrow();
    /* Memory at an address that came before. */
    void *memory(const char *name, uint64_t address, uint64_t bytes) const;
    [[noreturn]] void refuse(const char *what) const;

  private:
    const sluice_kernel *m_kernel;
    uint32_t m_offset = 0x10;
};

class board
{
  public:
    void control(const sluice_kernel *kernel);
    void state(const sluice_kernel *kernel, unsigned lane);
    void packets(const sluice_kernel *kernel, unsigned lane);

  private:
    struct given { /* what must agree */
        uint32_t sessions;
        uint64_t rounds;
    };

    void join(const sluice_kernel *kernel, unit_part part, const card::card_memory &own, const given &said);
    void take(unit_part part, const card::card_memory &own);
    void run(const sluice_kernel *kernel, uint64_t rounds);

    std::mutex m_lock; /* of all below */
    std::condition_variable m_over;
    card::card_memory m_memory{};
    given m_given[part_count]{};
    const sluice_kernel *m_units[part_count]{};
    unsigned m_here = 0;  /* a bit a part */
    uint64_t m_ended = 0; /* how often all of them were there and ran */
};

} // namespace sim_card
