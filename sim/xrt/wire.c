// SPDX-License-Identifier: Apache-2.0
#include "wire.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { TAG_LENGTH = 0x09, TAG_NUMBER = 0x15 };

static bool room_for(struct wire *wire, size_t length)
{
    if (length <= wire->room)
        return true;
    uint8_t *bytes = realloc(wire->bytes, length);
    if (!bytes)
        return false;
    wire->bytes = bytes;
    wire->room = length;
    return true;
}

static enum wire_result read_all(int fd, uint8_t *bytes, size_t length)
{
    size_t have = 0;
    while (have < length) {
        ssize_t got = read(fd, bytes + have, length - have);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return WIRE_END;
        if (got < 0 && errno != EINTR)
            return WIRE_BROKEN;
        if (got > 0)
            have += (size_t)got;
    }
    return WIRE_CALL;
}

static bool write_all(int fd, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t put = send(fd, bytes, length, MSG_NOSIGNAL);
        if (put < 0 && errno != EINTR)
            return false;
        if (put > 0) {
            bytes += put;
            length -= (size_t)put;
        }
    }
    return true;
}

enum wire_result wire_parse_header(const uint8_t header[WIRE_CALL_HEADER], uint32_t *number, size_t *length)
{
    uint64_t size;
    if (header[0] != TAG_LENGTH || header[9] != TAG_NUMBER)
        return WIRE_BROKEN;
    memcpy(&size, header + 1, sizeof size);
    memcpy(number, header + 10, sizeof *number);
    size = le64toh(size);
    *number = le32toh(*number);
    if (size > WIRE_MAX_MESSAGE)
        return WIRE_BROKEN;
    *length = (size_t)size;
    return WIRE_CALL;
}

enum wire_result wire_receive(struct wire *wire, uint32_t *number, size_t *length)
{
    uint8_t header[WIRE_CALL_HEADER];
    enum wire_result result = read_all(wire->fd, header, sizeof header);
    if (result != WIRE_CALL)
        return result;
    result = wire_parse_header(header, number, length);
    if (result != WIRE_CALL)
        return result;
    if (!room_for(wire, *length))
        return WIRE_BROKEN;
    return *length > 0 ? read_all(wire->fd, wire->bytes, *length) : WIRE_CALL;
}

bool wire_answer(struct wire *wire, const ProtobufCMessage *message)
{
    size_t length = protobuf_c_message_get_packed_size(message);
    if (!room_for(wire, WIRE_ANSWER_HEADER + length))
        return false;
    uint64_t size = htole64(length);
    wire->bytes[0] = TAG_LENGTH;
    memcpy(wire->bytes + 1, &size, sizeof size);
    protobuf_c_message_pack(message, wire->bytes + WIRE_ANSWER_HEADER);
    return write_all(wire->fd, wire->bytes, WIRE_ANSWER_HEADER + length);
}

bool wire_connect(struct wire *wire, const char *path, unsigned seconds)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    pid_t host = getppid();
    if (strlen(path) >= sizeof address.sun_path)
        return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    for (unsigned tries = 0; tries < seconds * 1000; tries++) {
        wire->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (wire->fd < 0)
            return false;
        if (connect(wire->fd, (const struct sockaddr *)&address, sizeof address) == 0) {
            unlink(path); // the shim takes one connection, and leaves the name behind when the host doesn't close
            return true;
        }
        close(wire->fd);
        wire->fd = -1;
        if (getppid() != host) // it is gone
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return false;
}

void wire_close(struct wire *wire)
{
    if (wire->fd >= 0)
        close(wire->fd);
    free(wire->bytes);
    *wire = (struct wire){.fd = -1};
}
