/* SPDX-License-Identifier: Apache-2.0 */
/* event_mux joins the events of a lane; those about records go first, so that an event about a packet follows those of its records.
 */
#pragma once

#include <hls_stream.h>

#include "common/types.hpp"

namespace card
{

constexpr unsigned event_mux_depth = 1;

inline void event_mux(hls::stream<event> &records, hls::stream<event> &packets, hls::stream<event> &keys, hls::stream<event> &out)
{
#pragma HLS PIPELINE II = 1
    if (out.full())
        return;
    if (!records.empty())
        out.write(records.read());
    else if (!packets.empty())
        out.write(packets.read());
    else if (!keys.empty())
        out.write(keys.read());
}

} // namespace card
