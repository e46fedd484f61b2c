/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_counters: packets, bytes and the time of the last packet of every session, for events and for ageing; and of the lane as
 * a whole, by what became of them, all packets there were. One packet a cycle, any order of sessions.
 */
#pragma once

#include <hls_stream.h>

#include "common/limits.hpp"

namespace card
{

/* Cycles from a command to its answer: 4 UltraRAM + 1 forward and add. */
constexpr unsigned session_counters_depth = 5;

/* What became of a packet. */
enum counter_fate : uint8_t { counter_sent = 0, counter_punted = 1, counter_dropped = 2, counter_fates = 3 };

/* One for every packet of the lane, when its fate is known. */
struct counter_packet {
    uint32_t session; /* valid if of_session */
    uint16_t bytes;   /* of the frame */
    counter_fate fate;
    bool of_session; /* counts as the session's, too */
};

/* Totals are asked for as what would be sessions behind the last one, in the order of counter_fate. */
enum : uint32_t { counter_totals_at = sessions_max, counter_totals_end = counter_totals_at + counter_fates };

enum counter_op : uint8_t {
    counter_read = 0,
    counter_clear = 1, /* answers with the last values, then all zero; also for a new session */
};

struct counter_command {
    counter_op op;
    uint32_t session; /* or from counter_totals_at on */
    uint32_t tag;     /* comes back in the answer */
};

struct counter_value {
    uint64_t bytes;
    uint64_t packets; /* of a session modulo 2^40: two hours of smallest frames at 100 Gb/s; who reads adds up differences */
    uint32_t tick;    /* of the last packet, modulo 2^24; without meaning while packets is 0. Of a total: 0 */
};

struct counter_answer {
    uint32_t tag;
    bool ok; /* false: no such session, total or operation */
    counter_value value;
    uint32_t now; /* ticks */
};

enum : unsigned {
    counter_tick_shift = 24, /* cycles of a tick: 56 ms at 300 MHz; 24 bits of ticks wrap after 10.9 days */
    counter_tick_bits = 24,
    counter_packet_bits = 40,
    counter_write_delay = 4,  /* cycles from the sum to the memory */
    counter_read_latency = 4, /* of the memory: reads that begin so soon after a write do not see it */
    counter_forward = counter_write_delay + counter_read_latency, /* packets that a packet is compared with */
    counter_command_wait = 64                                     /* packets that may go before a waiting command */
};

/* In memory: two columns of UltraRAM, 64 bits and ECC each. */
struct counter_word {
    uint64_t bytes;
    uint64_t packets_tick; /* 63..24 packets | 23..0 tick */
};

struct counter_flight {
    bool valid;
    uint32_t session;
    counter_word sum;
};

struct counter_total {
    uint64_t bytes, packets;
};

struct session_counters_state {
    counter_word memory[sessions_max];
    counter_total total[counter_fates];     /* registers: read and written in one stage, so nothing of them is in flight */
    counter_flight flight[counter_forward]; /* [0] the newest; written to memory at counter_write_delay */
    uint64_t cycle;
    uint32_t waited; /* packets that went before the waiting command */
    uint32_t quiet;  /* calls until the next command may be taken: ack_stall */
};

void session_counters(session_counters_state &s, hls::stream<counter_packet> &packets, hls::stream<counter_command> &commands,
                      hls::stream<counter_answer> &answers);

} // namespace card
