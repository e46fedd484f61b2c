/* SPDX-License-Identifier: Apache-2.0 */
/* The contract beside the packets (engine_commands.h) held by the engine on rings, with the kernels themselves behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine_commands.h"
#include "native_link.h"

/* The kernels are never gone, but they may be slow. */
enum { NEVER_MS = 1000000 };

static struct sl_engine *open_link(const struct engine_opener *self, uint32_t sessions)
{
    const struct sl_engine_options options = {.sessions = sessions, .dead_after_ms = NEVER_MS};
    struct sl_engine *e;
    assert_int_equal(sl_engine_open_link(native_link_new(self->arg), &options, &e, NULL), SL_OK);
    return e;
}

/* Rings of a usual size, and so small that everything waits for everything. */
static struct native_link_options usual = {.sessions = 64, .ring_lines = 1024},
                                  narrow = {.sessions = 64, .command_entries = 64, .event_entries = 16, .ring_lines = 256};
static const struct engine_opener kernels = {.open = open_link, .arg = &usual, .frames = 1500},
                                  kernels_narrow = {.open = open_link, .arg = &narrow, .frames = 400};

int main(void)
{
    const struct CMUnitTest tests[] = {ENGINE_COMMANDS(&kernels), ENGINE_COMMANDS(&kernels_narrow)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
