// SPDX-License-Identifier: Apache-2.0
#include "repair.h"

#include <stdbool.h>
#include <string.h>

enum { TEST_AND_JUMP = 4, JUMP_END = 5, LOAD = 7, STORE = 7 };

static const uint8_t test_jne[] = {0x48, 0x85, 0xc0, 0x75};
static const uint8_t load_buffer[] = {0x48, 0x8b, 0xbb};
static const uint8_t store_buffer[] = {0x48, 0x89, 0x83};
static const uint8_t move_length[] = {0x48, 0x89, 0xe8};

static bool is(const uint8_t *code, size_t length, size_t at, const uint8_t *bytes, size_t count)
{
    return at <= length && count <= length - at && memcmp(code + at, bytes, count) == 0;
}

/* The store to the same field that the load at "load" reads, followed by the move. */
static bool is_target(const uint8_t *code, size_t length, size_t at, size_t load)
{
    return is(code, length, at, store_buffer, sizeof store_buffer) && is(code, length, at + 3, code + load + 3, 4) &&
           is(code, length, at + STORE, move_length, sizeof move_length);
}

enum repair_state repair_find(const uint8_t *code, size_t length, size_t *at)
{
    for (size_t i = 0; i + JUMP_END + LOAD <= length; i++) {
        size_t load = i + JUMP_END;
        if (!is(code, length, i, test_jne, sizeof test_jne) || !is(code, length, load, load_buffer, sizeof load_buffer))
            continue;
        int8_t distance = (int8_t)code[i + TEST_AND_JUMP];
        if (distance >= 0 || (size_t)-distance > load)
            continue;
        size_t target = load - (size_t)-distance;
        if (is_target(code, length, target, load))
            return REPAIR_NOT_NEEDED;
        if (target < STORE || distance < INT8_MIN + STORE || !is_target(code, length, target - STORE, load))
            continue;
        *at = i + TEST_AND_JUMP;
        return REPAIR_NEEDED;
    }
    return REPAIR_UNKNOWN;
}
