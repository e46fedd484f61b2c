/* SPDX-License-Identifier: Apache-2.0 */
#include "lane_bench.hpp"

#include <string.h>

namespace bench
{
namespace
{

template <typename Visit, typename... Streams> void each(Visit visit, Streams &...streams)
{
    (void)std::initializer_list<int>{(visit(streams), 0)...};
}

template <typename Visit> void each_stream(card::lane_streams &x, card::lane_ports &p, Visit visit)
{
    each(visit, p.rx, p.inject, p.transmit, p.tx, p.punt, p.mirror, p.events, p.state_reads, p.state_lines, p.state_writes,
         p.state_acks, p.fetch_commands, p.fetch_replies, p.key_loads, p.seal_limits, p.table_updates, p.table_dones,
         p.rule_updates, p.rule_dones, p.counter_commands, p.counter_answers);
    each(visit, x.received, x.packet_keys, x.session_results, x.lookups, x.beats, x.summaries, x.work_items, x.track_lines,
         x.pieces, x.key_lines, x.keyed, x.open_jobs, x.seal_jobs, x.mirror_jobs, x.open_streams, x.seal_streams, x.mirror_streams,
         x.open_exponents, x.seal_exponents, x.open_weights, x.seal_weights, x.open_hashing, x.seal_hashing, x.open_hashes,
         x.seal_hashes, x.mixed, x.finish_lines, x.contexts, x.out_beats, x.packet_fifo, x.emit_jobs, x.emitted, x.dones,
         x.releases, x.track_write_backs, x.finish_write_backs, x.tracks, x.finishes, x.wipes, x.wiped, x.record_events,
         x.packet_events, x.key_events, x.counts);
}

void require(bool good, const char *what)
{
    if (!good)
        sim::report(sim::failure::misuse, what);
}

} // namespace

void append_beats(std::vector<card::beat> &beats, const uint8_t *frame, size_t count, bool error)
{
    for (size_t at = 0; at < count; at += card::beat_bytes) {
        card::beat b = {};
        const size_t n = count - at < card::beat_bytes ? count - at : size_t{card::beat_bytes};
        memcpy(b.byte, frame + at, n);
        b.bytes = static_cast<uint8_t>(n);
        b.last = at + n == count;
        b.error = b.last && error;
        beats.push_back(b);
    }
}

lane_bench::lane_bench(const lane_options &options)
    : m_options(options), m_state(new card::lane_state()), m_streams(new card::lane_streams()), m_ports(new card::lane_ports()),
      m_memory(new state_memory("session memory", options.sessions, options.seed + 1)), m_idle(options.idle),
      m_pressure(options.pressure), m_random(options.seed)
{
    card::lane_ports &p = *m_ports;
    require(sl_card_cuckoo_new(nullptr, &m_table) == SL_OK, "no cuckoo table");
    m_reader.reset(new state_memory::read_port<uint32_t, card::state_read>(
        *m_memory, p.state_reads, p.state_lines,
        [](const card::session_state &line, const uint32_t &, card::state_read &r) { r.state = line; }));
    m_writer.reset(new state_memory::write_port<card::state_write, uint32_t>(
        *m_memory, p.state_writes, p.state_acks,
        [](card::session_state &line, const card::state_write &w) {
            line.track = w.track;
            line.finish = w.finish;
        },
        [](const card::state_write &w) { return w.index; }));
    if (!options.timed) {
        m_memory->latency(0, 0);
        p.seal_limits.write(options.seal_limit);
        key_table();
        return;
    }
    m_memory->latency(options.latency_low, options.latency_high);
    m_machine.reset(new sim::machine(options.seed + 2));
    p.seal_limits.write(options.seal_limit);
    m_streams->packet_keys.set_stage(card::parser_key_depth);
    card::for_each_process(*m_state, *m_streams, p, 0, [&](const char *name, unsigned depth, std::function<void()> call) {
        m_machine->add(name, depth, call).stall(options.stall);
    });
    m_machine->add("memory read", 1, [this] { m_reader->step(); }).while_busy([this] { return m_reader->busy(); });
    m_machine->add("memory write", 1, [this] { m_writer->step(); }).while_busy([this] { return m_writer->busy(); });
    m_machine->add("feed", 1, [this] { feed(); }).while_busy([this] { return m_fed < m_feed.size(); });
    m_machine->add("collect", 1, [this] { collect(); });
    key_table();
}

lane_bench::~lane_bench()
{
    sl_card_cuckoo_free(m_table);
}

void lane_bench::feed()
{
    if (m_fed == m_feed.size() || m_idle.shut(m_random) || m_ports->rx.full())
        return;
    if (m_fed == 0 || m_feed[m_fed - 1].last)
        m_fed_at.push_back(m_machine ? m_machine->now() : m_steps);
    m_ports->rx.write(m_feed[m_fed++]);
}

void lane_bench::collect()
{
    card::lane_ports &p = *m_ports;
    if (!m_pressure.shut(m_random) && !p.tx.empty()) {
        const card::beat b = p.tx.read();
        if (m_sent.empty())
            m_sent_at.push_back(m_machine ? m_machine->now() : m_steps);
        m_sent.insert(m_sent.end(), b.byte, b.byte + b.bytes);
        if (b.last) {
            m_out.sent.push_back(m_sent);
            m_sent.clear();
        }
    }
    if (!m_pressure.shut(m_random) && !p.punt.empty()) {
        const card::beat b = p.punt.read();
        if (m_punt_head) {
            require(card_punt_unpack(&m_punt_info, b.byte), "a punted packet without its head");
        } else {
            m_punt.insert(m_punt.end(), b.byte, b.byte + b.bytes);
            if (b.last)
                m_out.punts.push_back(punted{m_punt_info, m_punt});
        }
        m_punt_head = !m_punt_head ? b.last : false;
        if (m_punt_head)
            m_punt.clear();
    }
    if (!m_pressure.shut(m_random) && !p.mirror.empty()) {
        if (m_options.keep_mirror)
            m_out.mirror.push_back(p.mirror.read());
        else
            p.mirror.read();
    }
    if (!m_pressure.shut(m_random) && !p.events.empty())
        m_out.events.push_back(p.events.read());
    if (!p.table_dones.empty())
        m_table_dones.push_back(p.table_dones.read());
    if (!p.fetch_replies.empty())
        m_fetch_replies.push_back(p.fetch_replies.read());
    if (!p.rule_dones.empty())
        m_rule_dones.push_back(p.rule_dones.read());
    if (!p.counter_answers.empty())
        m_counts.push_back(p.counter_answers.read());
}

void lane_bench::step()
{
    m_steps++;
    if (m_machine) {
        m_machine->cycle();
        return;
    }
    feed();
    card::step_lane(*m_state, *m_streams, *m_ports, 0);
    m_reader->step();
    m_writer->step();
    collect();
}

bool lane_bench::quiet() const
{
    if (m_fed != m_feed.size() || m_reader->busy() || m_writer->busy())
        return false;
    bool empty = true;
    each_stream(*m_streams, *m_ports, [&](auto &stream) { empty = empty && stream.empty(); });
    return empty;
}

std::string lane_bench::picture() const
{
    std::string text;
    each_stream(*m_streams, *m_ports, [&](auto &stream) {
        if (!stream.empty())
            text += " " + stream.name() + " " + std::to_string(stream.size());
    });
    return text;
}

template <typename Done> void lane_bench::until(Done done)
{
    for (uint64_t left = 1000000; !done(); left--) {
        if (left == 0)
            sim::report(sim::failure::deadlock, "the lane does not answer; elements left:" + picture());
        step();
    }
}

void lane_bench::send(const uint8_t *frame, size_t count, bool error)
{
    if (m_fed == m_feed.size()) {
        m_feed.clear();
        m_fed = 0;
    }
    const bool cut = count > card::frame_bytes_max; /* as the port process does */
    append_beats(m_feed, frame, cut ? size_t{card::frame_bytes_max} : count, error || cut);
}

void lane_bench::run(unsigned steps)
{
    for (; steps > 0; steps--)
        step();
}

void lane_bench::drain()
{
    if (m_machine) {
        require(m_machine->run(), "the lane does not come to rest");
        return;
    }
    unsigned still = 0; /* processes hold a piece or a job beside their streams, some for a few calls */
    until([&] {
        still = quiet() ? still + 1 : 0;
        return still > 16;
    });
}

lane_output lane_bench::take()
{
    lane_output out;
    std::swap(out, m_out);
    return out;
}

void lane_bench::update(const card::table_update &u)
{
    m_table_dones.clear();
    m_ports->table_updates.write(u);
    until([&] { return !m_table_dones.empty(); });
    require(m_table_dones[0].ok, "the table refused an update");
    m_lookups = m_table_dones[0].lookups;
}

/* The table's hash gets the key that the host's cuckoo reckons with. */
void lane_bench::key_table()
{
    card::table_update u = {};
    u.op = card::table_op_reset;
    sl_card_cuckoo_seed(m_table, u.content.word);
    update(u);
}

void lane_bench::apply(const sl_card_cuckoo_plan &plan)
{
    for (size_t i = 0; i < plan.count; i++) {
        card::table_update u = {};
        u.op = card::table_op_write;
        u.slot = plan.write[i].slot;
        u.content = plan.write[i].content;
        update(u);
    }
}

void lane_bench::add(uint32_t index, const sl_card_flow_key &key, card::action what, const card::session_state &state)
{
    sl_card_cuckoo_plan plan = {};
    drain();
    (*m_memory)[index] = state;
    require(sl_card_cuckoo_insert(m_table, &key, index, what, &plan) == SL_OK, "the session does not fit");
    apply(plan);
}

void lane_bench::change(uint32_t index, const sl_card_flow_key &key, card::action what)
{
    sl_card_cuckoo_plan plan = {};
    drain();
    require(sl_card_cuckoo_change(m_table, &key, index, what, &plan) == SL_OK, "no such session");
    apply(plan);
}

void lane_bench::fetch(card::fetch_command_kind kind, uint32_t index, uint8_t set)
{
    m_fetch_replies.clear();
    m_ports->fetch_commands.write(card::fetch_command{kind, set, index, m_lookups});
    until([&] { return !m_fetch_replies.empty(); });
    require(m_fetch_replies[0].kind == kind && m_fetch_replies[0].index == index, "another command was answered");
}

void lane_bench::remove(uint32_t index, const sl_card_flow_key &key)
{
    sl_card_cuckoo_plan plan = {};
    drain();
    require(sl_card_cuckoo_remove(m_table, &key, &plan) == SL_OK, "no such session");
    apply(plan);
    fetch(card::fetch_remove, index, 0);
    (*m_memory)[index] = card::session_state();
}

void lane_bench::load_keys(uint32_t index, uint8_t set, const card::key_set &keys)
{
    m_ports->key_loads.write(card::key_load{keys});
    fetch(card::fetch_keys, index, set);
    (*m_memory)[index].keys.set[set] = keys;
    fetch(card::fetch_keys_end, index, set);
}

void lane_bench::install_keys(uint32_t index, uint8_t set, const card::key_set &keys)
{
    drain();
    load_keys(index, set, keys);
    drain();
}

void lane_bench::set_rule(const card::rule_update &update)
{
    drain();
    m_rule_dones.clear();
    m_ports->rule_updates.write(update);
    until([&] { return !m_rule_dones.empty(); });
    require(m_rule_dones[0].ok, "the rule was refused");
}

card::counter_value lane_bench::count(uint32_t index)
{
    drain();
    m_counts.clear();
    m_ports->counter_commands.write(card::counter_command{card::counter_read, index, 0});
    until([&] { return !m_counts.empty(); });
    return m_counts[0].value;
}

} // namespace bench
