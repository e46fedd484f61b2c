/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lane_link: the lane's end of the link to control. A request of one to three lines is taken apart, given to the process that it
 * is for, and answered with one line when that has answered. One request at a time.
 *
 *   request, line 0:   0 kind | 1 op | 2 set | 4..7 number | 8..11 after | 16..55 table slot
 *            line 1-2  lane_rule: struct card_rule (80 bytes); lane_fetch with fetch_keys: struct key_set (121 bytes)
 *   reply:             0 kind | 1 ok | 4..7 number | 8.. bytes | 16.. packets | 24.. tick | 32.. now
 */
#pragma once

#include <hls_stream.h>

#include "control/line.hpp"
#include "rule_table/rule_table.hpp"
#include "session_table/session_counters.hpp"
#include "session_table/session_table.hpp"
#include "transcoder/streams.hpp"

namespace card
{

enum lane_request_kind : uint8_t {
    lane_table = 1,     /* op: table_op, or lane_table_ask; number: slot. Reply: number = lookups before it */
    lane_rule = 2,      /* op: rule_op, number: of the rule */
    lane_fetch = 3,     /* op: fetch_command_kind, number: session, set, after. Reply: number = session */
    lane_counter = 4,   /* op: counter_op, number: session or total. Reply: its counters */
    lane_seal_limit = 5 /* number: the limit */
};

enum : unsigned {
    lane_request_lines = 3,
    lane_table_ask = 0xff /* no operation of the table, which answers ok = false and the number of lookups */
};

struct lane_link_state {
    uint8_t byte[lane_request_lines * beat_bytes];
    uint8_t lines; /* read */
    bool waits;    /* for the answer */
};

struct lane_link_in {
    hls::stream<control_line> &requests;
    hls::stream<table_update_done> &table_dones;
    hls::stream<rule_update_done> &rule_dones;
    hls::stream<fetch_reply> &fetch_replies;
    hls::stream<counter_answer> &counter_answers;
};

struct lane_link_out {
    hls::stream<control_line> &replies;
    hls::stream<table_update> &table_updates;
    hls::stream<rule_update> &rule_updates;
    hls::stream<fetch_command> &fetch_commands;
    hls::stream<key_load> &key_loads;
    hls::stream<counter_command> &counter_commands;
    hls::stream<uint32_t> &seal_limits;
};

constexpr unsigned lane_link_depth = 2; /* 1 the line's bytes to their fields + 1 output */

/* A request that is none (control makes no such) is answered with ok = false. */
void lane_link(lane_link_state &s, const lane_link_in &in, const lane_link_out &out);

} // namespace card
