/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pcap      24 bytes: magic, version, zone, sigfigs, snaplen, link type; then for each frame 16 bytes (seconds, fraction, captured,
 *           wire) and the frame
 * pcapng    blocks: type, length, body, length again. A section header (0x0a0d0d0a) tells the byte order of its section and ends
 * the interfaces of the one before; an interface block (1) tells link type and time resolution; frames are in blocks 6 and 3.
 *           draft-ietf-opsawg-pcapng
 */
#include "card/service/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PCAP_HEADER = 24,
    PCAP_RECORD = 16,
    BLOCK_MIN = 12,
    LINK_ETHERNET = 1,
    INTERFACES_MAX = 64,
    OPTION_END = 0,
    OPTION_RESOLUTION = 9
};

enum {
    MAGIC_MICRO = 0xa1b2c3d4u,
    MAGIC_NANO = 0xa1b23c4du,
    BLOCK_SECTION = 0x0a0d0d0au,
    BLOCK_INTERFACE = 1,
    BLOCK_SIMPLE = 3,
    BLOCK_ENHANCED = 6,
    ORDER_MAGIC = 0x1a2b3c4du
};

#define NS_PER_S UINT64_C(1000000000)

struct interface {
    uint16_t link;
    uint64_t ticks_per_s;
    uint32_t snaplen; /* 0: none */
};

struct sl_capture {
    const uint8_t *bytes;
    size_t count, at;
    bool mapped, swapped, next_generation;
    uint64_t ticks_per_s;                /* pcap */
    struct interface in[INTERFACES_MAX]; /* pcapng, of this section */
    size_t interfaces;
};

static uint32_t get32(const struct sl_capture *c, size_t at)
{
    uint32_t v;
    memcpy(&v, c->bytes + at, sizeof v);
    return c->swapped ? __builtin_bswap32(v) : v;
}

static uint16_t get16(const struct sl_capture *c, size_t at)
{
    uint16_t v;
    memcpy(&v, c->bytes + at, sizeof v);
    return c->swapped ? __builtin_bswap16(v) : v;
}

static size_t left(const struct sl_capture *c)
{
    return c->count - c->at;
}

static uint64_t to_ns(uint64_t ticks, uint64_t ticks_per_s)
{
    uint64_t seconds = ticks / ticks_per_s, rest = ticks % ticks_per_s;
    return seconds > UINT64_MAX / NS_PER_S - 1 ? 0 : seconds * NS_PER_S + (uint64_t)((__uint128_t)rest * NS_PER_S / ticks_per_s);
}

/* ---- pcap ---- */

static sl_err open_pcap(struct sl_capture *c, struct sl_diag *diag)
{
    uint32_t magic = get32(c, 0);
    c->swapped = magic != MAGIC_MICRO && magic != MAGIC_NANO;
    magic = get32(c, 0);
    if ((magic != MAGIC_MICRO && magic != MAGIC_NANO) || left(c) < PCAP_HEADER)
        return sl_fail(diag, SL_ERR_CORRUPT, "neither pcap nor pcapng");
    c->ticks_per_s = magic == MAGIC_NANO ? NS_PER_S : 1000000;
    if ((get32(c, 20) & 0xfffffff) != LINK_ETHERNET)
        return sl_fail(diag, SL_ERR_UNSUPPORTED, "link type %u; only Ethernet (1) is read", get32(c, 20) & 0xfffffff);
    c->at = PCAP_HEADER;
    return SL_OK;
}

static sl_err next_pcap(struct sl_capture *c, struct sl_capture_frame *out, struct sl_diag *diag)
{
    if (left(c) == 0)
        return SL_ERR_NOT_FOUND;
    if (left(c) < PCAP_RECORD)
        return sl_fail(diag, SL_ERR_CORRUPT, "the capture ends within a frame's header");
    uint32_t captured = get32(c, c->at + 8);
    if (captured > SL_CAPTURE_FRAME_MAX || captured > left(c) - PCAP_RECORD)
        return sl_fail(diag, SL_ERR_CORRUPT, "the capture ends within a frame");
    out->bytes = c->bytes + c->at + PCAP_RECORD;
    out->count = captured;
    out->wire = get32(c, c->at + 12);
    out->time_ns = get32(c, c->at) * NS_PER_S + to_ns(get32(c, c->at + 4), c->ticks_per_s);
    c->at += PCAP_RECORD + captured;
    return SL_OK;
}

