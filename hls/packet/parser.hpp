/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <hls_stream.h>

#include "packet/packet.hpp"

namespace card
{

struct parser_state {
    uint32_t packet_id = 0;
};

void parser(parser_state &s, hls::stream<beat> &in, hls::stream<beat> &out, hls::stream<packet_key> &keys,
            hls::stream<headers> &summaries);

} // namespace card
