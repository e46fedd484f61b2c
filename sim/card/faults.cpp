/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.hpp"

#include <stdio.h>

namespace sim_card
{

void ring_faults::arrive(uint32_t number)
{
    sluice_kernel_fault fault{};
    while (m_unit != nullptr && sluice_kernel_next_fault(m_unit, &fault) != 0) {
        if ((m_known >> fault.kind & 1) != 0)
            m_waiting.push_back(waiting{fault, number + fault.entry - 1});
        else
            fprintf(stderr, "%s: a fault that its entries do not have\n", m_unit->unit);
    }
}

bool ring_faults::take(sluice_kernel_fault_kind kind, uint32_t number, sluice_kernel_fault &fault)
{
    for (size_t i = 0; i < m_waiting.size(); i++) {
        if (m_waiting[i].fault.kind != kind || m_waiting[i].number != number)
            continue;
        fault = m_waiting[i].fault;
        m_waiting[i] = m_waiting.back();
        m_waiting.pop_back();
        return true;
    }
    return false;
}

} // namespace sim_card
