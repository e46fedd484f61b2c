/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event/tls_log.h"
#include "make.h"

static char *lines_of(const Sluice__V1__Event *e)
{
    struct sl_buf b;
    sl_buf_init(&b, 1 << 16);
    assert_int_equal(sl_tls_log_format(e, false, &b), SL_OK);
    assert_int_equal(sl_buf_append(&b, "", 1), SL_OK);
    char *text = strdup((const char *)sl_buf_data(&b));
    sl_buf_free(&b);
    return text;
}

/* notes: lines 1 to 7, with the direction of line 6 put right (P14: 7 bytes of alert in what was sent). */
static void test_reference_case(void **state)
{
    Sluice__V1__Event *first = reference_case_1(), *second = reference_case_2();
    char *text = lines_of(first);

    (void)state;
    assert_string_equal(
        text,
        "2014-02-05 05:21:42,189 INFO TLS_Proxy - SSL alert message received from server (0x228 = \"fatal : handshake failure\") "
        "in Session: x2fd1f6\n"
        "2014-02-05 05:21:42,189 ERROR TLS_Proxy - TLS problem (error:14077410:SSL routines:SSL23_GET_SERVER_HELLO:sslv3 alert "
        "handshake failure) while connecting to server for Session: x2fd1f6\n");
    free(text);
    text = lines_of(second);
    assert_string_equal(
        text,
        "2014-02-05 05:22:11,505 INFO TLS_Proxy - Certificate verification failure: self signed certificate (code 18, depth 0)\n"
        "2014-02-05 05:22:11,505 INFO TLS_Proxy - Subject: /unstructuredName=ciscoasa\n"
        "2014-02-05 05:22:11,505 INFO TLS_Proxy - Issuer: /unstructuredName=ciscoasa\n"
        "2014-02-05 05:22:11,505 INFO TLS_Proxy - SSL alert message sent to server (0x230 = \"fatal : unknown CA\") in Session: "
        "x148a696e\n"
        "2014-02-05 05:22:11,505 ERROR TLS_Proxy - TLS problem (error:14090086:SSL routines:SSL3_GET_SERVER_CERTIFICATE:"
        "certificate verify failed) while connecting to server for Session: x148a696e\n");
    free(text);
    sl_event_free(first);
    sl_event_free(second);
}

static void test_directions(void **state)
{
    static const struct {
        Sluice__V1__AlertDirection direction;
        unsigned level, code;
        const char *text;
    } T[] = {
        {DIRECTION(RECEIVED_FROM_CLIENT), 2, 48, "received from client (0x230 = \"fatal : unknown CA\")"},
        {DIRECTION(SENT_TO_CLIENT), 2, 42, "sent to client (0x22a = \"fatal : bad certificate\")"},
        {DIRECTION(RECEIVED_FROM_SERVER), 1, 0, "received from server (0x100 = \"warning : close notify\")"},
        {DIRECTION(SENT_TO_SERVER), 2, 199, "sent to server (0x2c7 = \"fatal : unknown\")"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        Sluice__V1__Event *e = reference_connection(CAUSE(CLI_ALERT_OTHER), "0", 0, 0);
        assert_int_equal(sl_event_add_alert(e, T[i].level, T[i].code, T[i].direction), SL_OK);
        e->side = SLUICE__V1__SIDE__SIDE_CLIENT;
        char *text = lines_of(e);
        if (!strstr(text, T[i].text))
            fail_msg("%s", text);
        assert_non_null(strstr(text, "while accepting client for Session: x0\n"));
        free(text);
        sl_event_free(e);
    }
}

/* A certificate can't forge a line. */
static void test_escaping(void **state)
{
    Sluice__V1__Event *e = reference_case_2();
    set(&e->server_chain[0]->subject, "/CN=a\n2014-02-05 05:22:11,505 INFO TLS_Proxy - all is well\x1b[2J");
    set(&e->tls->error, "a\nb\rc");
    set(&e->verify->text, "x\ny");
    set(&e->flow_id, "12\n3x");
    char *text = lines_of(e);
    size_t lines = 0;

    (void)state;
    for (const char *c = text; *c; c++) {
        lines += *c == '\n';
        assert_true(*c == '\n' || (unsigned char)*c >= 0x20);
    }
    assert_int_equal(lines, 5);
    free(text);
    sl_event_free(e);
}

static void test_quiet_events(void **state)
{
    static const Sluice__V1__EventType TYPES[] = {SLUICE__V1__EVENT_TYPE__SYSTEM, SLUICE__V1__EVENT_TYPE__TLS_DECRYPTED,
                                                  SLUICE__V1__EVENT_TYPE__TLS_BYPASSED};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        Sluice__V1__Event *e = new_event(TYPES[i], CAUSE(CAUSE_NONE));
        char *text = lines_of(e);
        assert_string_equal(text, "");
        free(text);
        sl_event_free(e);
    }
}

