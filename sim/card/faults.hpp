/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The faults of a ring (sim/xrt/fault.h) until their entry comes. Entries are numbered from 1, modulo 2^32. A fault counts from the
 * first entry that comes after it was given.
 */
#pragma once

#include <stdint.h>
#include <vector>

#include <kernel.h>

namespace sim_card
{

class ring_faults
{
  public:
    /* unit: whose ring it is; null: there are no faults. known: a bit a kind; others are told on stderr, and do not happen. */
    ring_faults(const sluice_kernel *unit, unsigned known) : m_unit(unit), m_known(known)
    {
    }

    /* An entry has come: what was given to the unit by now counts from it. */
    void arrive(uint32_t number);

    /* Does that happen to that entry? Once. */
    bool take(sluice_kernel_fault_kind kind, uint32_t number, sluice_kernel_fault &fault);

  private:
    struct waiting {
        sluice_kernel_fault fault;
        uint32_t number;
    };

    const sluice_kernel *m_unit;
    unsigned m_known;
    std::vector<waiting> m_waiting;
};

} // namespace sim_card
