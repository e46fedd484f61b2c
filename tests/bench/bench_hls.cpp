/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernels are worth, by the cycle harness: cycles a beat of every process, latency, lookups a cycle; and how fast they run
 * natively. Cycle counts come from the processes' stated depths and from one element a stream and call; what a board makes of it,
 * only a board can say (docs/hardware.md).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lane_bench.hpp"
#include "session_table_measure.hpp"
#include "tls_sender.hpp"

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

/* ---- genuine traffic ---- */

struct traffic {
    std::vector<std::unique_ptr<bench::tls_sender>> senders;
    std::vector<bytes> frames;
    uint64_t beats = 0, wire_bytes = 0;

    traffic(unsigned sessions, unsigned record_bytes, unsigned segment_bytes, unsigned packets)
    {
        for (unsigned i = 0; i < sessions; i++)
            senders.emplace_back(new bench::tls_sender(i, record_bytes, segment_bytes));
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