static size_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) ? 0 : (size_t)st.st_size;
}

static void test_file(void **state)
{
    char folder[] = "tls-log-XXXXXX", path[64], old[80];
    struct sl_tls_log *log = NULL;
    struct sl_diag diag = {""};
    Sluice__V1__Event *e = reference_case_1();
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/tls_proxy.log", folder);
    snprintf(old, sizeof(old), "%s.1", path);
    assert_int_equal(sl_tls_log_open("no-such-folder/x.log", false, &log, &diag), SL_ERR_IO);
    assert_true(diag.text[0]);
    assert_int_equal(sl_tls_log_open(path, false, &log, &diag), SL_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0); /* nothing for others, nothing to run */
    sl_tls_log_write(log, e);
    size_t one = size_of(path);
    assert_true(one > 200);
    assert_int_equal(rename(path, old), 0); /* logrotate */
    sl_tls_log_write(log, e);
    assert_int_equal(size_of(old), 2 * one);
    assert_int_equal(sl_tls_log_reopen(log, &diag), SL_OK);
    sl_tls_log_write(log, e);
    assert_int_equal(size_of(old), 2 * one);
    assert_int_equal(size_of(path), one);
    assert_int_equal(sl_tls_log_lost(log), 0);
    sl_tls_log_write(NULL, e);
    sl_tls_log_close(log);
    sl_tls_log_close(NULL);
    sl_event_free(e);
    unlink(path);
    unlink(old);
    assert_int_equal(rmdir(folder), 0);
}

/* A limit on the file's size stands in for the full disk: lines are counted as lost, and what follows begins on a line of its own.
 */
static void test_full_disk(void **state)
{
    char folder[] = "tls-log-XXXXXX", path[64];

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/tls_proxy.log", folder);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct sl_tls_log *log = NULL;
        struct sl_diag diag;
        Sluice__V1__Event *e = reference_case_1();
        struct rlimit small = {400, RLIM_INFINITY}, large = {RLIM_INFINITY, RLIM_INFINITY};
        getrlimit(RLIMIT_FSIZE, &large);
        small.rlim_max = large.rlim_max;
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &small) || sl_tls_log_open(path, false, &log, &diag))
            _exit(2);
        for (int i = 0; i < 3; i++)
            sl_tls_log_write(log, e);
        uint64_t lost = sl_tls_log_lost(log);
        if (lost < 4 || lost > 6 || setrlimit(RLIMIT_FSIZE, &large))
            _exit(3);
        sl_tls_log_write(log, e);
        _exit(sl_tls_log_lost(log) == lost ? 0 : 4);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    char text[4096] = "", *at = text;
    int fd = open(path, O_RDONLY);
    assert_true(read(fd, text, sizeof(text) - 1) > 600);
    close(fd);
    size_t whole = 0;
    for (; *at; at += strcspn(at, "\n") + 1)
        whole += strncmp(at, "2014-02-05 05:21:42,189 ", 24) == 0 && memmem(at, strcspn(at, "\n"), "Session: x2fd1f6", 16);
    assert_int_equal(whole % 2, 0);
    assert_true(whole >= 4);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference_case), cmocka_unit_test(test_directions),
                                       cmocka_unit_test(test_escaping),       cmocka_unit_test(test_quiet_events),
                                       cmocka_unit_test(test_file),           cmocka_unit_test(test_full_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
