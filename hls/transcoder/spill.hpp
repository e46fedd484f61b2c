/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spill: joins the two parts of a session's state that change, as their owners answer the write-backs, into one write to memory.
 * Both answer in the order they were asked. Should the indexes differ all the same, nothing is written any more: memory keeps the
 * states it has, and the slots that wait for an ack stay mapped.
 */
#pragma once

#include <hls_stream.h>

#include "transcoder/streams.hpp"

namespace card
{

constexpr unsigned spill_depth = 2; /* 1 compare 17 bits (3 levels) + 1 output */

struct spill_state {
    bool broken;
};

void spill(spill_state &s, hls::stream<track_line> &track, hls::stream<finish_line> &finish, hls::stream<state_write> &out);

} // namespace card
