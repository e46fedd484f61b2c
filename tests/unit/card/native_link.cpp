/* SPDX-License-Identifier: Apache-2.0 */
#include "native_link.h"

#include <memory>
#include <stdlib.h>
#include <string.h>
#include <vector>

#include "fifo.hpp"
#include "pipeline/card.hpp"

namespace
{

enum : unsigned { steps_a_turn = 256, session_lines = 6 };

/* Zeroed lines. */
class block
{
  public:
    explicit block(size_t bytes) : m_memory(static_cast<uint8_t *>(aligned_alloc(card_line_bytes, bytes)), free)
    {
        if (!m_memory)
            abort();
        memset(m_memory.get(), 0, bytes);
    }
    uint8_t *get() const
    {
        return m_memory.get();
    }

  private:
    std::unique_ptr<uint8_t, void (*)(void *)> m_memory;
};

struct native_link {
    sl_card_link head; /* first */
    std::vector<block> blocks;
    std::unique_ptr<card_model> model;

    uint8_t *allocate(size_t bytes)
    {
        blocks.emplace_back(bytes);
        return blocks.back().get();
    }
};

native_link *native(sl_card_link *link)
{
    return reinterpret_cast<native_link *>(link);
}

void turn(sl_card_link *link)
{
    for (unsigned i = 0; i < steps_a_turn; i++)
        native(link)->model->step();
}

bool alive(sl_card_link *, sl_diag *)
{
    return true;
}

/* In the middle of its work, perhaps: what is left in the streams then is no failure. */
void close(sl_card_link *link, sl_card_end)
{
    const sim::failures leftovers;
    delete native(link);
}

const sl_card_link_operations operations = {turn, alive, close};

void add_lane(native_link &n, unsigned lane, uint32_t lines, card_memory &memory)
{
    sl_card_rings &r = n.head.rings;
    card_packets_memory &p = memory.packets[lane];
    p.to_card = r.lane[lane].to_card = n.allocate(size_t{lines} * card_line_bytes);
    p.from_card = r.lane[lane].from_card = n.allocate(size_t{lines} * card_line_bytes);
    p.mirror = r.lane[lane].mirror = n.allocate(size_t{lines} * card_line_bytes);
    p.page = n.allocate(sizeof(card_packets_page));
    r.lane[lane].page = static_cast<card_packets_page *>(p.page);
    p.to_card_lines = p.from_card_lines = p.mirror_lines = lines;
    r.lane[lane].to_card_lines = r.lane[lane].from_card_lines = r.lane[lane].mirror_lines = lines;
    for (unsigned i = 0; i < session_lines; i++)
        memory.sessions[lane][i] = n.allocate(size_t{memory.session_count} * card_line_bytes);
}

} // namespace

sl_card_link *native_link_new(const native_link_options *options)
{
    native_link *const n = new native_link();
    const uint32_t lines = options->ring_lines != 0 ? options->ring_lines : 4096;
    sl_card_rings &r = n->head.rings;
    card_memory memory = {};
    n->head.operations = &operations;
    n->head.kind = "native";
    n->head.clock_mhz = 300;
    strcpy(n->head.device, "kernels");
    r.sessions = memory.session_count = options->sessions;
    r.command_entries = memory.command_entries = options->command_entries != 0 ? options->command_entries : 256;
    r.event_entries = memory.event_entries = options->event_entries != 0 ? options->event_entries : 256;
    memory.commands = r.commands = n->allocate(size_t{r.command_entries} * card_command_bytes);
    memory.completions = r.completions = n->allocate(size_t{r.command_entries} * card_completion_bytes);
    memory.events = r.events = n->allocate(size_t{r.event_entries} * card_event_bytes);
    memory.page = n->allocate(sizeof(card_host_page));
    r.page = static_cast<card_host_page *>(memory.page);
    add_lane(*n, 0, lines, memory);
    add_lane(*n, 1, lines, memory);
    n->model.reset(new card_model(memory));
    return &n->head;
}
