// SPDX-License-Identifier: Apache-2.0
/*
 * The simulated card through XRT's native C API. Each case is a host in a process group of its own (host.c): this process never
 * touches XRT, which takes over signal handlers and ends its process group when a device dies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hosts.h"

enum { HOSTS = 8, SMOKES = 50 };

static void begin(struct host *host, const char *name, const char *xclbin)
{
    host_begin(host, SLUICE_XRT_HOST, name, SLUICE_XRT_TREE, xclbin);
}

static int run(const char *name)
{
    return host_run(SLUICE_XRT_HOST, name, SLUICE_XRT_TREE, SLUICE_XRT_XCLBIN);
}

/* First of all: says in words what is wrong with this system's XRT, if something is. */
static void test_repair(void **state)
{
    (void)state;
    assert_int_equal(access("/proc/self/fd", X_OK), 0);
    if (run("repair") != 0)
        fail_msg("XRT's software emulation doesn't work here; its words are above. Debian's libxrt1 202210.2.13.466 is expected "
                 "(scripts/install-deps), and sim/xrt/repair.h tells what is repaired in it");
}

static void test_smoke(void **state)
{
    (void)state;
    for (int i = 0; i < SMOKES; i++)
        assert_int_equal(run("smoke"), 0);
}

/* Cases that end well: each checks what it says in host.c. */
static void test_case(void **state)
{
    assert_int_equal(run(*state), 0);
}

/* Cases after which XRT's shim ends the host's process group: by SIGTERM when it notices first that its child is dead, by SIGABRT
   when first a read fails; then its own handler may turn that into an exit. */
static void test_end_of_host(void **state)
{
    setenv("SLUICE_XRT_CRASH_GRACE_MS", "300", 1);
    int status = run(*state);
    unsetenv("SLUICE_XRT_CRASH_GRACE_MS");
    assert_true(status != 0 && !host_failed(status));
}

/* Cases in which the host notices by itself that the device has left, or is ended like that when a call was under way just then. */
static void test_left(void **state)
{
    assert_false(host_failed(run(*state)));
}

static void test_many_hosts(void **state)
{
    struct host hosts[HOSTS];
    int status[HOSTS];
    (void)state;
    for (int i = 0; i < HOSTS; i++)
        begin(&hosts[i], i % 2 ? "cycles" : "resident", SLUICE_XRT_XCLBIN);
    for (int i = 0; i < HOSTS; i++)
        status[i] = host_end(&hosts[i]);
    for (int i = 0; i < HOSTS; i++)
        assert_int_equal(status[i], 0);
}

