/* SPDX-License-Identifier: Apache-2.0 */
/* The xrt engine on the simulated card, opened and closed again and again, and many at once: nothing of them stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "card/numbers.h"
#include "engine_commands.h"
#include "engine_traces.h"
#include "trace_frame.h"
#include "xrt_lab.h"

/* SILENCE_MS: two dozen cards, each with two processes that poll, share this machine with other tests: that is no death. */
enum { CYCLES = 1000, AT_ONCE = 24, SILENCE_MS = 300000 };

/* Without a session, by the default of lane 0's rules. */
static void forward_one(struct sl_engine *e)
{
    static uint8_t bytes[trace_frame_room];
    const struct sl_engine_command c = {.op = SL_ENGINE_DEFAULT, .action = SL_CARD_FORWARD};
    const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)engine_packet(bytes, 1, 16, 0, "x", 1)};
    assert_int_equal(engine_do(e, &c), SL_OK);
    engine_give(e, &f);
    const struct sl_engine_result r = engine_next(e);
    assert_int_equal(r.kind, SL_FRAME_TX);
    assert_int_equal(r.count, f.count);
    assert_memory_equal(r.bytes, bytes, f.count);
}

/* A thousand engines, one after the other, each of which carries a frame; and a few dozen at once. Nothing of them stays. */
static void test_cycles(void **state)
{
    (void)state;
    struct engine_under_test t;
    engine_traces_measure(&t, true);
    const unsigned cycles = t.seeds < 8 ? CYCLES / 10 : CYCLES; /* with sanitizers */
    for (unsigned i = 0; i < cycles; i++) {
        struct sl_engine *e = xrt_lab_open(&(struct sl_engine_options){.sessions = 64});
        forward_one(e);
        sl_engine_close(e);
    }
    xrt_lab_await_none();
}

static void test_many_at_once(void **state)
{
    (void)state;
    struct sl_engine *e[AT_ONCE];
    for (unsigned i = 0; i < AT_ONCE; i++)
        e[i] = xrt_lab_open(&(struct sl_engine_options){.sessions = 64, .dead_after_ms = SILENCE_MS});
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < AT_ONCE; i++)
            forward_one(e[i]);
    for (unsigned i = 0; i < AT_ONCE; i++)
        sl_engine_close(e[i]);
    xrt_lab_await_none();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cycles),
        cmocka_unit_test(test_many_at_once),
    };
    return cmocka_run_group_tests(tests, xrt_lab_begin, xrt_lab_end);
}
