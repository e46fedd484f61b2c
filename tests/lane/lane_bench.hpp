/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane on the bench: frames and the host's commands in, everything that comes of them out.
 *
 * Two ways to run it. Untimed: the processes are called in turn, elements are visible at once; as the simulated card does it.
 * Timed: in the cycle harness, with the processes' depths, random stalls, idle input, back-pressure and memory latency.
 *
 * Commands wait until all frames given before have left the lane, so that what a test expects does not depend on time.
 */
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "card/cuckoo.h"
#include "harness.hpp"
#include "memory.hpp"
#include "packet/punt_layout.h"
#include "pipeline/lane.hpp"

namespace bench
{

using bytes = std::vector<uint8_t>;

struct punted {
    card_punt info;
    bytes frame;
};

struct lane_output {
    std::vector<bytes> sent;
    std::vector<punted> punts;
    std::vector<card::event> events;
    std::vector<card::mirror_item> mirror;
};

struct lane_options {
    bool timed = false;
    bool keep_mirror = true;
    double stall = 0, idle = 0, pressure = 0; /* parts of the cycles; timed */
    unsigned latency_low = 50, latency_high = 400;
    uint64_t seed = 1;
    uint32_t seal_limit = card::seal_limit_default;
    unsigned sessions = card::sessions_max;
};

class lane_bench
{
  public:
    explicit lane_bench(const lane_options &options);
    ~lane_bench();
    lane_bench(const lane_bench &) = delete;
    lane_bench &operator=(const lane_bench &) = delete;

    /* Frames go in when there is room; packet ids count them from 0. error: the port marks the frame as damaged. */
    void send(const uint8_t *frame, size_t count, bool error = false);
    /* Until everything has come to rest. */
    void drain();
    lane_output take();

    /* The host's commands; each drains first and waits until it is done. */
    void add(uint32_t index, const sl_card_flow_key &key, card::action what, const card::session_state &state);
    void change(uint32_t index, const sl_card_flow_key &key, card::action what);
    void remove(uint32_t index, const sl_card_flow_key &key);
    void install_keys(uint32_t index, uint8_t set, const card::key_set &keys);
    /* The same, without waiting for frames that are on their way. */
    void load_keys(uint32_t index, uint8_t set, const card::key_set &keys);
    void set_rule(const card::rule_update &update);
    card::counter_value count(uint32_t index);

    /* What memory holds of a session; settled after drain(). */
    const card::session_state &state(uint32_t index) const
    {
        return (*m_memory)[index];
    }
    /* So many steps: cycles, if it is timed. */
    void run(unsigned steps);
    /* The steps in which the first beats of the frames went in and came out. */
    const std::vector<uint64_t> &fed_at() const
    {
        return m_fed_at;
    }
    const std::vector<uint64_t> &sent_at() const
    {
        return m_sent_at;
    }
    card::lane_streams &streams()
    {
        return *m_streams;
    }
    card::lane_ports &ports()
    {
        return *m_ports;
    }

  private:
    template <typename Done> void until(Done done);
    void step();
    void feed();
    void fetch(card::fetch_command_kind kind, uint32_t index, uint8_t set);
    bool quiet() const;
    std::string picture() const; /* streams that are not empty */
    void collect();
    void update(const card::table_update &u);
    void key_table();
    void apply(const sl_card_cuckoo_plan &plan);

    lane_options m_options;
    std::unique_ptr<sim::machine> m_machine;
    std::unique_ptr<card::lane_state> m_state;
    std::unique_ptr<card::lane_streams> m_streams;
    std::unique_ptr<card::lane_ports> m_ports;
    using state_memory = sim::memory<card::session_state>;
    std::unique_ptr<state_memory> m_memory;
    std::unique_ptr<state_memory::read_port<uint32_t, card::state_read>> m_reader;
    std::unique_ptr<state_memory::write_port<card::state_write, uint32_t>> m_writer;
    sl_card_cuckoo *m_table = nullptr;
    std::vector<card::beat> m_feed;
    size_t m_fed = 0;
    sim::gate m_idle, m_pressure;
    sim::random_source m_random;
    lane_output m_out;
    bytes m_sent, m_punt;
    bool m_punt_head = true;
    card_punt m_punt_info = {};
    uint64_t m_steps = 0;
    std::vector<uint64_t> m_fed_at, m_sent_at;
    uint32_t m_lookups = 0;
    std::vector<card::table_update_done> m_table_dones;
    std::vector<card::fetch_reply> m_fetch_replies;
    std::vector<card::rule_update_done> m_rule_dones;
    std::vector<card::counter_answer> m_counts;
};

/* A frame cut into beats, behind those that are there. */
void append_beats(std::vector<card::beat> &beats, const uint8_t *frame, size_t count, bool error);

} // namespace bench
