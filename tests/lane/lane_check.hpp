/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a trace of tests/model through a lane and compares all that comes of it with the reference model: frames byte for byte,
 * punts with their information, events, what the mirror says once it is unsealed, counters, and the state that is left in memory.
 */
#pragma once

#include "lane_bench.hpp"
#include "trace.h"

namespace bench
{

struct check_result {
    uint64_t frames, sent, punted, dropped, squashed, events, verified, bad, text_bytes;
    uint64_t reasons[64]; /* punts by reason */
    uint64_t kinds[16];   /* events by kind */
    trace_statistics statistics;
};

/* The frames between two commands of the host go in together, at most `batch` of them. Prints what differs and ends the test. */
check_result run_trace(uint64_t seed, const trace_options &trace, const lane_options &lane, unsigned batch);

} // namespace bench
