/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The card's memory (HBM or DDR) as a kernel sees it through request and response streams: every request waits its own random
 * latency, many are outstanding, responses come in the order of requests of a port, one request a port and cycle.
 *
 *     sim::memory<session_state> mem("hbm", sessions, seed);
 *     auto read = mem.reader(read_request, read_response);       // streams: index -> line
 *     auto write = mem.writer(write_request, write_ack);         // streams: index and line -> index
 *     m.add("hbm read", 1, [&] { read.step(); }).while_busy([&] { return read.busy(); });
 *
 * What has been acknowledged is seen by every read that is requested afterwards. A read that races a write not yet acknowledged
 * finds the old or the new line, at random, so that a missing hazard check shows. Writes of one port to one line take effect in
 * order.
 *
 * By default an index is the request itself or its member `index`; the response is the line; a write has the members `index` and
 * `line`; the acknowledgement is the index. Other types say how in the functions given to reader() and writer(), for example to
 * write a part of a line only. The latency may be (0, 0) outside a machine: then a step answers at once.
 */
#pragma once

#include <deque>
#include <functional>
#include <stdint.h>
#include <string>
#include <unordered_map>
#include <vector>

#include "fifo.hpp"
#include "hls_stream.h"
#include "random.hpp"

namespace sim
{

template <typename Line> struct line_write {
    uint32_t index;
    Line line;
};

namespace detail
{
template <typename R> auto index_of(const R &request, int) -> decltype(static_cast<uint64_t>(request.index))
{
    return static_cast<uint64_t>(request.index);
}
template <typename R> auto index_of(const R &request, long) -> decltype(static_cast<uint64_t>(request))
{
    return static_cast<uint64_t>(request);
}
} // namespace detail

template <typename Line> class memory
{
  public:
    memory(const std::string &name, size_t lines, uint64_t random_seed = 1) : m_name(name), m_line(lines), m_random(random_seed)
    {
    }
    Line &operator[](size_t index)
    {
        return m_line[index];
    }
    size_t size() const
    {
        return m_line.size();
    }
    /* Cycles between request and response. */
    void latency(unsigned low, unsigned high)
    {
        m_low = low;
        m_high = high < low ? low : high;
    }
    /* A port takes a request every so many cycles at most: what a line needs on a bus narrower than the line. */
    void interval(unsigned cycles)
    {
        m_interval = cycles;
    }
    /* Requests a port has outstanding at most. */
    void outstanding(size_t most)
    {
        m_most = most;
    }

    template <typename Request, typename Response> class read_port
    {
      public:
        using load = std::function<void(const Line &line, const Request &request, Response &response)>;

        read_port(memory &of, hls::stream<Request> &requests, hls::stream<Response> &responses, load how)
            : m_of(of), m_requests(requests), m_responses(responses), m_load(std::move(how))
        {
        }
        bool busy() const
        {
            return !m_pending.empty();
        }
        /* One cycle. */
        void step()
        {
            m_now++;
            if (m_now >= m_free && m_pending.size() < m_of.m_most && !m_requests.empty()) {
                m_free = m_now + m_of.m_interval;
                accept(m_requests.read());
            }
            if (!m_pending.empty() && m_pending.front().due <= m_now && !m_responses.full()) {
                pending &p = m_pending.front();
                if (!p.loaded)
                    m_load(m_of.m_line[p.index], p.request, p.response);
                m_responses.write(p.response);
                m_pending.pop_front();
            }
        }

      private:
        struct pending {
            uint64_t due, index;
            Request request;
            bool loaded; /* when the request came; otherwise when the response leaves */
            Response response;
        };
        void accept(const Request &request)
        {
            const uint64_t index = detail::index_of(request, 0);
            if (!m_of.holds(index))
                return;
            m_pending.push_back({m_of.due(m_now), index, request, m_of.m_random.chance(0.5), Response()});
            pending &p = m_pending.back();
            if (p.loaded)
                m_load(m_of.m_line[index], request, p.response);
        }

        memory &m_of;
        hls::stream<Request> &m_requests;
        hls::stream<Response> &m_responses;
        const load m_load;
        std::deque<pending> m_pending;
        uint64_t m_now = 0, m_free = 0;
    };

    template <typename Request, typename Ack> class write_port
    {
      public:
        using store = std::function<void(Line &line, const Request &request)>;
        using answer = std::function<Ack(const Request &request)>;

        write_port(memory &of, hls::stream<Request> &requests, hls::stream<Ack> &acks, store how, answer what)
            : m_of(of), m_requests(requests), m_acks(acks), m_store(std::move(how)), m_answer(std::move(what))
        {
        }
        bool busy() const
        {
            return !m_pending.empty();
        }
        void step()
        {
            m_now++;
            if (m_now >= m_free && m_pending.size() < m_of.m_most && !m_requests.empty()) {
                m_free = m_now + m_of.m_interval;
                accept(m_requests.read());
            }
            if (!m_pending.empty() && m_pending.front().due <= m_now && !m_acks.full()) {
                pending &p = m_pending.front();
                if (!p.stored) {
                    m_store(m_of.m_line[p.index], p.request);
                    if (--m_late[p.index] == 0)
                        m_late.erase(p.index);
                }
                m_acks.write(m_answer(p.request));
                m_pending.pop_front();
            }
        }

      private:
        struct pending {
            uint64_t due, index;
            Request request;
            bool stored; /* when the request came; otherwise when the acknowledgement leaves */
        };
        void accept(const Request &request)
        {
            const uint64_t index = detail::index_of(request, 0);
            if (!m_of.holds(index))
                return;
            const bool now = m_of.m_random.chance(0.5) && m_late.count(index) == 0;
            if (now)
                m_store(m_of.m_line[index], request);
            else
                m_late[index]++;
            m_pending.push_back({m_of.due(m_now), index, request, now});
        }

        memory &m_of;
        hls::stream<Request> &m_requests;
        hls::stream<Ack> &m_acks;
        const store m_store;
        const answer m_answer;
        std::deque<pending> m_pending;
        std::unordered_map<uint64_t, unsigned> m_late; /* writes to a line that have not taken effect */
        uint64_t m_now = 0, m_free = 0;
    };

    /* The memory and the streams outlive the port. */
    template <typename Request, typename Response>
    read_port<Request, Response> reader(hls::stream<Request> &requests, hls::stream<Response> &responses)
    {
        return {*this, requests, responses, [](const Line &line, const Request &, Response &response) { response = line; }};
    }
    template <typename Request, typename Response>
    read_port<Request, Response> reader(hls::stream<Request> &requests, hls::stream<Response> &responses,
                                        std::function<void(const Line &line, const Request &request, Response &response)> how)
    {
        return {*this, requests, responses, std::move(how)};
    }
    template <typename Request, typename Ack>
    write_port<Request, Ack> writer(hls::stream<Request> &requests, hls::stream<Ack> &acks)
    {
        return {*this, requests, acks, [](Line &line, const Request &request) { line = request.line; },
                [](const Request &request) { return static_cast<Ack>(request.index); }};
    }
    template <typename Request, typename Ack>
    write_port<Request, Ack> writer(hls::stream<Request> &requests, hls::stream<Ack> &acks,
                                    std::function<void(Line &line, const Request &request)> how,
                                    std::function<Ack(const Request &request)> answer)
    {
        return {*this, requests, acks, std::move(how), std::move(answer)};
    }

  private:
    uint64_t due(uint64_t now)
    {
        return now + m_random.between(m_low, m_high);
    }
    bool holds(uint64_t index) const
    {
        if (index < m_line.size())
            return true;
        report(failure::misuse, m_name + ": line " + std::to_string(index) + " of " + std::to_string(m_line.size()));
        return false;
    }

    const std::string m_name;
    std::vector<Line> m_line;
    random_source m_random;
    unsigned m_low = 50, m_high = 400, m_interval = 1;
    size_t m_most = 512;
};

} // namespace sim
