/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane: the processes of one direction and the streams that join them. hls/README.md has the picture.
 *
 * lane_streams and lane_state are the whole of it; each process is one method of `lane`, called once a cycle. In hardware they are
 * the functions of a dataflow region without start propagation; the cycle harness registers each with its depth; the simulated card
 * calls them in turn.
 *
 * Depths of FIFOs. By default 16: more than the depth of any process that writes or of any path beside it. Others say why.
 */
#pragma once

#include <hls_stream.h>

#include "aes_gcm/ghash.hpp"
#include "aes_gcm/keystream.hpp"
#include "aes_gcm/weights.hpp"
#include "packet/axis.hpp"
#include "packet/parser.hpp"
#include "packet/rewrite.hpp"
#include "rule_table/rule_table.hpp"
#include "session_table/session_counters.hpp"
#include "session_table/session_table.hpp"
#include "transcoder/fetch.hpp"
#include "transcoder/fill.hpp"
#include "transcoder/finish.hpp"
#include "transcoder/keys.hpp"
#include "transcoder/mux.hpp"
#include "transcoder/spill.hpp"
#include "transcoder/tracker.hpp"

namespace card
{

enum : unsigned {
    waiting_packets = 1024, /* that wait for their session's state: a packet a cycle, 400 cycles of memory and the way there */
    crypt_pieces = 64       /* pieces beside the cipher: 1 + 16 of the keystream, 1 of mix, 9 of GHASH, 17 of the mirror's */
};

/* To and from the lane's neighbours. */
struct lane_ports {
    hls::stream<beat, 16> rx{"rx"}, inject{"inject"}, transmit{"transmit"}, tx{"tx"}, punt{"punt"};
    hls::stream<mirror_item, 64> mirror{"mirror"};
    hls::stream<event, 64> events{"events"};
    hls::stream<uint32_t, fetch_reads_depth> state_reads{"state_reads"};
    hls::stream<state_read, 16> state_lines{"state_lines"};
    hls::stream<state_write, 16> state_writes{"state_writes"};
    hls::stream<uint32_t, fetch_acks_depth> state_acks{"state_acks"};
    hls::stream<fetch_command, fetch_commands_depth> fetch_commands{"fetch_commands"};
    hls::stream<fetch_reply, fetch_replies_depth> fetch_replies{"fetch_replies"};
    hls::stream<key_load, 2> key_loads{"key_loads"};
    hls::stream<uint32_t, 2> seal_limits{"seal_limits"};
    hls::stream<table_update, 4> table_updates{"table_updates"};
    hls::stream<table_update_done, 4> table_dones{"table_dones"};
    hls::stream<rule_update, 4> rule_updates{"rule_updates"};
    hls::stream<rule_update_done, 4> rule_dones{"rule_dones"};
    hls::stream<counter_command, 4> counter_commands{"counter_commands"};
    hls::stream<counter_answer, 4> counter_answers{"counter_answers"};
};

struct lane_streams {
    hls::stream<beat, 16> received{"received"};
    hls::stream<packet_key, 16> packet_keys{"packet_keys"};
    hls::stream<session_result, 16> session_results{"session_results"};
    hls::stream<lookup_result, 16> lookups{"lookups"};
    /* These four wait for memory together. */
    hls::stream<beat, waiting_packets> beats{"beats"};
    hls::stream<headers, waiting_packets> summaries{"summaries"};
    hls::stream<work, waiting_packets> work_items{"work_items"};
    hls::stream<track_state, 16> track_lines{"track_lines"};

    hls::stream<piece, 16> pieces{"pieces"};
    hls::stream<key_state, 16> key_lines{"key_lines"};
    hls::stream<keyed_piece, crypt_pieces> keyed{"keyed"};
    hls::stream<keystream_job, 16> open_jobs{"open_jobs"}, seal_jobs{"seal_jobs"}, mirror_jobs{"mirror_jobs"};
    hls::stream<keystream_result, 16> open_streams{"open_streams"}, seal_streams{"seal_streams"}, mirror_streams{"mirror_streams"};
    hls::stream<weight_job, 16> open_exponents{"open_exponents"}, seal_exponents{"seal_exponents"};
    hls::stream<weight_result, crypt_pieces> open_weights{"open_weights"}, seal_weights{"seal_weights"};
    hls::stream<ghash_job, 16> open_hashing{"open_hashing"}, seal_hashing{"seal_hashing"};
    hls::stream<ghash_result, crypt_pieces> open_hashes{"open_hashes"}, seal_hashes{"seal_hashes"}; /* the mirror is later */
    hls::stream<mixed_piece, crypt_pieces> mixed{"mixed"};
    hls::stream<finish_state, 2 * crypt_pieces> finish_lines{
        "finish_lines"};                                                /* filled with the tracker's, read behind the cipher */
    hls::stream<packet_context, 2 * crypt_pieces> contexts{"contexts"}; /* the same */

    hls::stream<out_beat, 16> out_beats{"out_beats"};
    hls::stream<beat, packet_fifo_beats> packet_fifo{"packet_fifo"};
    hls::stream<emit_job, packet_fifo_beats> emit_jobs{"emit_jobs"}; /* as many as the FIFO holds packets of one beat */
    hls::stream<beat, 16> emitted{"emitted"};

