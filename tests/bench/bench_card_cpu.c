/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cpu engine on one core: packets forwarded and transcoded at three frame lengths, lookups among a million flows against
 * DPDK's rte_hash, memory of a session.
 *
 * Time is that of the thread, so that other load on the machine costs caches only; the best of several rounds is reported. The
 * traffic is TLS 1.3, AES-128-GCM, records of 16 KiB, of SESSIONS sessions in turns, IPv4 without options, and everything that the
 * engine makes of it is fetched.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "card/engine.h"
#include "card/flow_table.h"
#include "card/numbers.h"
#include "card/sum.h"
#include "record/gcm.h"
#ifdef WITH_RTE_HASH
#include "peer_rte_hash.h"
#endif

enum {
    ROUNDS = 9,
    BURST = 32,
    SESSIONS = 64,
    HEADERS = 14 + 20 + 20,
    CONTENT = 16384,
    RECORD = 5 + CONTENT + 1 + 16,
    STREAM_RECORDS = 2,
    STREAM = STREAM_RECORDS * RECORD,
    FLOWS = 1 << 20,
    ASKED = 1 << 20,
    CHUNK = 2048, /* keys that are asked for in one piece */
    PEER_KEY_MAX = 48,
    MEASURED_SESSIONS = 1 << 16
};

static void need(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench_card_cpu: %s failed\n", what);
        exit(1);
    }
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t random_state = 1;

static uint64_t random64(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void tell(const char *name, double value, const char *unit, double peer)
{
    printf("{\"name\": \"%s\", \"value\": %.4g, \"unit\": \"%s\", ", name, value, unit);
    if (peer > 0)
        printf("\"peer\": %.4g, \"ratio\": %.3g}\n", peer, value / peer);
    else
        printf("\"peer\": null, \"ratio\": null}\n");
    fflush(stdout);
}

/* ---- packets ---- */

static uint8_t open_key[16] = {1}, seal_key[16] = {2};

/* What a sender sealed under open_key. */
static void make_stream(uint8_t *stream)
{
    static uint8_t inner[CONTENT + 1];
    struct sl_gcm_key *key;
    for (size_t i = 0; i < CONTENT; i++)
        inner[i] = (uint8_t)random64();
    inner[CONTENT] = 23;
    need(sl_gcm_key_new(sl_gcm_engine_default(), open_key, sizeof(open_key), &key) == SL_OK, "key");
    for (uint8_t seq = 0; seq < STREAM_RECORDS; seq++, stream += RECORD) {
        uint8_t iv[12] = {0};
        memcpy(stream, "\x17\x03\x03", 3);
        stream[3] = (uint8_t)((RECORD - 5) >> 8);
        stream[4] = (uint8_t)(RECORD - 5);
        iv[11] = seq;
        need(sl_gcm_seal(key, iv, stream, 5, inner, stream + 5, CONTENT + 1, stream + 5 + CONTENT + 1) == SL_OK, "seal");
    }
    sl_gcm_key_free(key);
}

static void put16(uint8_t *p, unsigned x)
{
    p[0] = (uint8_t)(x >> 8);
    p[1] = (uint8_t)x;
}

static void make_frame(uint8_t *f, uint32_t session, uint32_t seq, const uint8_t *payload, size_t bytes)
{
    const size_t l4 = 20 + bytes;
    memset(f, 0, HEADERS);
    put16(f + 12, 0x0800);
    uint8_t *ip = f + 14, *tcp = ip + 20;
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)(20 + l4));
    ip[8] = 64;
    ip[9] = 6;
    ip[12] = 10;
    put16(ip + 14, session >> 16);
    ip[16] = 11;
    put16(ip + 18, session & 0xffff);
    put16(ip + 10, (uint16_t)~sl_cpu_sum_fold(sl_cpu_sum(ip, 20)));
    put16(tcp, 40000);
    put16(tcp + 2, 443);
    put16(tcp + 4, seq >> 16);
    put16(tcp + 6, seq & 0xffff);
    tcp[12] = 0x50;
    tcp[13] = SL_TCP_ACK;
    put16(tcp + 14, 1000);
    memcpy(tcp + 20, payload, bytes);
    put16(tcp + 16, (uint16_t)~sl_cpu_sum_fold(sl_cpu_sum(ip + 12, 8) + 6 + (uint32_t)l4 + sl_cpu_sum(tcp, l4)));
}

static void command(struct sl_engine *e, const struct sl_engine_command *c)
{
    struct sl_engine_completion done;
    need(sl_engine_submit(e, c) == SL_OK && sl_engine_completions(e, &done, 1) == 1 && done.status == SL_OK, "command");
}

static void install(struct sl_engine *e, uint32_t session, unsigned action)
{
    struct sl_engine_command c = {.op = SL_ENGINE_INSTALL, .flow = session + 1, .action = (uint8_t)action};
    c.key = (struct sl_engine_flow_key){.src = {10, 0, (uint8_t)(session >> 24), (uint8_t)(session >> 16)},
                                        .dst = {11, 0, (uint8_t)(session >> 8), (uint8_t)session},
                                        .sport = 40000,
                                        .dport = 443,
                                        .proto = 6,
                                        .version = 4};
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        memcpy(c.state[i].keys.set[0].open_key, open_key, sizeof(open_key));
        memcpy(c.state[i].keys.set[0].seal_key, seal_key, sizeof(seal_key));
        c.state[i].track.flags = track_tls13;
        c.state[i].track.seq_delta = 12345;
        c.state[i].track.ack_delta = 54321;
    }
    command(e, &c);
}

