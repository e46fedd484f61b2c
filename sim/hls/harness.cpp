/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.hpp"

#include <algorithm>
#include <chrono>
#include <stdio.h>
#include <stdlib.h>

namespace sim
{

uint64_t test_seed()
{
    const char *given = getenv("SLUICE_SEED");
    const uint64_t seed = given != nullptr ? strtoull(given, nullptr, 0)
                                           : static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
    printf("SLUICE_SEED=%llu\n", static_cast<unsigned long long>(seed));
    fflush(stdout);
    return seed;
}

process::process(const std::string &name, unsigned depth, std::function<void()> call)
    : m_name(name), m_depth(depth), m_call(std::move(call))
{
}

machine::machine(uint64_t seed) : m_random(seed)
{
    machines++;
}

/* Streams may outlive the machine: they are plain again, with whatever is inside. */
machine::~machine()
{
    for (fifo *f : m_streams)
        f->m_time.reset();
    machines--;
}

process &machine::add(const std::string &name, unsigned depth, std::function<void()> call)
{
    if (depth == 0) {
        report(failure::misuse, name + ": a pipeline has at least one register");
        depth = 1;
    }
    m_processes.emplace_back(new process(name, depth, std::move(call)));
    return *m_processes.back();
}

void machine::stall(double part)
{
    for (auto &p : m_processes)
        p->stall(part);
}

void machine::watch(fifo &stream)
{
    if (stream.m_time) {
        if (stream.m_time->owner != this)
            report(failure::two_ends, stream.name() + " is used in two machines");
        return;
    }
    stream.m_time.reset(new fifo::timing());
    stream.m_time->owner = this;
    stream.m_time->due.resize(stream.m_mask + 1);
    stream.m_time->arrived = stream.m_count < stream.m_depth ? stream.m_count : stream.m_depth;
    stream.m_time->full = stream.m_count >= stream.m_depth;
    m_streams.push_back(&stream);
}

void machine::forget(fifo &stream)
{
    m_streams.erase(std::remove(m_streams.begin(), m_streams.end(), &stream), m_streams.end());
    for (auto &p : m_processes)
        p->m_outputs.erase(std::remove(p->m_outputs.begin(), p->m_outputs.end(), &stream), p->m_outputs.end());
}

/* The pipeline moves on by one register, unless it is stalled or one of its elements finds no room. */
void machine::begin_process(process &p)
{
    p.m_frozen = p.m_gate.shut(m_random);
    for (fifo *f : p.m_outputs)
        if (!p.m_frozen && f->stuck(p.m_clock + 1)) {
            p.m_frozen = true;
            p.m_blocked++;
        }
    if (!p.m_frozen) {
        p.m_clock++;
        for (fifo *f : p.m_outputs)
            f->arrive(p.m_clock);
    }
}

void machine::cycle()
{
    if (running != nullptr || m_processes.empty()) {
        report(failure::misuse, running != nullptr ? "a cycle within a cycle" : "a machine without processes");
        return;
    }
    for (auto &p : m_processes)
        begin_process(*p);
    for (fifo *f : m_streams) {
        fifo::timing &t = *f->m_time;
        if (t.writer == nullptr)
            f->arrive(0);
        t.full = t.arrived >= f->m_depth;
        t.high_water = std::max(t.high_water, t.arrived);
        t.read_now = t.written_now = false;
    }
    running = this;
    const size_t n = m_processes.size(), first = m_random.below(n);
    const bool backwards = m_random.chance(0.5);
    for (size_t i = 0; i < n; i++) {
        process &p = *m_processes[(first + (backwards ? n - i : i)) % n];
        if (p.m_frozen)
            continue;
        m_current = &p;
        p.m_call();
    }
    m_current = nullptr;
    running = nullptr;
    m_now++;
}

bool machine::at_rest() const
{
    for (const auto &p : m_processes)
        if (p->m_busy && p->m_busy())
            return false;
    for (const fifo *f : m_streams)
        if (f->m_count > 0)
            return false;
    return true;
}

bool machine::run(uint64_t max_cycles)
{
    uint64_t quiet_since = m_now;
    for (const uint64_t end = m_now + max_cycles; m_now < end;) {
        cycle();
        if (m_last_move + 1 == m_now && m_first_move <= m_last_move)
            quiet_since = m_now;
        const uint64_t quiet = m_now - quiet_since;
        if (quiet >= settle_cycles && at_rest())
            return true;
        if (quiet >= deadlock_cycles) {
            report(failure::deadlock, "nothing moves since cycle " + std::to_string(quiet_since) + ": " + picture());
            return false;
        }
    }
    report(failure::endless, "not at rest after " + std::to_string(max_cycles) + " cycles: " + picture());
    return false;
}

bool machine::run_until(const std::function<bool()> &done, uint64_t max_cycles)
{
    uint64_t quiet_since = m_now;
    for (const uint64_t end = m_now + max_cycles; m_now < end;) {
        cycle();
        if (done())
            return true;
        if (m_last_move + 1 == m_now && m_first_move <= m_last_move)
            quiet_since = m_now;
        if (m_now - quiet_since >= deadlock_cycles) {
            report(failure::deadlock, "nothing moves since cycle " + std::to_string(quiet_since) + ": " + picture());
            return false;
        }
    }
    report(failure::endless, "not done after " + std::to_string(max_cycles) + " cycles: " + picture());
    return false;
}

std::string machine::picture() const
{
    std::string text;
    for (const fifo *f : m_streams)
        if (f->m_count > 0) {
            text += (text.empty() ? "" : ", ") + f->name() + " " + std::to_string(f->m_time->arrived) + "/" +
                    std::to_string(f->m_depth);
            if (f->m_count > f->m_time->arrived)
                text += " (and " + std::to_string(f->m_count - f->m_time->arrived) + " on the way)";
        }
    for (const auto &p : m_processes)
        if (p->m_busy && p->m_busy())
            text += (text.empty() ? "" : ", ") + p->name() + " is busy";
    return text.empty() ? "all streams are empty" : text;
}

std::string machine::where() const
{
    return (m_current != nullptr ? " by " + m_current->name() : std::string()) + " in cycle " + std::to_string(m_now);
}

} // namespace sim
