/* SPDX-License-Identifier: Apache-2.0 */
#include "trace_frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void trace_random_begin(struct trace_random *r)
{
    const char *given = getenv("SLUICE_SEED");
    r->state = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("SLUICE_SEED=%llu\n", (unsigned long long)r->state);
    fflush(stdout);
}

uint64_t trace_random64(struct trace_random *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint32_t trace_below(struct trace_random *r, uint32_t n)
{
    return n == 0 ? 0 : (uint32_t)((trace_random64(r) >> 32) * n >> 32);
}

uint32_t trace_between(struct trace_random *r, uint32_t least, uint32_t most)
{
    return least + trace_below(r, most - least + 1);
}

bool trace_chance(struct trace_random *r, unsigned out_of_10000)
{
    return out_of_10000 > 0 && trace_below(r, 10000) < out_of_10000;
}

void trace_random_bytes(struct trace_random *r, uint8_t *out, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 8) {
        const uint64_t x = trace_random64(r);
        memcpy(out + i, &x, bytes - i < 8 ? bytes - i : 8);
    }
}

/* Bytes one after the other. */
struct writer {
    uint8_t *out;
    size_t at;
};

static void put8(struct writer *w, unsigned x)
{
    w->out[w->at++] = (uint8_t)x;
}

static void put16(struct writer *w, unsigned x)
{
    put8(w, x >> 8 & 0xff);
    put8(w, x & 0xff);
}

static void put32(struct writer *w, uint32_t x)
{
    put16(w, x >> 16);
    put16(w, x & 0xffff);
}

static void put_bytes(struct writer *w, const void *bytes, size_t count)
{
    if (count > 0)
        memcpy(w->out + w->at, bytes, count);
    w->at += count;
}

static void set16(uint8_t *p, unsigned x)
{
    p[0] = (uint8_t)(x >> 8);
    p[1] = (uint8_t)x;
}

static void put_ethernet(struct writer *w, struct trace_random *filler, const struct trace_packet *p)
{
    uint8_t addresses[12];
    trace_random_bytes(filler, addresses, sizeof addresses);
    addresses[0] &= 0xfe;
    addresses[6] &= 0xfe;
    put_bytes(w, addresses, sizeof addresses);
    for (unsigned i = 0; i < p->vlans; i++) {
        put16(w, trace_below(filler, 2) == 0 ? 0x8100 : 0x88a8);
        put16(w, trace_below(filler, 0x10000));
    }
    put16(w, p->flow.version == 6 ? 0x86dd : 0x0800);
}

/* Returns where the header begins; its length and checksum fields wait for trace_build. */
static size_t put_ipv4(struct writer *w, struct trace_random *filler, const struct trace_packet *p)
{
    const size_t at = w->at;
    put8(w, 0x45u + p->ip_option_words);
    put8(w, trace_below(filler, 256));
    put16(w, 0);
    put16(w, trace_below(filler, 0x10000));
    if (p->fragment)
        put16(w, trace_below(filler, 2) == 0 ? 0x2000 : trace_between(filler, 1, 0x3fff));
    else
        put16(w, trace_below(filler, 4) == 0 ? 0 : 0x4000);
    put8(w, trace_between(filler, 1, 255));
    put8(w, p->flow.proto);
    put16(w, 0);
    put_bytes(w, p->flow.src, 4);
    put_bytes(w, p->flow.dst, 4);
    for (unsigned i = 0; i < p->ip_option_words; i++)
        put32(w, trace_below(filler, 2) == 0 ? 0x01010101 : 0x94040000); /* no operation, router alert */
    return at;
}

/* The kinds of the extension headers of p, in order; returns how many. */
static unsigned extension_kinds(struct trace_random *filler, const struct trace_packet *p, uint8_t kinds[8])
{
    unsigned n = 0;
    for (unsigned i = 0; i < p->extensions; i++)
        kinds[n++] = i == 0 && p->hop ? 0 : trace_below(filler, 2) == 0 ? 43 : 60;
    if (p->fragment)
        kinds[n++] = 44;
    if (p->refused_extension != 0)
        kinds[n++] = p->refused_extension == 1 ? 0 : p->refused_extension; /* 1: a hop-by-hop header in the wrong place */
    return n;
}

