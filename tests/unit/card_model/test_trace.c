/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generator, model and receiver against each other: what leaves the model opens at the far end as what was sealed at the near one,
 * sessions live unless somebody forges, and every sort of packet, every reason to punt and every event really occurs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace.h"

struct tally {
    uint64_t forwarded, dropped, illegal;
    uint64_t reasons[model_reason_end], events[model_event_end];
    uint64_t mirrored, verified, bad;
};

/* RFC 8446 section 5.4 has it that a record's text holds its content type: the mirror says the same. */
static void tally_output(struct tally *y, const struct model_output *out)
{
    y->forwarded += out->verdict == model_verdict_forward;
    y->dropped += out->verdict == model_verdict_drop;
    y->illegal += out->illegal;
    if (out->verdict == model_verdict_punt)
        y->reasons[out->punt.reason]++;
    for (size_t i = 0; i < out->events_count; i++)
        y->events[out->events[i].kind]++;
    for (size_t i = 0; i < out->mirrors_count; i++) {
        y->mirrored += out->mirrors[i].bytes;
        y->verified += out->mirrors[i].verdict == model_mirror_verified;
        y->bad += out->mirrors[i].verdict == model_mirror_bad;
    }
}

static bool is_death(const struct model_event *e)
{
    return e->kind == model_event_bad_record || e->kind == model_event_bad_tag || e->kind == model_event_unexpected;
}

/* An engine that is deep: packets may be on their way when a KeyUpdate or the death of their session is found out. Which session
 * that was last, and when. */
struct deep {
    bool on;
    uint32_t session, packets; /* that may still be squashed */
};

static bool is_squashed(struct deep *d, const struct model_lane *lane, const struct trace_item *item)
{
    const struct model_headers h = model_parse(item->frame, item->bytes, item->port_error);
    uint32_t index;
    if (!d->on || d->packets == 0 || item->session != d->session)
        return false;
    return h.reason == model_reason_none && h.payload_bytes > 0 && d->packets-- % 3 != 0 &&
           model_session_find(lane, &h.flow, &index) && index == item->index;
}

static void run_frame(struct model_lane *lane, struct trace *t, const struct trace_item *item, struct deep *d,
                      struct model_output *out)
{
    const struct model_input in = {
        .frame = item->frame, .bytes = item->bytes, .port_error = item->port_error, .squashed = is_squashed(d, lane, item)};
    model_packet(lane, &in, out);
    if (out->verdict == model_verdict_forward && !item->lost_behind)
        assert_true(trace_forwarded(t, item->session, out->frame, out->frame_bytes));
    if (out->verdict == model_verdict_punt && out->punt.has_session)
        trace_punted(t, item->session, out->punt.reason, item->frame, item->bytes, out->punt.next);
    for (size_t i = 0; i < out->events_count; i++) {
        if (is_death(&out->events[i]))
            assert_true(trace_died(t, item->session));
        if (is_death(&out->events[i]) || out->events[i].kind == model_event_key_update) {
            d->session = item->session;
            d->packets = 6;
        }
    }
}

static void run(uint64_t seed, const struct trace_options *o, const struct model_lane_options *lane_options, bool is_deep,
                struct tally *y, struct trace_statistics *st)
{
    struct deep d = {.on = is_deep};
    struct model_lane *lane = model_lane_new(lane_options);
    struct trace *t = trace_new(seed, o);
    struct model_output out = {0};
    struct trace_item item;
    const struct model_rule rule = {
        .any_proto = true, .sport_min = 20000, .sport_max = 40000, .dport_max = 65535, .action = model_action_forward};
    assert_true(model_rule_set(lane, 3, &rule));
    printf("seed %llu\n", (unsigned long long)seed);
    while (trace_next(t, &item)) {
        switch (item.kind) {
        case trace_add:
            assert_true(model_session_add(lane, item.index, &item.flow, item.action, &item.state));
            break;
        case trace_remove:
            assert_true(model_session_remove(lane, item.index));
            break;
        case trace_keys:
            assert_true(model_session_keys(lane, item.index, item.set, &item.keys));
            break;
        case trace_frame:
            run_frame(lane, t, &item, &d, &out);
            tally_output(y, &out);
            break;
        }
    }
    *st = *trace_statistics_get(t);
    if (getenv("TRACE_PRINT") != NULL) {
        trace_statistics_print(t);
        for (unsigned i = 0; i < model_reason_end; i++)
            printf("reason %u: %llu\n", i, (unsigned long long)y->reasons[i]);
        for (unsigned i = 0; i < model_event_end; i++)
            printf("event %u: %llu\n", i, (unsigned long long)y->events[i]);
        printf("forwarded %llu dropped %llu verified %llu bad %llu\n", (unsigned long long)y->forwarded,
               (unsigned long long)y->dropped, (unsigned long long)y->verified, (unsigned long long)y->bad);
    }
    model_output_free(&out);
    trace_free(t);
    model_lane_free(lane);
}

