/* SPDX-License-Identifier: Apache-2.0 */
/* fill: hands each part of a session's state that came from memory to its owner, in the order of the work items with `fill`. */
#pragma once

#include <hls_stream.h>

#include "transcoder/streams.hpp"

namespace card
{

constexpr unsigned fill_depth = 1; /* wires */

void fill(hls::stream<state_read> &in, hls::stream<key_state> &keys, hls::stream<track_state> &track,
          hls::stream<finish_state> &finish);

} // namespace card
