/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the generator, and for tests: random numbers, and frames made from what they are to contain. */
#pragma once

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* SplitMix64: small, and good enough to choose tests with. */
struct trace_random {
    uint64_t state;
};
/* From the environment's SLUICE_SEED, which repeats a run; without it, another one each time. Printed. */
void trace_random_begin(struct trace_random *r);
uint64_t trace_random64(struct trace_random *r);
uint32_t trace_below(struct trace_random *r, uint32_t n);                      /* 0 .. n - 1; 0 if n is 0 */
uint32_t trace_between(struct trace_random *r, uint32_t least, uint32_t most); /* both included */
bool trace_chance(struct trace_random *r, unsigned out_of_10000);
void trace_random_bytes(struct trace_random *r, uint8_t *out, size_t bytes);

struct trace_sack {
    uint32_t left, right;
};

/* A frame. What is zero is not there. */
struct trace_packet {
    struct model_flow flow;  /* proto: any */
    uint8_t vlans;           /* 0..3; three are too many */
    uint8_t ip_option_words; /* IPv4: 0..10 */
    uint8_t extensions;      /* IPv6: 0..5, the first hop-by-hop if `hop`; five are too many */
    bool hop;
    uint8_t refused_extension; /* IPv6: a header of this kind comes last */
    bool fragment;             /* IPv4: an offset or more fragments; IPv6: a fragment header */
    uint32_t seq, ack;
    uint8_t tcp_flags;
    uint16_t window;
    bool timestamps;
    uint32_t tsval, tsecr;
    uint8_t sack_blocks; /* 0..4, with timestamps 0..3 */
    struct trace_sack sack[4];
    uint8_t other_option; /* a kind that nobody knows, 4 bytes; 0: none */
    const uint8_t *payload;
    size_t payload_bytes;
    uint8_t padding;            /* bytes behind the IP datagram */
    bool no_udp_checksum;       /* IPv4 */
    struct trace_random filler; /* for fields without meaning */
};

enum { trace_frame_room = 3 * model_frame_max };

/* The frame's bytes; out has trace_frame_room. All lengths and checksums are right. */
size_t trace_build(const struct trace_packet *p, uint8_t *out);
/* Makes the checksum of an IPv4 header right again. */
void trace_fix_ipv4(uint8_t *header);

#ifdef __cplusplus
}
#endif
