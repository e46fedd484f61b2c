/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernels are worth, by the cycle harness: cycles a beat of every process, latency, lookups a cycle; and how fast they run
 * natively. Cycle counts come from the processes' stated depths and from one element a stream and call; what a board makes of it,
 * only a board can say (docs/hardware.md).
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lane_bench.hpp"
#include "session_table_measure.hpp"

namespace
{

using bench::bytes;

[[noreturn]] void fail(const char *what)
{
    fprintf(stderr, "bench_hls: %s\n", what);
    exit(1);
}

void report(const char *name, double value, const char *unit)
{
    printf("{\"name\": \"%s\", \"value\": %.4g, \"unit\": \"%s\", \"peer\": null, \"ratio\": null}\n", name, value, unit);
    fflush(stdout);
}

/* ---- genuine traffic: TLS 1.3 records of AES-128-GCM in TCP over IPv4 ---- */

class sender
{
  public:
    sender(uint32_t index, unsigned record_bytes, unsigned segment_bytes)
        : m_index(index), m_record(record_bytes), m_segment(segment_bytes), m_random(index + 1), m_aes(EVP_CIPHER_CTX_new())
    {
        m_random.fill(&m_keys, sizeof m_keys);
        m_keys.long_keys = 0;
        memset(m_keys.open_key + 16, 0, 16);
        memset(m_keys.seal_key + 16, 0, 16);
        hash_key(m_keys.open_key, m_keys.open_h);
        hash_key(m_keys.seal_key, m_keys.seal_h);
        m_start = m_seq = static_cast<uint32_t>(m_random.bits());
    }
    ~sender()
    {
        EVP_CIPHER_CTX_free(m_aes);
    }
    sender(const sender &) = delete;
    sender &operator=(const sender &) = delete;

    sl_card_flow_key key() const
    {
        sl_card_flow_key k = {};
        const uint32_t src = 0x0a000000 + m_index;
        card::store_be<4>(k.src, src);
        card::store_be<4>(k.dst, 0xc0a80001);
        k.sport = 40000;
        k.dport = 443;
        k.proto = 6;
        k.version = 4;
        return k;
    }
    card::session_state state() const
    {
        card::session_state s = {};
        s.keys.set[0] = m_keys;
        s.track.next = s.track.record_start = m_start;
        s.track.flags = card::track_tls13 | card::track_mirror;
        s.track.seq_delta = 1000;
        s.track.ack_delta = 2000;
        return s;
    }
    /* The next segment of the stream. */
    bytes frame()
    {
        while (m_stream.size() < m_segment)
            seal();
        bytes f(54 + m_segment);
        const sl_card_flow_key k = key();
        f[12] = 0x08;
        f[14] = 0x45;
        card::store_be<2>(&f[16], f.size() - 14);
        f[22] = 64;
        f[23] = 6;
        memcpy(&f[26], k.src, 4);
        memcpy(&f[30], k.dst, 4);
        card::store_be<2>(&f[24], sum(&f[14], 20, 0));
        card::store_be<2>(&f[34], k.sport);
        card::store_be<2>(&f[36], k.dport);
        card::store_be<4>(&f[38], m_seq);
        f[46] = 0x50;
        f[47] = 0x10;
        card::store_be<2>(&f[48], 1000);
        std::copy(m_stream.begin(), m_stream.begin() + m_segment, f.begin() + 54);
        m_stream.erase(m_stream.begin(), m_stream.begin() + m_segment);
        m_seq += m_segment;
        const uint32_t pseudo = 6 + static_cast<uint32_t>(f.size() - 34) + words(&f[26], 8);
        card::store_be<2>(&f[50], sum(&f[34], f.size() - 34, pseudo));
        return f;
    }

