// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"

static void count(void *context, const struct memory_buffer *buffer)
{
    (void)buffer;
    ++*(size_t *)context;
}

/* What one side writes the other sees, as the host does by the file's name. */
static void test_shared(void **state)
{
    struct memory memory;
    char name[MEMORY_NAME];
    (void)state;
    memory_init(&memory);
    assert_true(memory_add(&memory, 0x1000, 5000, name));
    int fd = open(name, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    uint8_t *other = mmap(NULL, 5000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(other, MAP_FAILED);
    close(fd);
    assert_int_equal(other[4999], 0);
    assert_true(memory_write(&memory, 0x1000 + 4998, "ab", 2));
    assert_memory_equal(other + 4998, "ab", 2);
    other[0] = 7;
    assert_int_equal(*memory_at(&memory, 0x1000, 5000), 7);
    munmap(other, 5000);
    memory_clear(&memory);
}

static void test_ranges(void **state)
{
    static const struct {
        uint64_t address, size;
        bool inside;
    } ranges[] = {
        {0x1000, 1, true},           {0x1000, 0x1000, true}, {0x1fff, 1, true},      {0x2000, 1, false},
        {0xfff, 1, false},           {0xfff, 2, false},      {0x1fff, 2, false},     {0x1001, 0x1000, false},
        {0x1000, UINT64_MAX, false}, {UINT64_MAX, 1, false}, {UINT64_MAX, 2, false}, {0x1800, UINT64_MAX - 0x1000, false},
        {0x1000, 0, true},
    };
    struct memory memory;
    char name[MEMORY_NAME];
    (void)state;
    memory_init(&memory);
    assert_true(memory_add(&memory, 0x1000, 0x1000, name));
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        assert_int_equal(memory_at(&memory, ranges[i].address, ranges[i].size) != NULL, ranges[i].inside);
        if (!ranges[i].inside)
            assert_false(memory_write(&memory, ranges[i].address, "", ranges[i].size));
    }
    assert_false(memory_add(&memory, 0x1fff, 1, name));
    assert_false(memory_add(&memory, 0xfff, 2, name));
    assert_false(memory_add(&memory, 0x5000, 0, name));
    assert_false(memory_add(&memory, UINT64_MAX, 2, name));
    assert_true(memory_add(&memory, 0x2000, 1, name));
    assert_false(memory_remove(&memory, 0x1001));
    assert_true(memory_remove(&memory, 0x1000));
    assert_false(memory_remove(&memory, 0x1000));
    assert_null(memory_at(&memory, 0x1000, 1));
    assert_non_null(memory_at(&memory, 0x2000, 1));
    memory_clear(&memory);
}

/* Many buffers come and go; no descriptor stays. */
static void test_many(void **state)
{
    struct memory memory;
    char name[MEMORY_NAME];
    size_t seen = 0;
    (void)state;
    int before = dup(0);
    close(before);
    memory_init(&memory);
    for (uint64_t round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 200; i++)
            assert_true(memory_add(&memory, i * 0x1000, 0x1000, name));
        for (uint64_t i = 0; i < 200; i += 2)
            assert_true(memory_remove(&memory, i * 0x1000));
        for (uint64_t i = 1; i < 200; i += 2)
            assert_true(memory_remove(&memory, i * 0x1000));
    }
    memory_each(&memory, count, &seen);
    assert_int_equal(seen, 0);
    assert_true(memory_add(&memory, 0, 1, name));
    memory_each(&memory, count, &seen);
    assert_int_equal(seen, 1);
    memory_clear(&memory);
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shared), cmocka_unit_test(test_ranges), cmocka_unit_test(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