/* Without impairments nothing is punted but for squashed KeyUpdates and their retransmissions, and every record opens. */
static void test_undisturbed(void **state)
{
    (void)state;
    static const struct trace_options table[] = {
        {.packets = 4000, .only_tls13 = true, .no_key_updates = true},
        {.packets = 4000, .only_tls12 = true},
        {.packets = 4000, .only_tls13 = true, .no_key_updates = true, .segment_max = 1, .record_max = 100, .plain_headers = true},
        {.packets = 4000, .segment_max = 9000, .no_key_updates = true},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct tally y = {0};
        struct trace_statistics st;
        run(100 + i, &table[i], NULL, false, &y, &st);
        assert_int_equal(y.forwarded + y.reasons[model_reason_old], table[i].packets);
        assert_int_equal(st.counts[trace_count_stalled] + st.counts[trace_count_killed], 0);
        assert_int_equal(y.events[model_event_bad_tag] + y.events[model_event_bad_record] + y.events[model_event_unexpected], 0);
        assert_true(y.verified <= st.counts[trace_count_records]);
        assert_true(st.counts[trace_count_opened] >= y.verified);
        assert_true(st.counts[trace_count_opened] > 20);
    }
}

/* The order of the run does not matter, the seed does. */
static void test_deterministic(void **state)
{
    (void)state;
    const struct trace_options o = trace_options_harsh(20, 3000);
    struct tally y[3] = {0};
    struct trace_statistics st[3];
    run(7, &o, NULL, false, &y[0], &st[0]);
    run(7, &o, NULL, false, &y[1], &st[1]);
    run(8, &o, NULL, false, &y[2], &st[2]);
    assert_memory_equal(&y[0], &y[1], sizeof y[0]);
    assert_memory_equal(&st[0], &st[1], sizeof st[0]);
    assert_memory_not_equal(&st[0], &st[2], sizeof st[0]);
}

/* V: everything at once; nothing that a sender sealed comes out as something else, and everything is really met with. */
static void test_harsh(void **state)
{
    (void)state;
    const struct trace_options o = trace_options_harsh(50, 80000);
    struct tally y = {0};
    struct trace_statistics st;
    run(1, &o, NULL, false, &y, &st);
    for (unsigned i = 0; i < trace_sort_end; i++)
        if (st.sorts[i] < 10)
            fail_msg("only %llu packets of the sort %s", (unsigned long long)st.sorts[i], trace_sort_name(i));
    for (unsigned i = 0; i < trace_count_end; i++)
        if (st.counts[i] < 10 && i != trace_count_stalled)
            fail_msg("only %llu: %s", (unsigned long long)st.counts[i], trace_count_name(i));
    assert_int_equal(st.counts[trace_count_stalled], 0);
    assert_int_equal(y.illegal, 0);
    for (unsigned i = 1; i < model_reason_end; i++) {
        const bool exists =
            i <= model_reason_port_error || (i >= model_reason_rule && i <= model_reason_protocol) || i >= model_reason_tcp_control;
        if (exists && i != model_reason_seal_limit && y.reasons[i] < 5)
            fail_msg("only %llu packets punted for reason %u", (unsigned long long)y.reasons[i], i);
    }
    for (unsigned i = 1; i < model_event_end; i++)
        if (y.events[i] < 3)
            fail_msg("only %llu events of kind %u", (unsigned long long)y.events[i], i);
}

/* Packets squashed because they were on their way, as a pipeline may: TCP repairs it. */
static void test_deep(void **state)
{
    (void)state;
    struct trace_options o = trace_options_harsh(20, 40000);
    o.only_tls13 = true;
    struct tally y = {0};
    struct trace_statistics st;
    run(11, &o, NULL, true, &y, &st);
    assert_int_equal(y.illegal, 0);
    assert_int_equal(st.counts[trace_count_stalled], 0);
    assert_true(y.events[model_event_squashed] > st.counts[trace_count_key_updates_followed] + 20);
}

/* G3: the seal key is used up. */
static void test_seal_limit(void **state)
{
    (void)state;
    const struct trace_options o = {.packets = 3000, .record_max = 50, .segment_max = 1460};
    const struct model_lane_options lane = {.seal_limit = 600};
    struct tally y = {0};
    struct trace_statistics st;
    run(5, &o, &lane, false, &y, &st);
    assert_true(y.reasons[model_reason_seal_limit] > 10);
    assert_true(y.forwarded > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_undisturbed), cmocka_unit_test(test_deterministic), cmocka_unit_test(test_harsh),
        cmocka_unit_test(test_deep),        cmocka_unit_test(test_seal_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
