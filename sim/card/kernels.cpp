/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compute units of the simulated card that a host starts, as the device process calls them. Lanes are free-running: nobody
 * does.
 */
#include <string.h>

#include "board.hpp"

namespace
{

sim_card::board the_board; /* a load has its own: the object is loaded anew each time */

unsigned lane_of(const sluice_kernel *kernel)
{
    return kernel->unit[strlen(kernel->unit) - 1] == '1' ? 1 : 0;
}

} // namespace

extern "C" {

sluice_kernel_function sluice_kernel_sluice_control, sluice_kernel_sluice_state, sluice_kernel_sluice_packets;

void sluice_kernel_sluice_control(struct sluice_kernel *kernel)
{
    the_board.control(kernel);
}

void sluice_kernel_sluice_state(struct sluice_kernel *kernel)
{
    the_board.state(kernel, lane_of(kernel));
}

void sluice_kernel_sluice_packets(struct sluice_kernel *kernel)
{
    the_board.packets(kernel, lane_of(kernel));
}
}
