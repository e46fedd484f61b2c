/* SPDX-License-Identifier: Apache-2.0 */
#include "transcoder/fetch.hpp"

#include "common/bytes.hpp"

namespace card
{

static_assert(fetch_ready > 2 * fetch_depth, "enough slots at hand to give one a cycle while `room` lags");
static_assert(slots > 2 * fetch_ready, "the free list is more than what is at hand");

namespace
{

constexpr uint16_t slot_mask = slots - 1;

struct found_slot {
    bool mapped;
    uint16_t slot;
};

/* Hazards SLOT_RAW and STALE_SLOT. */
found_slot look_up(const fetch_state &s, uint32_t index)
{
#pragma HLS INLINE
    found_slot found;
    found.slot = s.slot_of[index];
    const slot_owner owner = forward_read<0>(s.owner, found.slot);
    found.mapped = owner.index == index && owner.phase != forward_read<0>(s.freed, found.slot);
    for (unsigned i = 0; i < fetch_recent; i++) {
#pragma HLS UNROLL
        if (s.recent[i].valid && s.recent[i].index == index) {
            found.mapped = true;
            found.slot = s.recent[i].slot;
        }
    }
    return found;
}

void remember(fetch_state &s, uint32_t index, uint16_t slot)
{
#pragma HLS INLINE
    if (s.recent[fetch_depth].valid)
        s.slot_of[s.recent[fetch_depth].index] = s.recent[fetch_depth].slot;
    for (unsigned i = 0; i + 1 < fetch_recent; i++) {
#pragma HLS UNROLL
        s.recent[i] = s.recent[i + 1];
    }
    s.recent[fetch_recent - 1] = fetch_assignment{true, index, slot};
}

/* The session leaves the slot. */
void forget(fetch_state &s, uint16_t slot)
{
#pragma HLS INLINE
    for (unsigned i = 0; i < fetch_recent; i++) {
#pragma HLS UNROLL
        if (s.recent[i].slot == slot)
            s.recent[i].valid = false;
    }
}

/* A free slot a cycle comes to hand: first those that were never used. */
void ready_slot(fetch_state &s)
{
#pragma HLS INLINE
    if (s.ready_count == fetch_ready)
        return;
    const unsigned to = (s.ready_from + s.ready_count) % fetch_ready;
    if (s.fresh < slots) {
        s.ready[to] = s.fresh++;
    } else if (s.free_count > 0) {
        s.ready[to] = s.free_list[s.free_from];
        s.free_from = (s.free_from + 1) & slot_mask;
        s.free_count--;
    } else {
        return;
    }
    s.ready_count++;
}

unsigned free_slots(const fetch_state &s)
{
    return s.ready_count + s.free_count + (slots - s.fresh);
}

void take_wiped(fetch_state &s, const fetch_in &in)
{
#pragma HLS INLINE
    if (in.wiped.empty())
        return;
    const uint16_t slot = in.wiped.read();
    s.wipes_answered++;
    if (s.reset == reset_wiping) { /* it is in the free list already */
        s.reset_answered++;
        return;
    }
    s.free_list[(s.free_from + s.free_count) & slot_mask] = slot;
    s.free_count++;
}

void begin_write_back(fetch_state &s, const fetch_out &out, uint16_t slot, uint32_t index, uint32_t taken)
{
#pragma HLS INLINE
    forward_write(s.marked, slot, taken);
    s.writing[(s.writing_from + s.writing_count) & slot_mask] = slot;
    s.writing_count++;
    out.to_tracker.write(write_back{slot, index});
    out.to_finish.write(write_back{slot, index});
}

void free_slot(fetch_state &s, const fetch_out &out, const fetch_ack &ack)
{
#pragma HLS INLINE
    forward_write(s.freed, ack.slot, ack.phase);
    forget(s, ack.slot);
    out.wipe.write(ack.slot);
    s.wipes_sent++;
    for (unsigned i = 0; i < fetch_removes; i++) {
#pragma HLS UNROLL
        fetch_removing &r = s.removing[i];
        if (r.step == remove_mapped && r.slot == ack.slot) {
            r.step = remove_wiping;
            r.wipes = s.wipes_sent;
        }
    }
}

/* Second cycle of an ack (hazard FREE_RACE). True if it began a write-back. */
bool settle_ack(fetch_state &s, const fetch_out &out)
{
#pragma HLS INLINE
    const fetch_ack &ack = s.ack;
    if (!ack.valid || out.to_tracker.full() || out.to_finish.full() || out.wipe.full())
        return false;
    const bool given = s.last_given && s.last_given_slot == ack.slot;
    const bool back = s.last_released && s.last_released_slot == ack.slot;
    const bool idle = (ack.zero && !given) || (ack.one && back && !given);
    const bool again = idle && (!ack.untouched);
    if (again)
        begin_write_back(s, out, ack.slot, ack.index, ack.taken);
    else
        forward_write(s.ended, ack.slot, forward_read<1>(s.begun, ack.slot));
    if (idle && !again)
        free_slot(s, out, ack);
    s.ack.valid = false;
    return again;
}

/* First cycle: what the memories say of the slot, before the packet and the release of this cycle. Again while it cannot settle. */
void read_ack(fetch_state &s, const fetch_in &in)
{
#pragma HLS INLINE
    if (!s.ack.valid) {
        if (in.acks.empty())
            return;
        in.acks.read();
        s.ack.slot = s.writing[s.writing_from];
        s.writing_from = (s.writing_from + 1) & slot_mask;
        s.writing_count--;
    }
    const slot_owner owner = forward_read<2>(s.owner, s.ack.slot);
    const uint32_t taken = forward_read<2>(s.taken, s.ack.slot);
    const uint32_t in_flight = taken - forward_read<1>(s.released, s.ack.slot);
    s.ack.valid = true;
    s.ack.index = owner.index;
    s.ack.phase = owner.phase;
    s.ack.taken = taken;
    s.ack.zero = in_flight == 0;
    s.ack.one = in_flight == 1;
    s.ack.untouched = taken == forward_read<0>(s.marked, s.ack.slot);
}

/* A packet has come back, or the host lets go of a pinned slot. */
void take_release(fetch_state &s, const fetch_in &in, const fetch_out &out, bool port_taken)
{
#pragma HLS INLINE
    s.last_released = false;
    if (port_taken || out.to_tracker.full() || out.to_finish.full())
        return;
    uint16_t slot;
    if (s.pin_held && s.have_command && s.command.kind == fetch_keys_end) {
        slot = s.pin_slot;
        s.pinned = false;
        s.pin_held = false;
        s.have_command = false;
        s.reply_keys_end = true;
    } else if (!in.releases.empty()) {
        slot = in.releases.read().slot & slot_mask;
        s.in_flight--;
        if (s.pinned && !s.pin_held && slot == s.pin_slot && forward_read<0>(s.released, slot) + 1 == s.pin_release) {
            s.pin_held = true;
            s.reply_keys = true;
            return;
        }
    } else {
        return;
    }
    const uint32_t released = forward_read<0>(s.released, slot) + 1;
    const uint32_t taken = forward_read<1>(s.taken, slot);
    const bool begun = forward_read<0>(s.begun, slot);
    forward_write(s.released, slot, released);
    s.last_released = true;
    s.last_released_slot = slot;
    if (released == taken && begun == forward_read<0>(s.ended, slot)) {
        forward_write(s.begun, slot, !begun);
        begin_write_back(s, out, slot, forward_read<1>(s.owner, slot).index, taken);
    }
}

/* The session gets a work item: in its slot, or in a new one that is filled from memory. */
void give(fetch_state &s, const fetch_out &out, found_slot found, work item)
{
#pragma HLS INLINE
    s.in_flight++;
    item.fill = !found.mapped;
    item.slot = found.slot;
    if (item.fill) {
        item.slot = s.ready[s.ready_from];
        s.ready_from = (s.ready_from + 1) % fetch_ready;
        s.ready_count--;
        forward_write(s.owner, item.slot, slot_owner{item.index, !forward_read<1>(s.freed, item.slot)});
        remember(s, item.index, item.slot);
        out.reads.write(item.index);
    }
    const uint32_t taken = forward_read<0>(s.taken, item.slot) + 1;
    forward_write(s.taken, item.slot, taken);
    s.last_given = true;
    s.last_given_slot = item.slot;
    if (item.kind == work_keys) {
        s.pinned = true;
        s.pin_slot = item.slot;
        s.pin_index = item.index;
        s.pin_release = taken;
    }
    out.work_items.write(item);
}

bool leaving(const fetch_state &s, uint32_t index)
{
#pragma HLS INLINE
    bool is = s.reset == reset_draining || s.reset == reset_wiping;
    if (s.removals == 0)
        return is;
    for (unsigned i = 0; i < fetch_removes; i++) {
#pragma HLS UNROLL
        is = is || (s.removing[i].step >= remove_mapped && s.removing[i].index == index);
    }
    return is;
}

/* So many lookups have been read. */
bool reached(const fetch_state &s, uint32_t after)
{
    return static_cast<int32_t>(s.looked - after) >= 0;
}

/* A removal whose packets are all in. */
bool next_removal(const fetch_state &s, unsigned &which)
{
#pragma HLS INLINE
    bool there = false;
    if (s.removals == 0)
        return false;
    for (unsigned i = 0; i < fetch_removes; i++) {
#pragma HLS UNROLL
        if (s.removing[i].step == remove_counting && reached(s, s.removing[i].after)) {
            there = true;
            which = i;
        }
    }
    return there;
}

/* The session is in a slot, or it was in one that is being wiped at most. */
void begin_removal(fetch_state &s, fetch_removing &r, found_slot found)
{
#pragma HLS INLINE
    r.step = found.mapped ? remove_mapped : remove_wiping;
    r.slot = found.slot;
    r.wipes = s.wipes_sent;
}

work packet_item(fetch_state &s, const lookup_result &looked)
{
#pragma HLS INLINE
    s.looked++;
    work item = {};
    item.kind = work_packet;
    item.what = looked.what;
    item.rule = looked.rule;
    item.index = looked.session & (sessions_max - 1);
    item.session = looked.what == action_session_forward || looked.what == action_session_transcode;
    if (item.session && leaving(s, item.index)) {
        item.session = false;
        item.what = action_punt;
        item.rule = rules_max;
    }
    return item;
}

work keys_item(const fetch_command &command)
{
#pragma HLS INLINE
    work item = {};
    item.kind = work_keys;
    item.what = action_drop;
    item.rule = rules_max;
    item.index = command.index & (sessions_max - 1);
    item.session = true;
    item.key_set = command.set;
    return item;
}

/* The one look into slot_of in this cycle: for a command if there is one, else for a packet. */
void take_work(fetch_state &s, const fetch_in &in, const fetch_out &out)
{
#pragma HLS INLINE
    s.last_given = false;
    const bool room =
        (s.room >> (fetch_depth - 1) & 1) != 0 && s.in_flight < fetch_in_flight && !out.work_items.full() && !out.reads.full();
    unsigned which = 0;
    const bool removal = next_removal(s, which);
    const bool keys = !removal && room && s.have_command && s.command.kind == fetch_keys && !s.pinned;
    const bool packet = !removal && !keys && room && !in.lookups.empty();
    if (!removal && !keys && !packet)
        return;

    work item = {};
    if (packet)
        item = packet_item(s, in.lookups.read());
    if (keys)
        item = keys_item(s.command);
    const found_slot found = look_up(s, removal ? s.removing[which].index : item.index);
    if (keys)
        s.have_command = false;
    if (removal)
        begin_removal(s, s.removing[which], found);
    else if (item.session)
        give(s, out, found, item);
    else
        out.work_items.write(item);
}

void take_command(fetch_state &s, const fetch_in &in)
{
#pragma HLS INLINE
    if (!s.have_command) {
        if (s.reset != reset_none || in.commands.empty())
            return;
        s.command = in.commands.read();
        s.have_command = true;
    }
    if (s.command.kind == fetch_remove) {
        for (unsigned i = 0; i < fetch_removes; i++) {
#pragma HLS UNROLL
            if (s.have_command && s.removing[i].step == remove_none) {
                s.removing[i] = fetch_removing{remove_counting, s.command.index & (sessions_max - 1), s.command.after, 0, 0};
                s.removals++;
                s.have_command = false;
            }
        }
    } else if (s.command.kind == fetch_reset) {
        s.reset = reset_counting;
        s.reset_after = s.command.after;
        s.reset_sent = 0;
        s.reset_answered = 0;
        s.have_command = false;
    } else if (s.command.kind == fetch_keys_end && !s.pinned) { /* nothing to let go of */
        s.reply_keys_end = true;
        s.have_command = false;
    }
}

void step_reset(fetch_state &s, const fetch_out &out)
{
#pragma HLS INLINE
    if (s.reset == reset_counting && reached(s, s.reset_after)) {
        s.reset = reset_draining;
    } else if (s.reset == reset_draining && free_slots(s) == slots) {
        s.reset = reset_wiping;
    } else if (s.reset == reset_wiping && s.reset_sent < slots && !out.wipe.full()) {
        out.wipe.write(s.reset_sent);
        s.reset_sent++;
        s.wipes_sent++;
    }
}

/* At most one reply a cycle. */
void reply(fetch_state &s, const fetch_out &out)
{
#pragma HLS INLINE
    if (out.replies.full())
        return;
    if (s.reply_keys) {
        s.reply_keys = false;
        out.replies.write(fetch_reply{fetch_keys, s.pin_index});
        return;
    }
    if (s.reply_keys_end) {
        s.reply_keys_end = false;
        out.replies.write(fetch_reply{fetch_keys_end, s.pin_index});
        return;
    }
    if (s.removals == 0 && s.reset != reset_wiping)
        return;
    bool replied = false;
    for (unsigned i = 0; i < fetch_removes; i++) {
#pragma HLS UNROLL
        fetch_removing &r = s.removing[i];
        if (!replied && r.step == remove_wiping && static_cast<int32_t>(s.wipes_answered - r.wipes) >= 0) {
            r.step = remove_none;
            s.removals--;
            out.replies.write(fetch_reply{fetch_remove, r.index});
            replied = true;
        }
    }
    if (!replied && s.reset == reset_wiping && s.reset_answered == slots) {
        s.reset = reset_none;
        out.replies.write(fetch_reply{fetch_reset, 0});
    }
}

/* The room that a packet needs is asked for fetch_depth cycles before it takes the slot. */
void note_room(fetch_state &s)
{
#pragma HLS INLINE
    s.room = s.room << 1 | (s.ready_count > fetch_depth ? 1u : 0u);
}

} // namespace

void fetch(fetch_state &s, const fetch_in &in, const fetch_out &out)
{
#pragma HLS PIPELINE II = 1
#pragma HLS ARRAY_PARTITION variable = s.recent complete
#pragma HLS ARRAY_PARTITION variable = s.ready complete
#pragma HLS ARRAY_PARTITION variable = s.removing complete
#pragma HLS DEPENDENCE variable = s.slot_of inter false
#pragma HLS DEPENDENCE variable = s.owner.cell inter false
#pragma HLS DEPENDENCE variable = s.freed.cell inter false
#pragma HLS DEPENDENCE variable = s.taken.cell inter false
#pragma HLS DEPENDENCE variable = s.released.cell inter false
#pragma HLS DEPENDENCE variable = s.marked.cell inter false
#pragma HLS DEPENDENCE variable = s.begun.cell inter false
#pragma HLS DEPENDENCE variable = s.ended.cell inter false
    take_wiped(s, in);
    const bool port_taken = settle_ack(s, out);
    read_ack(s, in);
    take_command(s, in);
    take_release(s, in, out, port_taken);
    take_work(s, in, out);
    step_reset(s, out);
    reply(s, out);
    ready_slot(s);
    note_room(s);
}

} // namespace card
