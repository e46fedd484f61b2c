/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated card through everything that a host has to do with it: engine, worker, XRT, device process, kernels. TLS 1.3 is
 * transcoded and mirrored in both lanes; the figure is bytes of frames a second of wall time, on all the cores there are, and says
 * how long tests take. It says nothing about a card.
 */
#include <algorithm>
#include <ftw.h>
#include <memory>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <vector>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* in C a function may be called as a struct is */
#include "card/engine.h"
#pragma GCC diagnostic pop
#include "card/numbers.h"
#include "tls_sender.hpp"
extern "C" {
#include <environment.h>
}

namespace
{

enum : unsigned { flows = 16, segments = 400, rounds = 5, record_bytes = 16384, segment_bytes = 1448, patience_ms = 60000 };

[[noreturn]] void die(const char *what)
{
    fprintf(stderr, "bench_card_sim: %s\n", what);
    exit(1);
}

double now_s()
{
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

int remove_one(const char *path, const struct stat *, int, FTW *)
{
    return remove(path);
}

sl_engine *open_card(const char *folder)
{
    sl_xrt_environment environment = {};
    environment.tree = SLUICE_XRT_TREE;
    environment.run_folder = folder;
    environment.resident = true;
    if (!sl_xrt_environment_set(&environment))
        die("the simulated card's tree is not built");
    sl_engine_options options = {};
    options.sessions = 64;
    options.xclbin = SLUICE_SIM_XCLBIN;
    options.worker = SLUICE_XRT_WORKER;
    options.dead_after_ms = patience_ms;
    sl_engine *engine = nullptr;
    sl_diag diag = {};
    if (sl_engine_open_xrt(&options, &engine, &diag) != SL_OK)
        die(diag.text);
    return engine;
}

/* The same sender in both lanes: what is back and forth makes no difference to a lane. */
void install(sl_engine *engine, uint64_t flow, const bench::tls_sender &sender)
{
    std::unique_ptr<sl_engine_command> c(new sl_engine_command());
    const sl_card_flow_key key = sender.key();
    c->op = SL_ENGINE_INSTALL;
    c->flow = flow;
    c->action = SL_CARD_SESSION_TRANSCODE;
    memcpy(c->key.src, key.src, sizeof key.src);
    memcpy(c->key.dst, key.dst, sizeof key.dst);
    c->key.sport = key.sport;
    c->key.dport = key.dport;
    c->key.proto = key.proto;
    c->key.version = key.version;
    c->state[0] = c->state[1] = sender.state();
    if (sl_engine_submit(engine, c.get()) != SL_OK)
        die("a session was not taken");
    sl_engine_completion done;
    while (sl_engine_completions(engine, &done, 1) == 0) {
    }
    if (done.status != SL_OK)
        die("a session was not installed");
}

/* Takes what has come; returns how many frames. */
size_t fetch(sl_engine *engine)
{
    static sl_engine_result results[64];
    sl_engine_mirror record;
    card_event event;
    const size_t count = sl_engine_receive(engine, results, 64);
    for (size_t i = 0; i < count; i++)
        if (results[i].kind != SL_FRAME_TX)
            die("a frame was punted");
    while (sl_engine_mirrored(engine, &record, 1) != 0) {
    }
    while (sl_engine_events(engine, &event, 1) != 0) {
    }
    struct sl_engine_counters n;
    sl_engine_counters(engine, &n);
    if (n.dead)
        die("the card died");
    return count;
}

double megabytes_a_second(sl_engine *engine, const std::vector<std::vector<uint8_t>> &frames)
{
    size_t bytes = 0, sent = 0, received = 0;
    const double begin = now_s();
    while (received < frames.size()) {
        for (bool taken = true; taken && sent < frames.size();) {
            sl_engine_frame f = {};
            f.bytes = frames[sent].data();
            f.count = uint32_t(frames[sent].size());
            taken = sl_engine_send(engine, &f, 1) == 1;
            bytes += taken ? f.count : 0;
            sent += taken;
        }
        received += fetch(engine);
    }
    return double(bytes) / 1e6 / (now_s() - begin);
}

} // namespace

int main()
{
    char folder[] = "/tmp/sluice-bench-XXXXXX";
    if (mkdtemp(folder) == nullptr)
        die("no folder");
    sl_engine *const engine = open_card(folder);
    std::vector<std::unique_ptr<bench::tls_sender>> senders;
    for (unsigned i = 0; i < flows; i++) {
        senders.emplace_back(new bench::tls_sender(i, record_bytes, segment_bytes));
        install(engine, i + 1, *senders.back());
    }
    std::vector<double> rates;
    for (unsigned round = 0; round < rounds; round++) {
        std::vector<std::vector<uint8_t>> frames;
        for (unsigned i = 0; i < segments; i++)
            for (auto &sender : senders)
                frames.push_back(sender->frame());
        rates.push_back(megabytes_a_second(engine, frames));
    }
    sl_engine_close(engine);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    std::sort(rates.begin(), rates.end());
    printf("{\"name\": \"card.sim.mb_per_s\", \"value\": %.3g, \"unit\": \"MB/s\", \"peer\": null, \"ratio\": null}\n",
           rates[rounds / 2]);
    return 0;
}
