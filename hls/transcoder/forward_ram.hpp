/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward_ram: a memory on chip that is read, changed and written every cycle, although a write takes some cycles to be readable.
 *
 *   write ──▶ [ahead] ──▶ [ahead-1] ─▶ ... ─▶ [0]
 *               │     │                     │
 *               │     └─▶ cell, one copy a reader
 *               │               │           │
 *   read  ◀─────┴── newest match, else cell ┘
 *
 * The last ahead + 1 writes are kept in registers, and a read that hits one of them gets the newest such; the cell is written one
 * write late. So a read never depends on a cell written in the `ahead` cycles before it, which is what `DEPENDENCE ... inter false`
 * says where it is used. One write a cycle, one read a cycle for each of `readers`, which have a copy each (simple dual-port
 * memories). All zero is its first state.
 */
#pragma once

#include <stdint.h>

namespace card
{

template <typename T, unsigned entries, unsigned readers, unsigned ahead> struct forward_ram {
    T cell[readers][entries];
    T value[ahead + 1]; /* [0] is the oldest */
    uint32_t at[ahead + 1];
    bool valid[ahead + 1];
};

template <unsigned reader, typename T, unsigned entries, unsigned readers, unsigned ahead>
inline T forward_read(const forward_ram<T, entries, readers, ahead> &ram, uint32_t address)
{
#pragma HLS INLINE
    static_assert(reader < readers, "a reader has a copy");
    T found = ram.cell[reader][address];
    for (unsigned i = 0; i <= ahead; i++) {
#pragma HLS UNROLL
        if (ram.valid[i] && ram.at[i] == address)
            found = ram.value[i];
    }
    return found;
}

template <typename T, unsigned entries, unsigned readers, unsigned ahead>
inline void forward_write(forward_ram<T, entries, readers, ahead> &ram, uint32_t address, T value)
{
#pragma HLS INLINE
    if (ram.valid[ahead]) {
        for (unsigned r = 0; r < readers; r++) {
#pragma HLS UNROLL
            ram.cell[r][ram.at[ahead]] = ram.value[ahead];
        }
    }
    for (unsigned i = 0; i < ahead; i++) {
#pragma HLS UNROLL
        ram.valid[i] = ram.valid[i + 1];
        ram.at[i] = ram.at[i + 1];
        ram.value[i] = ram.value[i + 1];
    }
    ram.valid[ahead] = true;
    ram.at[ahead] = address;
    ram.value[ahead] = value;
}

} // namespace card