/* ---- pcapng ---- */

/* The resolution option: 10^-n, or with the top bit 2^-n seconds. */
static uint64_t resolution(uint8_t value)
{
    uint64_t ticks = 1;
    if ((value & 0x80) != 0)
        return (value & 0x7f) < 64 ? UINT64_C(1) << (value & 0x7f) : 0;
    for (unsigned i = 0; i < value && ticks != 0; i++)
        ticks = i < 19 ? ticks * 10 : 0;
    return ticks;
}

static sl_err add_interface(struct sl_capture *c, size_t body, size_t length, struct sl_diag *diag)
{
    if (length < 8 || c->interfaces == INTERFACES_MAX)
        return sl_fail(diag, SL_ERR_CORRUPT, "an interface block that can't be, or more than %d", INTERFACES_MAX);
    struct interface *in = &c->in[c->interfaces++];
    *in = (struct interface){.link = get16(c, body), .ticks_per_s = 1000000, .snaplen = get32(c, body + 4)};
    for (size_t at = 8; at + 4 <= length;) {
        uint16_t code = get16(c, body + at), bytes = get16(c, body + at + 2);
        if (code == OPTION_END || bytes > length - at - 4)
            break;
        if (code == OPTION_RESOLUTION && bytes == 1)
            in->ticks_per_s = resolution(c->bytes[body + at + 4]);
        at += 4 + (((size_t)bytes + 3) & ~(size_t)3);
    }
    return in->ticks_per_s != 0 ? SL_OK : sl_fail(diag, SL_ERR_CORRUPT, "an interface's time resolution can't be");
}

static sl_err take_packet(const struct sl_capture *c, uint32_t type, size_t body, size_t length, struct sl_capture_frame *out,
                          struct sl_diag *diag)
{
    size_t head = type == BLOCK_ENHANCED ? 20 : 4;
    if (length < head)
        return sl_fail(diag, SL_ERR_CORRUPT, "a packet block is too short");
    uint32_t id = type == BLOCK_ENHANCED ? get32(c, body) : 0;
    if (id >= c->interfaces)
        return sl_fail(diag, SL_ERR_CORRUPT, "a packet of an interface that isn't there");
    const struct interface *in = &c->in[id];
    if (in->link != LINK_ETHERNET)
        return sl_fail(diag, SL_ERR_UNSUPPORTED, "link type %u; only Ethernet (1) is read", in->link);
    *out = (struct sl_capture_frame){.bytes = c->bytes + body + head};
    if (type == BLOCK_ENHANCED) {
        out->time_ns = to_ns((uint64_t)get32(c, body + 4) << 32 | get32(c, body + 8), in->ticks_per_s);
        out->count = get32(c, body + 12);
        out->wire = get32(c, body + 16);
    } else {
        out->count = out->wire = get32(c, body);
        if (in->snaplen != 0 && out->count > in->snaplen)
            out->count = in->snaplen;
    }
    if (out->count > length - head || out->count > SL_CAPTURE_FRAME_MAX)
        return sl_fail(diag, SL_ERR_CORRUPT, "a packet is longer than its block");
    return SL_OK;
}

static sl_err next_block(struct sl_capture *c, uint32_t *type, size_t *body, size_t *length, struct sl_diag *diag)
{
    if (left(c) == 0)
        return SL_ERR_NOT_FOUND;
    if (left(c) < BLOCK_MIN)
        return sl_fail(diag, SL_ERR_CORRUPT, "the capture ends within a block");
    *type = get32(c, c->at); /* that of a section header reads the same in either order */
    if (*type == BLOCK_SECTION) {
        c->swapped = false;
        c->swapped = get32(c, c->at + 8) != ORDER_MAGIC;
        if (get32(c, c->at + 8) != ORDER_MAGIC)
            return sl_fail(diag, SL_ERR_CORRUPT, "neither pcap nor pcapng");
        c->interfaces = 0;
    }
    uint32_t total = get32(c, c->at + 4);
    if (total < BLOCK_MIN || total % 4 != 0 || total > left(c))
        return sl_fail(diag, SL_ERR_CORRUPT, "the capture ends within a block");
    *body = c->at + 8;
    *length = total - BLOCK_MIN;
    c->at += total;
    return SL_OK;
}