  private:
    static uint32_t words(const uint8_t *p, size_t n)
    {
        uint32_t s = 0;
        for (size_t i = 0; i < n; i += 2)
            s += static_cast<uint32_t>(p[i] << 8 | (i + 1 < n ? p[i + 1] : 0));
        return s;
    }
    static uint16_t sum(const uint8_t *p, size_t n, uint32_t s)
    {
        s += words(p, n);
        while (s >> 16 != 0)
            s = (s & 0xffff) + (s >> 16);
        return static_cast<uint16_t>(~s);
    }
    void hash_key(const uint8_t *key, uint8_t *h)
    {
        const uint8_t zero[16] = {};
        int n;
        if (EVP_EncryptInit_ex(m_aes, EVP_aes_128_ecb(), nullptr, key, nullptr) != 1 ||
            EVP_EncryptUpdate(m_aes, h, &n, zero, 16) != 1)
            fail("AES");
    }
    void seal()
    {
        bytes text(m_record + 1), record(5 + text.size() + 16);
        uint8_t nonce[12];
        int n;
        m_random.fill(text.data(), m_record);
        text[m_record] = 23;
        memcpy(nonce, m_keys.open_iv, 12);
        for (unsigned i = 0; i < 8; i++)
            nonce[11 - i] = static_cast<uint8_t>(nonce[11 - i] ^ m_records >> 8 * i);
        m_records++;
        record[0] = 23;
        record[1] = record[2] = 3;
        card::store_be<2>(&record[3], record.size() - 5);
        if (EVP_EncryptInit_ex(m_aes, EVP_aes_128_gcm(), nullptr, m_keys.open_key, nonce) != 1 ||
            EVP_EncryptUpdate(m_aes, nullptr, &n, record.data(), 5) != 1 ||
            EVP_EncryptUpdate(m_aes, &record[5], &n, text.data(), static_cast<int>(text.size())) != 1 ||
            EVP_EncryptFinal_ex(m_aes, nonce, &n) != 1 ||
            EVP_CIPHER_CTX_ctrl(m_aes, EVP_CTRL_AEAD_GET_TAG, 16, &record[5 + text.size()]) != 1)
            fail("AES-GCM");
        m_stream.insert(m_stream.end(), record.begin(), record.end());
    }

    uint32_t m_index, m_start, m_seq;
    unsigned m_record, m_segment;
    sim::random_source m_random;
    EVP_CIPHER_CTX *m_aes;
    card::key_set m_keys;
    uint64_t m_records = 0;
    bytes m_stream;
};

struct traffic {
    std::vector<std::unique_ptr<sender>> senders;
    std::vector<bytes> frames;
    uint64_t beats = 0, wire_bytes = 0;

