/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/secret.h"

/* The sanitizers turn mlock() into nothing and say that it worked. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOCKS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LOCKS 0
#endif
#endif
#ifndef LOCKS
#define LOCKS 1
#endif

static bool is_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

static void blocks_are_zero_and_aligned(void **state)
{
    static const size_t lengths[] = {1, 63, 64, 65, 128, 1000, 4096, 4097, 16383, SL_SECRET_MAX};

    (void)state;
    for (int round = 0; round < 3; round++) {
        uint8_t *blocks[sizeof(lengths) / sizeof(lengths[0])];
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
            void *block;
            assert_int_equal(sl_secret_alloc(lengths[i], &block), SL_OK);
            assert_int_equal((uintptr_t)block % 64, 0);
            assert_true(is_zero(block, lengths[i]));
            memset(block, 0xa5, lengths[i]);
            blocks[i] = block;
        }
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
            sl_secret_free(blocks[i]);
    }
    sl_secret_free(NULL);
}

static void bad_lengths(void **state)
{
    static const size_t lengths[] = {0, SL_SECRET_MAX + 1, SIZE_MAX};
    void *out = state;

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        assert_int_equal(sl_secret_alloc(lengths[i], &out), SL_ERR_INVALID);
    assert_ptr_equal(out, state);
}

static void statistics(void **state)
{
    struct sl_secret_stats before = sl_secret_stats(), during, after;
    void *a, *b;

    (void)state;
    assert_int_equal(sl_secret_alloc(65, &a), SL_OK);
    assert_int_equal(sl_secret_alloc(64, &b), SL_OK);
    during = sl_secret_stats();
    assert_int_equal(during.blocks, before.blocks + 2);
    assert_int_equal(during.bytes_in_use, before.bytes_in_use + 128 + 64);
    assert_true(during.bytes_reserved >= during.bytes_in_use);
    assert_true(during.bytes_locked <= during.bytes_reserved);
    sl_secret_free(a);
    sl_secret_free(b);
    after = sl_secret_stats();
    assert_int_equal(after.blocks, before.blocks);
    assert_int_equal(after.bytes_in_use, before.bytes_in_use);
}

/* A hundred thousand blocks (a gateway with 25,000 connections) at once; all different, all given back, and the memory with them.
 */
static void many_blocks(void **state)
{
    enum { BLOCKS = 120000 };
    uint32_t **blocks = calloc(BLOCKS, sizeof(uint32_t *));
    size_t reserved = sl_secret_stats().bytes_reserved;

    (void)state;
    assert_non_null(blocks);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        void *block;
        assert_int_equal(sl_secret_alloc(i % 8 ? 64 : 300, &block), SL_OK);
        blocks[i] = block;
        *blocks[i] = i;
    }
    for (uint32_t i = 0; i < BLOCKS; i += 2) {
        assert_int_equal(*blocks[i], i);
        sl_secret_free(blocks[i]);
    }
    for (uint32_t i = 1; i < BLOCKS; i += 2) {
        assert_int_equal(*blocks[i], i);
        sl_secret_free(blocks[i]);
    }
    assert_true(sl_secret_stats().bytes_reserved <= reserved + 2 * 65536);
    free(blocks);
}

/* The flags that the kernel reports for the mapping of an address: " dd wf lo ...". */
static void mapping_flags(const void *address, char flags[static 256])
{
    FILE *smaps = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false;

    assert_non_null(smaps);
    flags[0] = '\0';
    while (fgets(line, sizeof(line), smaps)) {
        unsigned long long from, to;
        if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
            inside = (uintptr_t)address >= from && (uintptr_t)address < to;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            snprintf(flags, 256, "%.250s", line + 8);
    }
    fclose(smaps);
}

/* C2: not in core dumps; not in swap; not in a forked child. */
static void pages_are_guarded(void **state)
{
    struct sl_secret_stats stats;
    char flags[256];
    void *block;

    (void)state;
    assert_int_equal(sl_secret_alloc(100, &block), SL_OK);
    mapping_flags(block, flags);
    stats = sl_secret_stats();
    assert_non_null(strstr(flags, " dd"));
    assert_non_null(strstr(flags, " wf"));
    if (LOCKS && stats.bytes_locked == stats.bytes_reserved)
        assert_non_null(strstr(flags, " lo"));
    sl_secret_free(block);
}

/* Runs act in a child and returns its wait status. */
static int in_child(void (*act)(void *arg), void *arg)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        act(arg);
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void use_after_fork(void *arg)
{
    void *block = NULL;

    if (!is_zero(arg, 100) || sl_secret_alloc(100, &block) != SL_OK || block == arg)
        _exit(1);
    memset(block, 1, 100);
    sl_secret_free(arg);
    sl_secret_free(block);
}

static void a_child_finds_no_secret(void **state)
{
    void *block;

    (void)state;
    assert_int_equal(sl_secret_alloc(100, &block), SL_OK);
    memset(block, 0x5a, 100);
    assert_int_equal(in_child(use_after_fork, block), 0);
    assert_int_equal(((uint8_t *)block)[99], 0x5a);
    sl_secret_free(block);
}