static sl_err next_pcapng(struct sl_capture *c, struct sl_capture_frame *out, struct sl_diag *diag)
{
    for (;;) {
        uint32_t type = 0;
        size_t body = 0, length = 0;
        sl_err err = next_block(c, &type, &body, &length, diag);
        if (!err && type == BLOCK_INTERFACE)
            err = add_interface(c, body, length, diag);
        if (!err && (type == BLOCK_ENHANCED || type == BLOCK_SIMPLE))
            return take_packet(c, type, body, length, out, diag);
        if (err)
            return err;
    }
}

/* ---- reading ---- */

sl_err sl_capture_open_bytes(const uint8_t *bytes, size_t count, struct sl_capture **out, struct sl_diag *diag)
{
    struct sl_capture *c = calloc(1, sizeof *c);
    sl_err err = SL_OK;

    if (c == NULL)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    c->bytes = bytes;
    c->count = count;
    if (count < PCAP_HEADER)
        err = sl_fail(diag, SL_ERR_CORRUPT, "neither pcap nor pcapng");
    else if (get32(c, 0) == BLOCK_SECTION)
        c->next_generation = true;
    else
        err = open_pcap(c, diag);
    if (err)
        free(c);
    else
        *out = c;
    return err;
}

sl_err sl_capture_open(const char *path, struct sl_capture **out, struct sl_diag *diag)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    void *bytes = MAP_FAILED;

    if (fd < 0 || fstat(fd, &status) != 0) {
        sl_err err = sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return err;
    }
    size_t count = (size_t)status.st_size;
    if (!S_ISREG(status.st_mode) || count < PCAP_HEADER || status.st_size > INT64_C(1) << 32) {
        close(fd);
        return sl_fail(diag, count > PCAP_HEADER ? SL_ERR_LIMIT : SL_ERR_CORRUPT, "%s: not a capture of at most 4 GiB", path);
    }
    bytes = mmap(NULL, count, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        return sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno));
    sl_err err = sl_capture_open_bytes(bytes, count, out, diag);
    if (err) {
        munmap(bytes, count);
        return sl_fail_prefix(diag, err, "%s", path);
    }
    (*out)->mapped = true;
    return SL_OK;
}

sl_err sl_capture_next(struct sl_capture *capture, struct sl_capture_frame *out, struct sl_diag *diag)
{
    return capture->next_generation ? next_pcapng(capture, out, diag) : next_pcap(capture, out, diag);
}

void sl_capture_close(struct sl_capture *capture)
{
    if (capture == NULL)
        return;
    if (capture->mapped)
        munmap((void *)(uintptr_t)capture->bytes, capture->count);
    free(capture);
}

/* ---- writing ---- */

struct sl_capture_writer {
    FILE *file;
};

sl_err sl_capture_create(const char *path, struct sl_capture_writer **out, struct sl_diag *diag)
{
    const uint32_t header[6] = {MAGIC_NANO, 2 | 4 << 16, 0, 0, SL_CAPTURE_FRAME_MAX, LINK_ETHERNET};
    struct sl_capture_writer *writer = malloc(sizeof *writer);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (writer == NULL || fd < 0 || (writer->file = fdopen(fd, "wb")) == NULL) {
        sl_err err = sl_fail(diag, writer == NULL ? SL_ERR_NOMEM : SL_ERR_IO, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        free(writer);
        return err;
    }
    fwrite(header, sizeof header, 1, writer->file); /* errors stay with the file */
    *out = writer;
    return SL_OK;
}

void sl_capture_write(struct sl_capture_writer *writer, uint64_t time_ns, const uint8_t *bytes, uint32_t count)
{
    const uint32_t header[4] = {(uint32_t)(time_ns / NS_PER_S), (uint32_t)(time_ns % NS_PER_S), count, count};
    fwrite(header, sizeof header, 1, writer->file);
    fwrite(bytes, 1, count, writer->file);
}

sl_err sl_capture_finish(struct sl_capture_writer *writer)
{
    if (writer == NULL)
        return SL_OK;
    bool failed = ferror(writer->file) != 0;
    failed = fclose(writer->file) != 0 || failed;
    free(writer);
    return failed ? SL_ERR_IO : SL_OK;
}
