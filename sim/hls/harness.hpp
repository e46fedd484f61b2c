/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cycle harness: a machine calls each process once a cycle and holds it to what the card can do.
 *
 *     sim::machine m(seed);
 *     hls::stream<beat> in("in"), out("out");
 *     m.source("feed", in, beats, 0.3);                          // offers the vector's elements, idle in 30 % of the cycles
 *     m.add("parser", card::parser_depth, [&] { card::parser(state, in, out); }).stall(0.1);
 *     m.sink("drain", out, got, 0.3);                            // takes them, stands still in 30 % of the cycles
 *     assert_true(m.run());                                      // until all is done and quiet; a deadlock is a failure
 *     out.writes(), out.first_write(), out.last_write(), m.span()   // elements, cycles
 *
 * Rules, whose breach is a failure with the names of process and stream: a call reads at most one element from a stream and writes
 * at most one; a stream has one reader and one writer; no read from an empty stream, no write into a full one.
 *
 * Time. What is read in a cycle makes room, and what arrives is seen, from the next cycle on, whatever the order in which processes
 * are called (it changes at random, so that a coupling other than by streams shows). A process of depth d is a rigid pipeline with
 * d >= 1 registers: its elements arrive d cycles later; when one finds its FIFO full, the whole process waits, with all it has on
 * the way, as Vitis' pipelines do. So a FIFO of depth 2 behind any process passes one element a cycle; one that shall also ride out
 * back-pressure without bubbles is deeper than the pipeline that fills it, and one beside a longer path is deeper than the
 * difference.
 *
 * Streams need not be registered: one that a process touches belongs to the machine from then on. The test itself may read and
 * write streams between cycles, as many elements as are there or fit; they are seen from the next cycle on.
 */
#pragma once

#include <functional>
#include <memory>
#include <stdint.h>
#include <string>
#include <utility>
#include <vector>

#include "fifo.hpp"
#include "hls_stream.h"
#include "random.hpp"

namespace sim
{

/* The number in the environment's SLUICE_SEED, or one that differs from run to run; printed, so that a run can be had again. */
uint64_t test_seed();

class process
{
  public:
    /* Stands still, with all it has on the way, in that part of the cycles. */
    process &stall(double part)
    {
        m_gate.set(part);
        return *this;
    }
    /* While `busy` says yes the machine is not at rest. */
    process &while_busy(std::function<bool()> busy)
    {
        m_busy = std::move(busy);
        return *this;
    }
    const std::string &name() const
    {
        return m_name;
    }
    unsigned depth() const
    {
        return m_depth;
    }
    uint64_t calls() const /* cycles in which it ran */
    {
        return m_clock;
    }
    uint64_t blocked() const /* cycles in which an output held it up */
    {
        return m_blocked;
    }

  private:
    friend class machine;
    friend class fifo;
    process(const std::string &name, unsigned depth, std::function<void()> call);

    std::string m_name;
    unsigned m_depth;
    std::function<void()> m_call;
    std::function<bool()> m_busy;
    gate m_gate;
    bool m_frozen = false;
    uint64_t m_clock = 0, m_blocked = 0;
    std::vector<fifo *> m_outputs;
};

class machine
{
  public:
    explicit machine(uint64_t seed = 1);
    ~machine();
    machine(const machine &) = delete;
    machine &operator=(const machine &) = delete;

    /* A process; depth: cycles from element in to element out. The reference stays valid. */
    process &add(const std::string &name, unsigned depth, std::function<void()> call);

    /* Writes what `next` gives until it says false once; it is asked when there is room. */
    template <typename T>
    process &source(const std::string &name, hls::stream<T> &to, std::function<bool(T &)> next, double idle = 0)
    {
        auto done = std::make_shared<bool>(false);
        auto g = std::make_shared<gate>(idle);
        process &p = add(name, 1, [this, &to, next, done, g] {
            T element;
            if (*done || g->shut(m_random) || to.full())
                return;
            if (next(element))
                to.write(element);
            else
                *done = true;
        });
        return p.while_busy([done] { return !*done; });
    }
    template <typename T>
    process &source(const std::string &name, hls::stream<T> &to, const std::vector<T> &elements, double idle = 0)
    {
        auto list = std::make_shared<const std::vector<T>>(elements);
        auto at = std::make_shared<size_t>(0);
        auto g = std::make_shared<gate>(idle);
        process &p = add(name, 1, [this, &to, list, at, g] {
            if (*at < list->size() && !g->shut(m_random) && !to.full())
                to.write((*list)[(*at)++]);
        });
        return p.while_busy([list, at] { return *at < list->size(); });
    }
    /* Reads whatever comes; now() in `take` is the cycle it was read in. */
    template <typename T>
    process &sink(const std::string &name, hls::stream<T> &from, std::function<void(const T &)> take, double pressure = 0)
    {
        auto g = std::make_shared<gate>(pressure);
        return add(name, 1, [this, &from, take, g] {
            if (!g->shut(m_random) && !from.empty())
                take(from.read());
        });
    }
    template <typename T> process &sink(const std::string &name, hls::stream<T> &from, std::vector<T> &into, double pressure = 0)
    {
        auto g = std::make_shared<gate>(pressure);
        return add(name, 1, [this, &from, &into, g] {
            if (!g->shut(m_random) && !from.empty())
                into.push_back(from.read());
        });
    }

    /* Sets the same stall for all processes there are. */
    void stall(double part);
    /* Times the stream from now on, not only from its first use. */
    void watch(fifo &stream);

    void cycle();
    /* Until no process is busy, all streams are empty and nothing has moved for settle_cycles. False, with a failure: work is left
     * and nothing has moved for deadlock_cycles, or it took more than max_cycles. */
    bool run(uint64_t max_cycles = 100000000);
    /* Until `done` says yes after a cycle; fails likewise. */
    bool run_until(const std::function<bool()> &done, uint64_t max_cycles = 100000000);

    /* Number of the cycle under way, or of the next one. */
    uint64_t now() const
    {
        return m_now;
    }
    /* Cycles from the first to the last in which anything was read or written, both included. */
    uint64_t span() const
    {
        return m_last_move < m_first_move ? 0 : m_last_move - m_first_move + 1;
    }
    random_source &random()
    {
        return m_random;
    }
    const std::vector<fifo *> &streams() const
    {
        return m_streams;
    }
    /* Fill levels of all streams that are not empty, and who is busy: for messages. */
    std::string picture() const;

    uint64_t deadlock_cycles = 2000, settle_cycles = 600;

  private:
    friend class fifo;
    bool at_rest() const;
    void begin_process(process &p);
    void forget(fifo &stream);
    std::string where() const;
    void moved()
    {
        m_first_move = m_first_move < m_now ? m_first_move : m_now;
        m_last_move = m_now;
    }

    random_source m_random;
    std::vector<std::unique_ptr<process>> m_processes;
    std::vector<fifo *> m_streams;
    process *m_current = nullptr;
    uint64_t m_now = 0, m_first_move = ~uint64_t{0}, m_last_move = 0;
};

} // namespace sim