static size_t put_ipv6(struct writer *w, struct trace_random *filler, const struct trace_packet *p)
{
    const size_t at = w->at;
    uint8_t kinds[8];
    const unsigned n = extension_kinds(filler, p, kinds);
    put32(w, 0x60000000u | trace_below(filler, 1 << 28));
    put16(w, 0);
    put8(w, n > 0 ? kinds[0] : p->flow.proto);
    put8(w, trace_between(filler, 1, 255));
    put_bytes(w, p->flow.src, 16);
    put_bytes(w, p->flow.dst, 16);
    for (unsigned i = 0; i < n; i++) {
        const unsigned words = kinds[i] == 44 ? 0 : trace_below(filler, 2); /* of eight bytes, beside the first */
        put8(w, i + 1 < n ? kinds[i + 1] : p->flow.proto);
        put8(w, words);
        /* 43: a routing header that has been followed to its end; 0 and 60: PadN that fills the header */
        put16(w, kinds[i] == 44 ? trace_below(filler, 0x10000) : kinds[i] == 43 ? 0 : 0x0104);
        put32(w, 0);
        if (words > 0) {
            put32(w, 0x01060000);
            put32(w, 0);
        }
    }
    return at;
}

static void put_tcp_options(struct writer *w, const struct trace_packet *p)
{
    if (p->timestamps) {
        put32(w, 0x0101080a);
        put32(w, p->tsval);
        put32(w, p->tsecr);
    }
    if (p->sack_blocks > 0) {
        put16(w, 0x0101);
        put8(w, 5);
        put8(w, 2 + 8u * p->sack_blocks);
        for (unsigned i = 0; i < p->sack_blocks; i++) {
            put32(w, p->sack[i].left);
            put32(w, p->sack[i].right);
        }
    }
    if (p->other_option != 0) {
        put8(w, p->other_option);
        put8(w, 4);
        put16(w, 0x0508);
    }
}

static void put_tcp(struct writer *w, struct trace_random *filler, const struct trace_packet *p)
{
    const size_t at = w->at;
    put16(w, p->flow.sport);
    put16(w, p->flow.dport);
    put32(w, p->seq);
    put32(w, p->ack);
    put8(w, 0);
    put8(w, p->tcp_flags);
    put16(w, p->window);
    put16(w, 0);
    put16(w, (p->tcp_flags & 32) != 0 ? trace_between(filler, 1, 100) : 0);
    put_tcp_options(w, p);
    w->out[at + 12] = (uint8_t)((w->at - at) / 4 << 4 | trace_below(filler, 2)); /* a reserved bit is nobody's business */
}

static void set_checksum(uint8_t *frame, const struct model_headers *h, size_t l4_bytes)
{
    const uint16_t sum = model_l4_checksum(frame, h, l4_bytes);
    const bool udp = h->flow.proto == 17;
    set16(frame + h->l4 + (udp ? 6 : 16), udp && sum == 0 ? 0xffff : sum); /* RFC 768: zero means none */
}

void trace_fix_ipv4(uint8_t *header)
{
    set16(header + 10, 0);
    set16(header + 10, (uint16_t)~model_sum(0, header, (size_t)(header[0] & 15) * 4));
}

size_t trace_build(const struct trace_packet *p, uint8_t *out)
{
    struct writer w = {.out = out};
    struct trace_random filler = p->filler;
    put_ethernet(&w, &filler, p);
    const size_t l3 = p->flow.version == 6 ? put_ipv6(&w, &filler, p) : put_ipv4(&w, &filler, p);
    const struct model_headers h = {.flow = p->flow, .l3 = (uint16_t)l3, .l4 = (uint16_t)w.at};
    if (p->flow.proto == 6)
        put_tcp(&w, &filler, p);
    if (p->flow.proto == 17) {
        put16(&w, p->flow.sport);
        put16(&w, p->flow.dport);
        put16(&w, (unsigned)(8 + p->payload_bytes));
        put16(&w, 0);
    }
    put_bytes(&w, p->payload, p->payload_bytes);
    const size_t end = w.at;
    if (p->flow.version == 6) {
        set16(out + l3 + 4, (unsigned)(end - l3 - 40));
    } else {
        set16(out + l3 + 2, (unsigned)(end - l3));
        trace_fix_ipv4(out + l3);
    }
    if (p->flow.proto == 6 || (p->flow.proto == 17 && !(p->no_udp_checksum && p->flow.version == 4)))
        set_checksum(out, &h, end - h.l4);
    trace_random_bytes(&filler, out + end, p->padding);
    return end + p->padding;
}
