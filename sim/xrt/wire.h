// SPDX-License-Identifier: Apache-2.0
/*
 * Framing between XRT's emulation shim (server, in the host's process) and the device process (client):
 *
 *   call     09 | length, 8 bytes | 15 | call number, 4 bytes | message     14 bytes of header, little endian
 *   answer   09 | length, 8 bytes | message                                  9 bytes of header
 *
 * The headers are protobuf messages too; with fixed-width fields their length never varies, and the shim relies on it.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WIRE_CALL_HEADER = 14,
    WIRE_ANSWER_HEADER = 9,
    WIRE_MAX_MESSAGE = 256 << 20, // the shim sends large copies in pieces
};

struct wire {
    int fd;
    uint8_t *bytes; // the last message received, then the answer
    size_t room;
};

enum wire_result { WIRE_CALL, WIRE_END, WIRE_BROKEN };

/* Reads a header. WIRE_END: the host closed the connection; WIRE_BROKEN: an error, or bytes that are no header. */
enum wire_result wire_parse_header(const uint8_t header[WIRE_CALL_HEADER], uint32_t *number, size_t *length);

/* Waits for the next call; its message is wire->bytes[0..*length), valid until the next use of the wire. */
enum wire_result wire_receive(struct wire *wire, uint32_t *number, size_t *length);

bool wire_answer(struct wire *wire, const ProtobufCMessage *message);

/* Connects to the shim's socket: it binds after it has started this process, so this tries until it is there or seconds are over.
 */
bool wire_connect(struct wire *wire, const char *path, unsigned seconds);
void wire_close(struct wire *wire);
