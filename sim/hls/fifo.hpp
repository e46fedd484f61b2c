/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every hls::stream is beneath its type: a bounded FIFO with a name, which a sim::machine may time.
 *
 * Outside a machine an element is visible at once, and `depth` elements fit. Inside a machine (harness.hpp) the writing process is
 * a pipeline: what it writes in its cycle c arrives in the FIFO in its cycle c + depth of the pipeline. The pipeline's registers
 * hold the elements on their way, beside the FIFO's room, and the pipeline stands still while its next element finds the FIFO full.
 *
 * An overflow, a read from an empty stream, a leftover at the end and the machine's rules broken are failures (sim::report).
 */
#pragma once

#include <atomic>
#include <memory>
#include <stdint.h>
#include <string>
#include <vector>

namespace sim
{

class machine;
class process;

struct failure {
    enum kind {
        overflow,  /* written while full */
        underflow, /* read while empty */
        leftover,  /* not empty at its end */
        twice,     /* two elements on one stream in one cycle */
        two_ends,  /* two processes read, or write, one stream; or two machines time it */
        deadlock,  /* work is left, and nothing moves */
        endless,   /* the machine did not come to rest */
        misuse     /* of the harness, or a memory index out of bounds */
    };
    kind what;
    std::string text; /* names whatever is concerned */
};
const char *name_of(failure::kind what);

/* Prints and ends the program, unless failures are being collected. Returns only in that case: a read then yields T(), a written
 * element is lost. */
void report(failure::kind what, const std::string &text);

/* While one is alive, failures of this thread are collected in the youngest one. */
class failures
{
  public:
    failures();
    ~failures();
    failures(const failures &) = delete;
    failures &operator=(const failures &) = delete;
    /* How many of that kind there were whose text contains `text`. */
    unsigned count(failure::kind what, const std::string &text = "") const;

    std::vector<failure> seen;

  private:
    failures *m_older;
};

/* Machines that exist: without one no stream is timed, which is what a program at speed asks first. */
extern std::atomic<unsigned> machines __attribute__((visibility("hidden")));
/* The machine whose cycle this thread is in. */
extern __thread machine *running __attribute__((tls_model("initial-exec")));

class fifo
{
  public:
    const std::string &name() const
    {
        return m_name;
    }
    unsigned depth() const
    {
        return m_depth;
    }
    /* Elements inside, those on their way in the writer's pipeline included. */
    unsigned held() const
    {
        return m_count;
    }
    /* In the machine that times it: elements, and the cycles of the first and the last one; 0 before there is one. */
    uint64_t writes() const
    {
        return m_time ? m_time->in.count : 0;
    }
    uint64_t first_write() const
    {
        return m_time ? m_time->in.first : 0;
    }
    uint64_t last_write() const
    {
        return m_time ? m_time->in.last : 0;
    }
    uint64_t reads() const
    {
        return m_time ? m_time->out.count : 0;
    }
    uint64_t first_read() const
    {
        return m_time ? m_time->out.first : 0;
    }
    uint64_t last_read() const
    {
        return m_time ? m_time->out.last : 0;
    }
    /* Most elements in the FIFO at the beginning of a cycle. */
    unsigned high_water() const
    {
        return m_time ? m_time->high_water : 0;
    }
    /* Before the first write only, or to grow. */
    void set_depth(unsigned depth);
    /* What is written arrives so many cycles later, not at the end of the writer's pipeline: an output of an earlier stage. */
    void set_stage(unsigned stage)
    {
        m_stage = stage;
    }
    void set_name(const std::string &name)
    {
        m_name = name;
    }
    /* A leftover is no failure: for what nobody reads in a test. */
    void allow_leftover()
    {
        m_leftover_allowed = true;
    }
    virtual void discard() = 0;

  protected:
    fifo(const std::string &name, unsigned depth);
    fifo(const fifo &) = delete;
    fifo &operator=(const fifo &) = delete;
    virtual ~fifo();
    /* Room for `elements`; those inside move to the slots from 0 on. */
    virtual void reserve(unsigned elements) = 0;

    __attribute__((always_inline)) bool timed() const
    {
        return __builtin_expect(machines.load(std::memory_order_relaxed) != 0, 0) && (m_time != nullptr || running != nullptr);
    }
    bool timed_empty();
    bool timed_full();
    unsigned timed_size();
    /* May the element be taken, or put? After a yes the caller does it. */
    bool timed_read();
    bool timed_write();
    void underflow() const;
    void overflow() const;
    void check_leftover();
    void forget_all();

    unsigned m_depth;
    unsigned m_mask = 0; /* slots - 1, a power of two less one */
    unsigned m_head = 0;
    unsigned m_count = 0;

  private:
    friend class machine;
    struct traffic {
        uint64_t count = 0, first = 0, last = 0;
        void note(uint64_t cycle);
    };
    struct timing {
        machine *owner;
        process *writer = nullptr, *reader = nullptr; /* nullptr: the test itself, between cycles */
        unsigned arrived = 0;                         /* elements in the FIFO; the rest is in the writer's pipeline */
        bool full = false;                            /* at the beginning of the cycle */
        unsigned high_water = 0;
        bool read_now = false, written_now = false; /* by a process, in this cycle */
        traffic in, out;
        std::vector<uint64_t> due; /* for each slot: cycle of the writer in which the element arrives */
    };

    void adopt();
    void grow(unsigned elements);
    bool stuck(uint64_t clock) const;
    void arrive(uint64_t clock);

    std::unique_ptr<timing> m_time;
    std::string m_name;
    bool m_leftover_allowed = false;
    unsigned m_stage = 0; /* 0: the last one */
};

} // namespace sim