    traffic(unsigned sessions, unsigned record_bytes, unsigned segment_bytes, unsigned packets)
    {
        for (unsigned i = 0; i < sessions; i++)
            senders.emplace_back(new sender(i, record_bytes, segment_bytes));
        for (unsigned i = 0; i < packets; i++) {
            frames.push_back(senders[i % sessions]->frame());
            beats += (frames.back().size() + 63) / 64;
            wire_bytes += frames.back().size();
        }
    }
    void install(bench::lane_bench &lane) const
    {
        for (unsigned i = 0; i < senders.size(); i++)
            lane.add(i, senders[i]->key(), card::action_session_transcode, senders[i]->state());
    }
    void send(bench::lane_bench &lane) const
    {
        for (const bytes &f : frames)
            lane.send(f.data(), f.size());
    }
};

/* Everything must have gone through, and every record verified. */
void expect_good(const bench::lane_output &out, size_t frames)
{
    if (out.sent.size() != frames || !out.punts.empty())
        fail("not every packet came through");
    for (const card::event &e : out.events)
        if (e.kind != card::event_none)
            fail("an event nobody expects");
}

/* ---- cycles ---- */

/* Cycles for each element of a stream, from its first to its last. */
double cycles_an_element(const sim::fifo &f)
{
    return static_cast<double>(f.last_write() - f.first_write() + 1) / static_cast<double>(f.writes());
}

void report_process(const char *process, const sim::fifo &output)
{
    char name[64];
    snprintf(name, sizeof name, "hls.%s.cycles_per_beat", process);
    report(name, cycles_an_element(output), "cycles");
}

std::unique_ptr<bench::lane_bench> run_in_cycles(const traffic &t)
{
    bench::lane_options o;
    o.timed = true;
    std::unique_ptr<bench::lane_bench> lane(new bench::lane_bench(o));
    t.install(*lane);
    lane->drain();
    t.send(*lane);
    lane->drain();
    expect_good(lane->take(), t.frames.size());
    return lane;
}

/* Memory latency 50..400 cycles, no idle input. Processes that see packets: every packet another session and one beat long. Those
 * that see payload: 9000-byte packets of 8 sessions, so that headers, which have no cipher work, are few. */
void measure_cycles()
{
    {
        const auto lane = run_in_cycles(traffic(1000, 1024, 8, 8000));
        const card::lane_streams &x = lane->streams();
        report_process("session_table", x.session_results);
        report_process("rule_table", x.lookups);
        report_process("fetch", x.work_items);
        report("hls.pipeline.cycles_per_packet", cycles_an_element(lane->ports().tx), "cycles");
    }
    const auto lane = run_in_cycles(traffic(8, 16384, 8946, 400));
    const card::lane_streams &x = lane->streams();
    report_process("ingress", x.received);
    report_process("parser", x.beats);
    report_process("tracker", x.pieces);
    report_process("keys", x.keyed);
    report_process("keystream", x.open_streams);
    report_process("weights", x.open_weights);
    report_process("mix", x.mixed);
    report_process("ghash", x.open_hashes);
    report_process("finish", x.out_beats);
    report_process("payload_sum", x.packet_fifo);
    report_process("emit", x.emitted);
    report_process("pipeline", lane->ports().tx);
}

/* First beat in to first beat out of one packet; memory answers after 50 cycles. warm: a packet of the session is in flight before
 * it, so that its state is on chip. */
double latency(unsigned segment_bytes, bool warm)
{
    bench::lane_options o;
    o.timed = true;
    o.latency_low = o.latency_high = 50;
    bench::lane_bench lane(o);
    const traffic t(1, 16384, segment_bytes, warm ? 2 : 1);
    t.install(lane);
    lane.drain();
    lane.send(t.frames[0].data(), t.frames[0].size());
    if (warm) {
        lane.run(100);
        lane.send(t.frames[1].data(), t.frames[1].size());
    }
    lane.drain();
    expect_good(lane.take(), t.frames.size());
    return static_cast<double>(lane.sent_at().back() - lane.fed_at().back());
}

/* ---- native speed ---- */

double thread_seconds()
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

double megabytes_per_second(unsigned record_bytes, unsigned segment_bytes, unsigned packets)
{
    const traffic t(16, record_bytes, segment_bytes, packets);
    double best = 0;
    for (int round = 0; round < 3; round++) {
        bench::lane_options o;
        o.keep_mirror = false;
        bench::lane_bench lane(o);
        t.install(lane);
        t.send(lane);
        const double begin = thread_seconds();
        lane.drain();
        const double seconds = thread_seconds() - begin;
        expect_good(lane.take(), t.frames.size());
        const double rate = static_cast<double>(t.wire_bytes) / seconds / 1e6;
        best = rate > best ? rate : best;
    }
    return best;
}

} // namespace

int main()
{
    measure_cycles();
    report("hls.pipeline.latency_cycles", latency(8, true), "cycles");
    report("hls.pipeline.latency_cycles.memory", latency(8, false), "cycles");
    report("hls.pipeline.latency_cycles.1500", latency(1446, true), "cycles");
    const measure::session_table_rate lookups = measure::session_table_lookups(50000, 1);
    if (lookups.wrong != 0)
        fail("the session table gave a wrong answer");
    report("hls.session_table.lookups_per_cycle", lookups.lookups_per_cycle, "lookups/cycle");
    report("hls.session_table.updates_per_cycle", lookups.updates_per_cycle, "updates/cycle");
    report("hls.session_table.load", measure::session_table_load(3, 1), "of the slots");
    report("hls.session.bytes", 2 * sizeof(card::session_state), "bytes");
    report("hls.sim.mb_per_s", megabytes_per_second(16384, 1446, 2000), "MB/s");
    report("hls.sim.mb_per_s.9000", megabytes_per_second(16384, 8946, 400), "MB/s");
    return 0;
}