static void remove_session(struct sl_engine *e, uint32_t session)
{
    const struct sl_engine_command c = {.op = SL_ENGINE_REMOVE, .flow = session + 1};
    command(e, &c);
}

static size_t exchange(struct sl_engine *e, const struct sl_engine_frame *frames, size_t count)
{
    struct sl_engine_result out[BURST];
    size_t sent = 0;
    for (size_t at = 0; at < count;) {
        at += sl_engine_send(e, frames + at, count - at < BURST ? count - at : BURST);
        const size_t n = sl_engine_receive(e, out, BURST);
        for (size_t i = 0; i < n; i++)
            sent += out[i].kind == SL_FRAME_TX;
    }
    return sent;
}

static void measure_packets(const char *what, unsigned action, size_t frame_bytes, const uint8_t *stream)
{
    const size_t payload = frame_bytes - HEADERS, each = STREAM / payload, count = each * SESSIONS;
    const size_t room = (frame_bytes + 63) / 64 * 64;
    const struct sl_engine_options options = {.sessions = SESSIONS};
    struct sl_engine_frame *frames = calloc(count, sizeof(*frames));
    uint8_t *bytes = aligned_alloc(64, count * room);
    struct sl_engine *e;
    need(frames != NULL && bytes != NULL && sl_engine_open_cpu(&options, &e, NULL) == SL_OK, "memory");
    for (size_t i = 0; i < count; i++) {
        const size_t at = i / SESSIONS * payload;
        make_frame(bytes + i * room, (uint32_t)(i % SESSIONS), (uint32_t)at, stream + at, payload);
        frames[i] = (struct sl_engine_frame){.bytes = bytes + i * room, .count = (uint32_t)frame_bytes};
    }
    double best = 1e9;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (uint32_t s = 0; s < SESSIONS; s++)
            install(e, s, action);
        const double begin = now_s();
        const size_t sent = exchange(e, frames, count);
        const double took = now_s() - begin;
        best = took < best ? took : best;
        need(sent == count, "a frame");
        for (uint32_t s = 0; s < SESSIONS; s++)
            remove_session(e, s);
    }
    char name[64];
    snprintf(name, sizeof(name), "cpu.%s.mpps.%zu", what, frame_bytes);
    tell(name, (double)count / best * 1e-6, "Mpps", 0);
    snprintf(name, sizeof(name), "cpu.%s.gbps.%zu", what, frame_bytes);
    tell(name, (double)count * (double)frame_bytes * 8 / best * 1e-9, "Gbit/s", 0);
    sl_engine_close(e);
    free(frames);
    free(bytes);
}

/* ---- lookups ---- */

/* Keys that are asked for, as a parser has left them: in the cache, while the table is not. A peer's keys are as long as ours with
 * padding (48: rte_hash compares these faster than 40), or those of IPv4 alone. */
struct questions {
    struct sl_flow_key ours[CHUNK];
    uint8_t peers[CHUNK][PEER_KEY_MAX];
};

static void peer_key(uint8_t *to, const struct sl_flow_key *key, size_t key_bytes)
{
    if (key_bytes >= sizeof(*key)) {
        memset(to, 0, key_bytes);
        memcpy(to, key, sizeof(*key));
    } else { /* addresses; ports, protocol */
        memcpy(to, &key->word[0], 4);
        memcpy(to + 4, &key->word[2], 4);
        memcpy(to + 8, &key->word[4], 8);
    }
}

static double ask(const struct sl_flow_table *t, const struct questions *q)
{
    struct sl_flow_entry *found[SL_FLOW_BURST];
    uint32_t none = 0;
    const double begin = now_s();
    for (size_t i = 0; i < CHUNK; i += SL_FLOW_BURST) {
        sl_flow_table_find(t, q->ours + i, SL_FLOW_BURST, found);
        for (size_t k = 0; k < SL_FLOW_BURST; k++)
            none += found[k] == NULL;
    }
    const double took = now_s() - begin;
    need(none == 0, "a lookup");
    return took;
}

static bool has_peer;

static bool start_peer(void)
{
#ifdef WITH_RTE_HASH
    return peer_init();
#else
    return false;
#endif
}

/* 0: there is none. */
static double ask_peer(const struct questions *q)
{
#ifdef WITH_RTE_HASH
    static uint64_t sum;
    if (!has_peer)
        return 0;
    unsigned found = 0;
    const double begin = now_s();
    for (size_t i = 0; i < CHUNK; i += PEER_BURST) {
        const void *keys[PEER_BURST];
        for (size_t k = 0; k < PEER_BURST; k++)
            keys[k] = q->peers[i + k];
        found += peer_find(keys, &sum);
    }
    const double took = now_s() - begin;
    need(found == CHUNK, "a lookup of the peer");
    return took;
#else
    (void)q;
    return 0;
#endif
}

