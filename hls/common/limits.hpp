/* SPDX-License-Identifier: Apache-2.0 */
/* The sizes that the kernels agree on. Protocol numbers: RFC 9293 (TCP), RFC 8446 and RFC 5246/5288 (TLS record layer). */
#pragma once

#include <stdint.h>

namespace card
{

enum : unsigned {
    beat_bytes = 64,
    frame_bytes_max = 9216, /* longer frames are punted; a multiple of the beat */
    frame_beats_max = frame_bytes_max / beat_bytes,
    frame_bytes_min = 14,

    sessions_max = 1u << 17, /* a lane; index of a session: 17 bits */
    slots = 1024,            /* sessions with packets in flight between fetch and finish, a lane */
    rules_max = 256,

    block_bytes = 16,
    cells_max = 5, /* cipher blocks that the bytes of one piece can touch */

    tls_header_bytes = 5,
    tls_tag_bytes = 16,
    tls12_nonce_bytes = 8,
    tls12_overhead = tls12_nonce_bytes + tls_tag_bytes,
    tls13_overhead = 1 + tls_tag_bytes,
    tls_plaintext_max = 1u << 14,
    tls12_fragment_max = tls_plaintext_max + tls12_overhead,
    tls13_fragment_max = tls_plaintext_max + tls13_overhead, /* the inner plaintext: 2^14 + type, RFC 8446 section 5.4 */
    ahead_record_min = 256, /* data ahead of a hole is taken inside fragments of at least this length */

    /* RFC 8446 section 5.5: floor(2^24.5) records under one key; a packet can begin at most this many. */
    seal_limit_default = 23726566,
    seal_reserve = 512
};

static_assert(frame_bytes_max % beat_bytes == 0, "a frame is whole beats");
static_assert(seal_reserve > frame_bytes_max / (tls_header_bytes + tls13_overhead), "no packet goes over the limit");
static_assert((slots & (slots - 1)) == 0, "slot numbers are bits");

} // namespace card