static void without_the_right_to_lock(void *arg)
{
    struct rlimit none = {0, 0};
    struct sl_secret_stats before, after;
    void *block;
    int ends[2];
    char warning[1024] = "";

    (void)arg;
    if (pipe(ends) != 0 || setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0))
        _exit(1);
    sl_log_configure(ends[1], SL_LOG_WARN, SL_LOG_TEXT);
    before = sl_secret_stats();
    for (int i = 0; i < 50; i++) {
        if (sl_secret_alloc(SL_SECRET_MAX, &block) !=
            SL_OK) /* arenas are never shared with blocks of before: more than one is taken */
            _exit(2);
        memset(block, 1, SL_SECRET_MAX);
    }
    if (!LOCKS)
        _exit(0);
    after = sl_secret_stats();
    if (after.bytes_locked > before.bytes_locked || after.bytes_reserved <= before.bytes_reserved)
        _exit(3);
    close(ends[1]);
    if (read(ends[0], warning, sizeof(warning) - 1) <= 0 || !strstr(warning, "can't be locked"))
        _exit(4);
    if (strchr(warning, '\n') != strrchr(warning, '\n')) /* said once */
        _exit(5);
}

static void works_unlocked(void **state)
{
    (void)state;
    assert_int_equal(in_child(without_the_right_to_lock, NULL), 0);
}

static void quiet_stderr(void)
{
    if (!freopen("/dev/null", "w", stderr))
        _exit(1);
    signal(SIGABRT, SIG_DFL);
}

static void free_twice(void *arg)
{
    void *block;

    (void)arg;
    quiet_stderr();
    if (sl_secret_alloc(64, &block) == SL_OK) {
        sl_secret_free(block);
        sl_secret_free(block);
    }
}

static void free_inside(void *arg)
{
    void *block;

    (void)arg;
    quiet_stderr();
    if (sl_secret_alloc(256, &block) == SL_OK)
        sl_secret_free((uint8_t *)block + 64);
}

static void free_foreign(void *arg)
{
    (void)arg;
    quiet_stderr();
    sl_secret_free(&arg);
}

static void bad_frees_stop_the_process(void **state)
{
    void (*const acts[])(void *) = {free_twice, free_inside, free_foreign};

    (void)state;
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
        int status = in_child(acts[i], NULL);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
    }
}

static void wipe_and_compare(void **state)
{
    uint8_t a[100], b[100];

    (void)state;
    memset(a, 7, sizeof(a));
    memset(b, 7, sizeof(b));
    assert_true(sl_secret_equal(a, b, sizeof(a)));
    assert_true(sl_secret_equal(a, b, 0));
    for (size_t i = 0; i < sizeof(a); i++) {
        b[i] ^= 0x80;
        assert_false(sl_secret_equal(a, b, sizeof(a)));
        b[i] ^= 0x80;
    }
    sl_wipe(a, 50);
    assert_true(is_zero(a, 50));
    assert_int_equal(a[50], 7);
    sl_wipe(NULL, 0);
}

static void harden(void *arg)
{
    struct rlimit core;

    (void)arg;
    if (sl_secret_harden_process() != SL_OK || getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_cur != 0 || core.rlim_max != 0)
        _exit(1);
#if LOCKS /* built without sanitizers: the leak checker needs this */
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
        _exit(2);
#endif
}

static void hardening(void **state)
{
    (void)state;
    assert_int_equal(in_child(harden, NULL), 0);
}

enum { THREADS = 4, ROUNDS = 3000, HELD = 32 };

static void *churn(void *arg)
{
    void *held[HELD] = {NULL};
    unsigned seed = (unsigned)(uintptr_t)arg;
    bool good = true;

    for (int i = 0; i < ROUNDS; i++) {
        int slot = rand_r(&seed) % HELD;
        size_t len = (size_t)(rand_r(&seed) % 2048) + 1;
        sl_secret_free(held[slot]);
        held[slot] = NULL;
        if (sl_secret_alloc(len, &held[slot]) != SL_OK || !is_zero(held[slot], len)) {
            good = false;
            break;
        }
        memset(held[slot], 0xff, len);
    }
    for (int i = 0; i < HELD; i++)
        sl_secret_free(held[i]);
    return good ? arg : NULL;
}

static void threads_share_the_pool(void **state)
{
    size_t blocks = sl_secret_stats().blocks;
    pthread_t threads[THREADS];

    (void)state;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
    for (uintptr_t i = 0; i < THREADS; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, (void *)(i + 1));
    }
    assert_int_equal(sl_secret_stats().blocks, blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_zero_and_aligned),
        cmocka_unit_test(bad_lengths),
        cmocka_unit_test(statistics),
        cmocka_unit_test(many_blocks),
        cmocka_unit_test(pages_are_guarded),
        cmocka_unit_test(a_child_finds_no_secret),
        cmocka_unit_test(works_unlocked),
        cmocka_unit_test(bad_frees_stop_the_process),
        cmocka_unit_test(wipe_and_compare),
        cmocka_unit_test(hardening),
        cmocka_unit_test(threads_share_the_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