static void fill_peer(const struct sl_flow_key *keys, size_t key_bytes)
{
#ifdef WITH_RTE_HASH
    if (!has_peer)
        return;
    uint8_t *all = calloc(FLOWS, key_bytes);
    need(all != NULL, "memory");
    for (size_t i = 0; i < FLOWS; i++)
        peer_key(all + i * key_bytes, &keys[i], key_bytes);
    need(peer_fill(all, FLOWS, key_bytes), "a key of the peer");
    free(all);
#else
    (void)keys;
    (void)key_bytes;
#endif
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* In turns with the peer, so that both see the same machine; the median of the rounds. */
static void measure_lookups(size_t peer_key_bytes, const char *name)
{
    static struct questions q;
    double ours[ROUNDS] = {0}, peers[ROUNDS] = {0};
    struct sl_flow_table *t;
    struct sl_flow_key *keys = calloc(FLOWS, sizeof(*keys));
    need(keys != NULL && sl_flow_table_new(FLOWS, &t) == SL_OK, "memory");
    for (size_t i = 0; i < FLOWS; i++) {
        struct sl_flow_entry *entry;
        keys[i].word[0] = random64() & 0xffffffff;
        keys[i].word[2] = random64() & 0xffffffff;
        keys[i].word[4] = sl_flow_key_tail((unsigned)(random64() & 0xffff), 443, 6, 4);
        need(sl_flow_table_add(t, &keys[i], &entry) == SL_OK, "a flow");
    }
    fill_peer(keys, peer_key_bytes);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (size_t asked = 0; asked < ASKED; asked += CHUNK) {
            for (size_t i = 0; i < CHUNK; i++) {
                const struct sl_flow_key *key = &keys[random64() % FLOWS];
                q.ours[i] = *key;
                peer_key(q.peers[i], key, peer_key_bytes);
            }
            ours[round] += ask(t, &q);
            peers[round] += ask_peer(&q);
        }
    }
    qsort(ours, ROUNDS, sizeof(ours[0]), by_value);
    qsort(peers, ROUNDS, sizeof(peers[0]), by_value);
    tell(name, ASKED / ours[ROUNDS / 2], "1/s", peers[ROUNDS / 2] > 0 ? ASKED / peers[ROUNDS / 2] : 0);
#ifdef WITH_RTE_HASH
    if (has_peer)
        peer_empty();
#endif
    sl_flow_table_free(t);
    free(keys);
}

/* ---- memory ---- */

static size_t resident_bytes(void)
{
    size_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    need(f != NULL && fscanf(f, "%*s %zu", &pages) == 1, "statm");
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* All room is used, and every session has its keys in use. */
static void measure_memory(const uint8_t *stream)
{
    const struct sl_engine_options options = {.sessions = MEASURED_SESSIONS};
    struct sl_engine *e;
    uint8_t f[HEADERS + 64];
    size_t before = resident_bytes();
    need(sl_engine_open_cpu(&options, &e, NULL) == SL_OK, "open");
    make_frame(f, 0, 0, stream, 64);
    for (uint32_t s = 0; s < MEASURED_SESSIONS; s++) {
        install(e, s, SL_CARD_SESSION_TRANSCODE);
        for (uint8_t lane = 0; lane < SL_ENGINE_LANES; lane++) {
            make_frame(f, s, 0, stream, 64);
            if (lane == 1) { /* the flow seen from the other side: the sum stays */
                uint8_t swapped[8];
                memcpy(swapped, f + 14 + 16, 4);
                memcpy(swapped + 4, f + 14 + 12, 4);
                memcpy(f + 14 + 12, swapped, 8);
                memcpy(swapped, f + 14 + 22, 2);
                memcpy(swapped + 2, f + 14 + 20, 2);
                memcpy(f + 14 + 20, swapped, 4);
            }
            const struct sl_engine_frame frame = {.bytes = f, .count = sizeof(f), .lane = lane};
            need(exchange(e, &frame, 1) == 1, "a frame");
        }
    }
    tell("session.bytes.host", (double)(resident_bytes() - before) / MEASURED_SESSIONS, "bytes", 0);
    sl_engine_close(e);
}

int main(void)
{
    static uint8_t stream[STREAM];
    static const size_t frame_bytes[] = {64, 512, 1500};
    make_stream(stream);
    measure_memory(stream);
    for (unsigned i = 0; i < 3; i++)
        measure_packets("forward", SL_CARD_SESSION_FORWARD, frame_bytes[i], stream);
    for (unsigned i = 0; i < 3; i++)
        measure_packets("transcode", SL_CARD_SESSION_TRANSCODE, frame_bytes[i], stream);
    has_peer = start_peer();
    if (!has_peer)
        fputs("bench_card_cpu: lookups have no peer: DPDK was not there when this was built, or does not start\n", stderr);
    measure_lookups(48, "cpu.lookup_per_s.1m");
    measure_lookups(16, "cpu.lookup_per_s.1m_ipv4_peer");
    return 0;
}
