/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* A pipe takes the log's place; what was written is read back. */
struct capture {
    int read_fd, write_fd;
    char text[65536];
};

static int setup(void **state)
{
    struct capture *c = calloc(1, sizeof(*c));
    int ends[2];

    if (!c || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return -1;
    c->read_fd = ends[0];
    c->write_fd = ends[1];
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct capture *c = *state;

    sl_log_configure(STDERR_FILENO, SL_LOG_INFO, SL_LOG_TEXT);
    close(c->read_fd);
    close(c->write_fd);
    free(c);
    return 0;
}

/* What was logged since, without the time. */
static const char *logged(struct capture *c, size_t skip)
{
    ssize_t n = read(c->read_fd, c->text, sizeof(c->text) - 1);

    if (n < 0)
        return "";
    c->text[n] = '\0';
    assert_true(strlen(c->text) > skip);
    return c->text + skip;
}

enum { TEXT_TIME = 25 /* "2026-01-31T12:00:00.123Z " */, JSON_TIME = 35 /* {"time":"...", */ };

static void text_lines(void **state)
{
    struct capture *c = *state;
    char array[] = "an array";

    sl_log_configure(c->write_fd, SL_LOG_INFO, SL_LOG_TEXT);
    sl_log(SL_LOG_INFO, "gateway", "listener up", SL_STR("address", "[::1]"), SL_U64("port", 8443));
    assert_string_equal(logged(c, TEXT_TIME), "INFO gateway: listener up address=[::1] port=8443\n");
    sl_log(SL_LOG_WARN, "x", "nothing more");
    assert_string_equal(logged(c, TEXT_TIME), "WARN x: nothing more\n");
    sl_log(SL_LOG_ERROR, "x", "m", SL_STR("empty", ""), SL_STR("none", (const char *)NULL), SL_STR("array", array),
           SL_ERRV(SL_ERR_LIMIT), SL_U64("max", UINT64_MAX));
    assert_string_equal(logged(c, TEXT_TIME),
                        "ERROR x: m empty=\"\" none=\"\" array=\"an array\" error=\"limit exceeded\" max=18446744073709551615\n");
    sl_log(SL_LOG_DEBUG, "x", "not shown");
    assert_string_equal(logged(c, 0), "");
    assert_false(sl_log_enabled(SL_LOG_DEBUG));
    assert_true(sl_log_enabled(SL_LOG_INFO));
}

static void json_lines(void **state)
{
    struct capture *c = *state;

    sl_log_configure(c->write_fd, SL_LOG_DEBUG, SL_LOG_JSON);
    sl_log(SL_LOG_DEBUG, "gateway", "listener up", SL_STR("address", "::1"), SL_U64("port", 8443));
    assert_string_equal(logged(c, JSON_TIME), "\"level\":\"debug\",\"component\":\"gateway\",\"message\":\"listener up\","
                                              "\"address\":\"::1\",\"port\":8443}\n");
}

/* A peer's text can't end a line, close a quote or steer a terminal. */
static void peers_forge_nothing(void **state)
{
    static const struct {
        const char *value, *text, *json;
    } cases[] = {
        {"a\nERROR x", "\"a\\nERROR x\"", "\"a\\nERROR x\""},
        {"a\" b=\"c", "\"a\\\" b=\\\"c\"", "\"a\\\" b=\\\"c\""},
        {"a\\", "\"a\\\\\"", "\"a\\\\\""},
        {"a=b", "\"a=b\"", "\"a=b\""},
        {"\x1b[31m", "\"\\x1b[31m\"", "\"\\u001b[31m\""},
        {"\r\t\x7f", "\"\\x0d\\x09\\x7f\"", "\"\\u000d\\u0009\\u007f\""},
        {"caf\xc3\xa9", "\"caf\\xc3\\xa9\"", "\"caf\xc3\xa9\""},
        {"\xc2\x9b"
         "31m",
         "\"\\xc2\\x9b31m\"", "\"\\u009b31m\""},
        {"\xe2\x82\xac \xf0\x9f\x94\x92", "\"\\xe2\\x82\\xac \\xf0\\x9f\\x94\\x92\"", "\"\xe2\x82\xac \xf0\x9f\x94\x92\""},
        {"\xff\xc3", "\"\\xff\\xc3\"", "\"\\ufffd\\ufffd\""},
        {"\xc0\x8a", "\"\\xc0\\x8a\"", "\"\\ufffd\\ufffd\""},
        {"\xe0\x80\x8a", "\"\\xe0\\x80\\x8a\"", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", "\"\\xed\\xa0\\x80\"", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xf4\x90\x80\x80", "\"\\xf4\\x90\\x80\\x80\"", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
    };
    struct capture *c = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expected[256];
        sl_log_configure(c->write_fd, SL_LOG_INFO, SL_LOG_TEXT);
        sl_log(SL_LOG_INFO, "x", "m", SL_STR("sni", cases[i].value));
        snprintf(expected, sizeof(expected), "INFO x: m sni=%s\n", cases[i].text);
        assert_string_equal(logged(c, TEXT_TIME), expected);
        sl_log_configure(c->write_fd, SL_LOG_INFO, SL_LOG_JSON);
        sl_log(SL_LOG_INFO, "x", "m", SL_STR("sni", cases[i].value));
        snprintf(expected, sizeof(expected), "\"level\":\"info\",\"component\":\"x\",\"message\":\"m\",\"sni\":%s}\n",
                 cases[i].json);
        assert_string_equal(logged(c, JSON_TIME), expected);
    }
}

static void long_values_are_cut(void **state)
{
    struct capture *c = *state;
    char longer[5000];

    memset(longer, '\x01', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    for (enum sl_log_format format = SL_LOG_TEXT; format <= SL_LOG_JSON; format++) {
        const char *line;
        size_t len;
        sl_log_configure(c->write_fd, SL_LOG_INFO, format);
        sl_log(SL_LOG_INFO, longer, longer, SL_STR("a", longer), SL_STR("b", longer), SL_STR("c", longer), SL_U64("d", 4));
        line = logged(c, 0);
        len = strlen(line);
        assert_true(len <= 4096);
        assert_int_equal(line[len - 1], '\n');
        assert_ptr_equal(strchr(line, '\n'), line + len - 1);
        assert_non_null(strstr(line, "..."));
        assert_non_null(strstr(line, format == SL_LOG_JSON ? "\"truncated\":1}" : " truncated=1"));
        assert_non_null(strstr(line, format == SL_LOG_JSON ? "\"d\":4" : " d=4")); /* the small one still found room */
    }
}

static void counts_what_is_lost(void **state)
{
    uint64_t before = sl_log_lost();

    (void)state;
    sl_log_configure(-1, SL_LOG_INFO, SL_LOG_TEXT);
    errno = EXDEV;
    sl_log(SL_LOG_INFO, "x", "nobody reads this");
    assert_int_equal(errno, EXDEV);
    assert_int_equal(sl_log_lost(), before + 1);
}

enum { THREADS = 4, LINES = 200 };

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++)
        sl_log(SL_LOG_INFO, "thread", "line", SL_U64("number", i), SL_STR("name", (const char *)arg));
    return NULL;
}

static void threads_keep_lines_whole(void **state)
{
    char path[] = "log-XXXXXX", line[256];
    pthread_t threads[THREADS];
    int fd = mkstemp(path), lines = 0;
    FILE *file;

    (void)state;
    assert_true(fd >= 0);
    sl_log_configure(fd, SL_LOG_INFO, SL_LOG_TEXT);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, "worker"), 0);
    for (int i = 0; i < 50; i++)
        sl_log_configure(fd, SL_LOG_INFO, SL_LOG_TEXT); /* reconfiguring meanwhile is allowed */
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    file = fdopen(fd, "r");
    assert_non_null(file);
    rewind(file);
    while (fgets(line, sizeof(line), file)) {
        unsigned number;
        char name[16];
        assert_int_equal(sscanf(line + TEXT_TIME, "INFO thread: line number=%u name=%15s", &number, name), 2);
        assert_string_equal(name, "worker");
        lines++;
    }
    assert_int_equal(lines, THREADS * LINES);
    sl_log_configure(STDERR_FILENO, SL_LOG_INFO, SL_LOG_TEXT);
    fclose(file);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(text_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(json_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(peers_forge_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(long_values_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_what_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_keep_lines_whole, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
