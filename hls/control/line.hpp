/* SPDX-License-Identifier: Apache-2.0 */
/* 64 bytes, as they cross a 512-bit port: of a ring in host memory, between control and the lanes, and to the sessions' memory. */
#pragma once

#include <stdint.h>

#include "common/bytes.hpp"
#include "common/limits.hpp"

namespace card
{

struct control_line {
    uint8_t byte[beat_bytes];
};

/* control -> a lane's session memory: replaces bytes [offset, offset + bytes) of a session; they lie in one line of 64 bytes, and
 * are the first ones of `byte`. Answered with the index when it is done, in order. */
struct session_write {
    uint32_t index;
    uint16_t offset;
    uint8_t bytes;
    uint8_t byte[beat_bytes];
};

} // namespace card