    hls::stream<packet_done, 2 * crypt_pieces> dones{"dones"}; /* as many packets as lie between tracker and finish */
    hls::stream<slot_release, fetch_releases_depth> releases{"releases"};
    hls::stream<write_back, fetch_write_backs_depth> track_write_backs{"track_write_backs"},
        finish_write_backs{"finish_write_backs"};
    hls::stream<track_line, 16> tracks{"tracks"};
    hls::stream<finish_line, 16> finishes{"finishes"};
    hls::stream<uint16_t, fetch_wipes_depth> wipes{"wipes"};
    hls::stream<uint16_t, fetch_wiped_depth> wiped{"wiped"};
    hls::stream<event, 16> record_events{"record_events"}, packet_events{"packet_events"}, key_events{"key_events"};
    hls::stream<counter_packet, 16> counts{"counts"};
};

/* All zero is the state after configuration. */
struct lane_state {
    packet_mux_state ingress, egress;
    parser_state parser;
    session_table_state table;
    rule_table_state rules;
    fetch_state fetch;
    tracker_state tracker;
    keys_state keys;
    mix_state mix;
    finish_control finish;
    spill_state spill;
    payload_sum_state sum;
    emit_state emit;
    session_counters_state counters;
};

/*
 * Every process of a lane, in the direction of the packets: P(name, depth, call). s: lane_state, x: lane_streams, p: lane_ports,
 * number: of the lane, 0 inside to outside, 1 back. One list for the kernel, the cycle harness and the simulated card.
 */
#define CARD_LANE_PROCESSES(P)                                                                                                     \
    P(ingress, packet_mux_depth, packet_mux(s.ingress, p.rx, p.inject, x.received))                                                \
    P(parser, parser_depth, parser(s.parser, x.received, x.beats, x.packet_keys, x.summaries))                                     \
    P(session_table, session_table_depth,                                                                                          \
      session_table(s.table, x.packet_keys, x.session_results, p.table_updates, p.table_dones))                                    \
    P(rule_table, rule_table_depth, rule_table(s.rules, x.session_results, x.lookups, p.rule_updates, p.rule_dones))               \
    P(fetch, fetch_depth,                                                                                                          \
      fetch(s.fetch, {x.lookups, x.releases, p.state_acks, x.wiped, p.fetch_commands},                                             \
            {x.work_items, p.state_reads, x.track_write_backs, x.finish_write_backs, x.wipes, p.fetch_replies}))                   \
    P(fill, fill_depth, fill(p.state_lines, x.key_lines, x.track_lines, x.finish_lines))                                           \
    P(tracker, tracker_depth,                                                                                                      \
      tracker(s.tracker, {x.work_items, x.summaries, x.beats, x.track_lines, x.dones, x.track_write_backs, p.seal_limits},         \
              {x.pieces, x.contexts, x.tracks, x.releases, x.key_events}, number))                                                 \
    P(keys, keys_depth,                                                                                                            \
      keys(s.keys, {x.pieces, x.key_lines, p.key_loads, x.wipes},                                                                  \
           {x.wiped, x.keyed, x.open_jobs, x.seal_jobs, x.open_exponents, x.seal_exponents}))                                      \
    P(open_keystream, keystream_depth, keystream<with_tag_mask | with_zero>(x.open_jobs, x.open_streams))                          \
    P(seal_keystream, keystream_depth, keystream<with_tag_mask>(x.seal_jobs, x.seal_streams))                                      \
    P(open_weights, weights_depth, weights(x.open_exponents, x.open_weights))                                                      \
    P(seal_weights, weights_depth, weights(x.seal_exponents, x.seal_weights))                                                      \
    P(mix, mix_depth,                                                                                                              \
      mix(s.mix, {x.keyed, x.open_streams, x.seal_streams}, {x.mixed, x.open_hashing, x.seal_hashing, x.mirror_jobs}))             \
    P(open_ghash, ghash_depth, ghash(x.open_hashing, x.open_weights, x.open_hashes))                                               \
    P(seal_ghash, ghash_depth, ghash(x.seal_hashing, x.seal_weights, x.seal_hashes))                                               \
    P(mirror_keystream, keystream_depth, keystream<0>(x.mirror_jobs, x.mirror_streams))                                            \
    P(finish, finish_depth,                                                                                                        \
      finish(s.finish,                                                                                                             \
             {x.mixed, x.contexts, x.finish_lines, x.open_hashes, x.seal_hashes, x.mirror_streams, x.finish_write_backs},          \
             {x.out_beats, p.mirror, x.record_events, x.packet_events, x.dones, x.finishes, x.counts}, number))                    \
    P(payload_sum, payload_sum_depth, payload_sum(s.sum, x.out_beats, x.packet_fifo, x.emit_jobs))                                 \
    P(emit, emit_depth, emit(s.emit, x.packet_fifo, x.emit_jobs, x.emitted, p.punt))                                               \
    P(egress, packet_mux_depth, packet_mux(s.egress, x.emitted, p.transmit, p.tx))                                                 \
    P(spill, spill_depth, spill(s.spill, x.tracks, x.finishes, p.state_writes))                                                    \
    P(event_mux, event_mux_depth, event_mux(x.record_events, x.packet_events, x.key_events, p.events))                             \
    P(session_counters, session_counters_depth, session_counters(s.counters, x.counts, p.counter_commands, p.counter_answers))

/* Each process once, one after the other. An element is seen at once by those that come later in the list. */
inline void step_lane(lane_state &s, lane_streams &x, lane_ports &p, uint8_t number)
{
#define CARD_CALL(name, depth, ...) __VA_ARGS__;
    CARD_LANE_PROCESSES(CARD_CALL)
#undef CARD_CALL
}

/* Calls visit(name, depth, process) for each. */
template <typename Visit> void for_each_process(lane_state &s, lane_streams &x, lane_ports &p, uint8_t number, Visit visit)
{
#define CARD_VISIT(name, depth, ...)                                                                                               \
    visit(#name, depth, [&s, &x, &p, number] {                                                                                     \
        (void)number, (void)s, (void)x, (void)p;                                                                                   \
        __VA_ARGS__;                                                                                                               \
    });
    CARD_LANE_PROCESSES(CARD_VISIT)
#undef CARD_VISIT
}

} // namespace card