/* A host that is killed: its devices notice and go. */
static void test_killed_host(void **state)
{
    struct host host;
    (void)state;
    begin(&host, "wait", SLUICE_XRT_XCLBIN);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    kill(host.pid, SIGKILL);
    int status = host_end(&host);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static int make_xclbin(const char *description, const char *kernels, const char *output)
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl(SLUICE_XCLBIN, SLUICE_XCLBIN, description, kernels, output, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    return status;
}

static void load_must_fail(const char *description, const char *kernels)
{
    struct host host;
    char path[4096];
    assert_int_equal(make_xclbin(description, kernels, "bad.xclbin"), 0);
    assert_non_null(realpath("bad.xclbin", path));
    begin(&host, "bad-xclbin", path);
    int status = host_end(&host);
    unlink("bad.xclbin");
    assert_int_equal(status, 0);
}

/* The kernels are no shared object, or one without a kernel of that name: the load fails, and nothing else does. */
static void test_bad_xclbin(void **state)
{
    static const char other[] = "{\"platform\": \"p\", \"memory\": [{\"name\": \"m\"}], \"kernels\": [{\"name\": \"other\", "
                                "\"arguments\": [], \"units\": [{\"name\": \"other_1\", \"base\": \"0x1800000\"}]}]}";
    (void)state;
    load_must_fail(SLUICE_XRT_TEST_JSON, SLUICE_XRT_TEST_JSON);
    FILE *file = fopen("other.json", "we");
    assert_true(file && fputs(other, file) >= 0 && fclose(file) == 0);
    load_must_fail("other.json", SLUICE_XRT_KERNELS);
    unlink("other.json");
}

/* Descriptions that sluice-xclbin refuses, with a line that says why, and without an output. */
static void test_bad_description(void **state)
{
#define DESCRIPTION(memory, kernel) "{\"platform\": \"p\", \"memory\": [" memory "], \"kernels\": [" kernel "]}"
#define BANK                        "{\"name\": \"m\"}"
#define UNIT                        "\"units\": [{\"name\": \"u\", \"base\": \"0x10000\"}]}"
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        DESCRIPTION("", "{\"name\": \"k\", " UNIT),
        DESCRIPTION(BANK, ""),
        DESCRIPTION(BANK, "{\"name\": \"k<\", " UNIT),
        DESCRIPTION("{\"name\": \"m\", \"type\": \"TAPE\"}", "{\"name\": \"k\", " UNIT),
        DESCRIPTION(BANK, "{\"name\": \"k\", \"range\": 63, " UNIT),
        DESCRIPTION(BANK, "{\"name\": \"k\", \"range\": 64, \"arguments\": [{\"name\": \"a\", \"type\": \"uint*\"}, {\"name\": "
                          "\"b\", \"type\": \"uint*\"}, {\"name\": \"c\", \"type\": \"uint*\"}, {\"name\": \"d\", \"type\": "
                          "\"uint*\"}, {\"name\": \"e\", \"type\": \"uint*\"}], " UNIT),
        DESCRIPTION(BANK, "{\"name\": \"k\", \"arguments\": [{\"name\": \"a\", \"type\": \"float\"}], " UNIT),
        DESCRIPTION(BANK, "{\"name\": \"k\", \"arguments\": [{\"name\": \"a\", \"type\": \"uint*\", \"memory\": \"n\"}], " UNIT),
        DESCRIPTION(BANK, "{\"name\": \"k\", \"units\": [{\"name\": \"u\", \"base\": \"0x10001\"}]}"),
        DESCRIPTION(BANK, "{\"name\": \"k\", \"free_running\": true, " UNIT),
        DESCRIPTION(BANK, "{\"name\": \"k\", " UNIT ", {\"name\": \"f\", \"free_running\": true, \"arguments\": [{\"name\": \"a\", "
                          "\"type\": \"uint\"}], \"units\": [{\"name\": \"v\"}]}"),
        DESCRIPTION(BANK,
                    "{\"name\": \"k\", \"arguments\": [{\"name\": \"a\", \"type\": \"uint*\"}], \"units\": [{\"name\": \"u\", "
                    "\"base\": \"0x10000\", \"memory\": {\"a\": \"n\"}}]}"),
        DESCRIPTION(BANK, "{\"name\": \"k\", \"units\": [{\"name\": \"u\", \"base\": \"0x10000\"}, {\"name\": \"v\", \"base\": "
                          "65536}]}"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        FILE *file = fopen("bad.json", "we");
        assert_true(file && fputs(texts[i], file) >= 0 && fclose(file) == 0);
        int status = make_xclbin("bad.json", SLUICE_XRT_KERNELS, "bad.xclbin");
        unlink("bad.json");
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        assert_int_not_equal(access("bad.xclbin", F_OK), 0);
    }
}

int main(int count, char **arguments)
{
#define CASE(name) cmocka_unit_test_prestate(test_case, (void *)(uintptr_t)(name))
#define END(name)  cmocka_unit_test_prestate(test_end_of_host, (void *)(uintptr_t)(name))
#define LEFT(name) cmocka_unit_test_prestate(test_left, (void *)(uintptr_t)(name))
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repair),
        cmocka_unit_test(test_smoke),
        CASE("cycles"),
        CASE("large"),
        CASE("resident"),
        CASE("abandon"),
        CASE("reload"),
        CASE("two-units"),
        CASE("two-devices"),
        CASE("fall-null"),
        CASE("fall-abort"),
        CASE("fall-division"),
        CASE("fall-stack"),
        CASE("crash"),
        CASE("crash-late"),
        CASE("lose"),
        CASE("delay"),
        CASE("flip"),
        LEFT("die-exit"),
        LEFT("die-vanish"),
        CASE("control-file"),
        END("die-kill"),
        END("die-load"),
        END("crash-wait"),
        cmocka_unit_test(test_bad_xclbin),
        cmocka_unit_test(test_bad_description),
        cmocka_unit_test(test_killed_host),
        cmocka_unit_test(test_many_hosts),
    };
    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    hosts_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
