/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rings.hpp"

#include <stddef.h>

#include "card/card_command.h"

namespace card
{

namespace
{

enum : unsigned { lines_a_command = card_command_bytes / beat_bytes, valid_at = offsetof(card_command, valid) % beat_bytes };

control_line load_line(const volatile ring_line &from)
{
#pragma HLS INLINE
    control_line line;
    for (unsigned i = 0; i < beat_bytes / 8; i++) {
#pragma HLS UNROLL
        store_le64(line.byte + 8 * i, from.word[i]);
    }
    return line;
}

/* The last word last: on a host, where this is a loop, as on the card, where it is one beat. */
void store_line(volatile ring_line &to, const control_line &line)
{
#pragma HLS INLINE
    for (unsigned i = 0; i < beat_bytes / 8; i++) {
#pragma HLS UNROLL
        to.word[i] = load_le64(line.byte + 8 * i);
    }
}

} // namespace

void rings(rings_state &s, const ring_memory &memory, hls::stream<control_line> &commands, hls::stream<control_line> &completions,
           hls::stream<control_line> &entries, hls::stream<uint32_t> &host_read)
{
    const uint32_t command_at = (s.taken & (memory.command_entries - 1)) * lines_a_command;
    if (s.line == 0) {
        const control_line last = load_line(memory.commands[command_at + lines_a_command - 1]);
        if (load_le<4>(last.byte + valid_at) == s.taken + 1)
            s.line = 1;
    } else if (!commands.full()) {
        commands.write(load_line(memory.commands[command_at + s.line - 1]));
        s.line++;
        if (s.line > lines_a_command) {
            s.line = 0;
            s.taken++;
        }
    }
    if (!completions.empty()) {
        store_line(memory.completions[s.completed & (memory.command_entries - 1)], completions.read());
        s.completed++;
    }
    if (!entries.empty()) {
        store_line(memory.events[s.told & (memory.event_entries - 1)], entries.read());
        s.told++;
    }
    const control_line page = load_line(*memory.page);
    const uint32_t read = static_cast<uint32_t>(load_le<4>(page.byte + offsetof(card_host_page, events_read)));
    if (read != s.read && !host_read.full()) {
        host_read.write(read);
        s.read = read;
    }
}

} // namespace card
