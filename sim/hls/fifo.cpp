/* SPDX-License-Identifier: Apache-2.0 */
#include "fifo.hpp"

#include <atomic>
#include <stdio.h>
#include <stdlib.h>

#include "harness.hpp"

namespace sim
{

std::atomic<unsigned> machines;
__thread machine *running;
static __thread failures *collector;

const char *name_of(failure::kind what)
{
    switch (what) {
    case failure::overflow:
        return "overflow";
    case failure::underflow:
        return "underflow";
    case failure::leftover:
        return "leftover";
    case failure::twice:
        return "twice in a cycle";
    case failure::two_ends:
        return "two ends";
    case failure::deadlock:
        return "deadlock";
    case failure::endless:
        return "endless";
    case failure::misuse:
        return "misuse";
    }
    return "failure";
}

void report(failure::kind what, const std::string &text)
{
    if (collector != nullptr) {
        collector->seen.push_back({what, text});
        return;
    }
    fflush(stdout);
    fprintf(stderr, "sim: %s: %s\n", name_of(what), text.c_str());
    abort();
}

failures::failures() : m_older(collector)
{
    collector = this;
}

failures::~failures()
{
    collector = m_older;
}

unsigned failures::count(failure::kind what, const std::string &text) const
{
    unsigned n = 0;
    for (const failure &f : seen)
        n += f.what == what && f.text.find(text) != std::string::npos;
    return n;
}

static std::string name_or_number(const std::string &name)
{
    static std::atomic<unsigned> unnamed;
    return name.empty() ? "stream " + std::to_string(++unnamed) : name;
}

fifo::fifo(const std::string &name, unsigned depth) : m_depth(depth), m_name(name_or_number(name))
{
}

fifo::~fifo()
{
    if (m_time)
        m_time->owner->forget(*this);
}

void fifo::set_depth(unsigned depth)
{
    if (depth == 0 || depth < m_count) {
        report(failure::misuse,
               m_name + ": depth " + std::to_string(depth) + " with " + std::to_string(m_count) + " elements inside");
        return;
    }
    m_depth = depth;
    if (depth > m_mask + 1)
        grow(depth);
    if (m_time)
        m_time->full = m_time->arrived >= depth;
}

void fifo::underflow() const
{
    report(failure::underflow, m_name + " is read while it is empty" + (running != nullptr ? running->where() : ""));
}

void fifo::overflow() const
{
    report(failure::overflow, m_name + " (depth " + std::to_string(m_depth) + ") is written while it is full" +
                                  (running != nullptr ? running->where() : ""));
}

void fifo::check_leftover()
{
    if (m_count > 0 && !m_leftover_allowed)
        report(failure::leftover, m_name + " ends with " + std::to_string(m_count) + " elements inside");
}

void fifo::forget_all()
{
    if (m_time)
        m_time->arrived = 0;
}

/* More slots: the elements move to the slots from 0 on, and their times with them. */
void fifo::grow(unsigned elements)
{
    std::vector<uint64_t> due;
    if (m_time)
        for (unsigned i = 0; i < m_count; i++)
            due.push_back(m_time->due[(m_head + i) & m_mask]);
    reserve(elements);
    if (m_time) {
        due.resize(m_mask + 1);
        m_time->due.swap(due);
    }
}

void fifo::traffic::note(uint64_t cycle)
{
    first = count++ == 0 ? cycle : first;
    last = cycle;
}

/* A stream belongs to the machine in which it is touched first. */
void fifo::adopt()
{
    if (!m_time)
        running->watch(*this);
    else if (running != nullptr && m_time->owner != running)
        report(failure::two_ends, m_name + " is used in two machines");
}

bool fifo::timed_empty()
{
    adopt();
    return m_time->arrived == 0;
}

bool fifo::timed_full()
{
    adopt();
    return running != nullptr ? m_time->full : m_count >= m_depth;
}

unsigned fifo::timed_size()
{
    adopt();
    return m_time->arrived;
}

bool fifo::timed_read()
{
    adopt();
    machine &m = *m_time->owner;
    process *p = m.m_current;
    if (p != nullptr) {
        if (m_time->reader == nullptr)
            m_time->reader = p;
        else if (m_time->reader != p)
            report(failure::two_ends, m_name + " is read by " + m_time->reader->name() + " and by " + p->name());
        if (m_time->read_now)
            report(failure::twice, m_name + " is read twice" + m.where());
        m_time->read_now = true;
    }
    if (m_time->arrived == 0) {
        underflow();
        return false;
    }
    m_time->arrived--;
    m_time->out.note(m.m_now);
    m.moved();
    return true;
}

bool fifo::timed_write()
{
    adopt();
    machine &m = *m_time->owner;
    process *p = m.m_current;
    if (p != nullptr) {
        if (m_time->writer == nullptr) {
            m_time->writer = p;
            p->m_outputs.push_back(this);
        } else if (m_time->writer != p)
            report(failure::two_ends, m_name + " is written by " + m_time->writer->name() + " and by " + p->name());
        if (m_time->written_now)
            report(failure::twice, m_name + " is written twice" + m.where());
        m_time->written_now = true;
    }
    if (p != nullptr ? m_time->full : m_count >= m_depth) {
        overflow();
        return false;
    }
    if (m_count > m_mask)
        grow(m_depth + (p != nullptr ? p->depth() : 0) + 1);
    m_time->due[(m_head + m_count) & m_mask] = p != nullptr ? p->m_clock + (m_stage != 0 ? m_stage : p->m_depth) : 0;
    m_time->in.note(m.m_now);
    m.moved();
    return true;
}

/* Whether an element that is due by the writer's cycle `clock` finds no room. */
bool fifo::stuck(uint64_t clock) const
{
    const unsigned n = m_time->arrived;
    return n >= m_depth && n < m_count && m_time->due[(m_head + n) & m_mask] <= clock;
}

void fifo::arrive(uint64_t clock)
{
    unsigned &n = m_time->arrived;
    while (n < m_depth && n < m_count && m_time->due[(m_head + n) & m_mask] <= clock)
        n++;
}

} // namespace sim
