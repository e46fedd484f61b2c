// SPDX-License-Identifier: Apache-2.0
/* The simulated card (sim/card) on its rings, through XRT's native C API. Each case is a host of its own (sluice_host.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hosts.h"

enum { SMOKES = 100, HOSTS = 24 };

static int run(const char *name)
{
    return host_run(SLUICE_XRT_HOST, name, SLUICE_XRT_TREE, SLUICE_XRT_XCLBIN);
}

/* Cases that end well: each checks what it says in sluice_host.c. */
static void test_case(void **state)
{
    assert_int_equal(run(*state), 0);
}

static void test_fresh(void **state)
{
    (void)state;
    for (int i = 0; i < SMOKES; i++)
        assert_int_equal(run("smoke"), 0);
}

/* As many cards at once. */
static void test_many(void **state)
{
    struct host hosts[HOSTS];
    int status[HOSTS];
    (void)state;
    for (int i = 0; i < HOSTS; i++)
        host_begin(&hosts[i], SLUICE_XRT_HOST, i % 2 ? "rest" : "smoke", SLUICE_XRT_TREE, SLUICE_XRT_XCLBIN);
    for (int i = 0; i < HOSTS; i++)
        status[i] = host_end(&hosts[i]);
    for (int i = 0; i < HOSTS; i++)
        assert_int_equal(status[i], 0);
}

#define CASE(name) cmocka_unit_test_prestate(test_case, (void *)(uintptr_t)(name))

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh),
        CASE("view"),
        CASE("rest"),
        CASE("cycles"),
        CASE("small-ring"),
        CASE("small-memory"),
        CASE("odd-sessions"),
        CASE("odd-ring"),
        CASE("short-ring"),
        CASE("wrong-lane"),
        CASE("lose"),
        CASE("delay"),
        CASE("overrun"),
        CASE("stray"),
        CASE("refuse"),
        CASE("flip-command"),
        CASE("flip-frame"),
        CASE("flip-memory"),
        CASE("die-exit"),
        CASE("crash-control"),
        CASE("crash-state"),
        CASE("crash-packets"),
        cmocka_unit_test(test_many),
    };
    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    hosts_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
