/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dirent.h>

#include "base/clock.h"
#include "base/log.h"
#include "event/store.h"
#include "make.h"

static const uint64_t LONG_NS = UINT64_C(60) * SL_NS_PER_S;

struct scratch {
    char folder[64], path[96];
    struct sl_event_store_options options;
    struct sl_event_store *store;
};

static void open_store(struct scratch *s)
{
    struct sl_diag diag = {""};
    s->options.path = s->path;
    s->options.device_name = "gw-1";
    if (sl_event_store_open(&s->options, &s->store, &diag))
        fail_msg("%s", diag.text);
}

static int setup(void **state)
{
    struct scratch *s = calloc(1, sizeof(*s));
    strcpy(s->folder, "events-XXXXXX");
    if (!mkdtemp(s->folder))
        return -1;
    snprintf(s->path, sizeof(s->path), "%s/events.db", s->folder);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct scratch *s = *state;
    sl_event_store_close(s->store);
    DIR *d = opendir(s->folder);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", s->folder, entry->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    int rc = rmdir(s->folder);
    free(s);
    return rc;
}

static void flush(struct scratch *s)
{
    assert_int_equal(sl_event_store_flush(s->store, LONG_NS), SL_OK);
}

static Sluice__V1__Event *numbered(unsigned i)
{
    Sluice__V1__Event *e = i % 2 ? reference_case_1() : reference_case_2();
    e->time_ns = UINT64_C(1000000000) * (i + 1);
    assert_int_equal(sl_event_setf(&e->flow_id, "%016x", i), SL_OK);
    return e;
}

static void put_many(struct scratch *s, unsigned from, unsigned count)
{
    for (unsigned i = from; i < from + count; i++)
        assert_int_equal(sl_event_store_put(s->store, numbered(i)), SL_OK);
}

static struct sl_event_list list(struct scratch *s, uint32_t limit, uint64_t before)
{
    Sluice__V1__ListEventsRequest r = SLUICE__V1__LIST_EVENTS_REQUEST__INIT;
    struct sl_event_list l;
    struct sl_diag diag = {""};
    r.limit = limit;
    r.before_id = before;
    assert_int_equal(sl_event_store_list(s->store, &r, &l, &diag), SL_OK);
    return l;
}

static void test_put_list_get(void **state)
{
    struct scratch *s = *state;
    Sluice__V1__Event *e = NULL;

    open_store(s);
    put_many(s, 0, 120);
    flush(s);
    struct sl_event_list l = list(s, 0, 0);
    assert_int_equal(l.count, 50);
    assert_true(l.more);
    for (size_t i = 0; i < l.count; i++)
        assert_int_equal(l.items[i]->id, 120 - i);
    uint64_t before = l.items[49]->id;
    sl_event_list_free(&l);
    l = list(s, 1000, before);
    assert_int_equal(l.count, 70);
    assert_false(l.more);
    assert_int_equal(l.items[69]->id, 1);
    sl_event_list_free(&l);

    assert_int_equal(sl_event_store_get(s->store, 17, &e), SL_OK);
    assert_int_equal(e->id, 17);
    assert_string_equal(e->flow_id, "0000000000000010");
    assert_non_null(strstr(e->remedies[0]->command, " 17 ")); /* the command names the stored event */
    sl_event_free(e);
    assert_int_equal(sl_event_store_get_flow(s->store, "0000000000000011", &e), SL_OK);
    assert_int_equal(e->id, 18);
    sl_event_free(e);
    assert_int_equal(sl_event_store_get(s->store, 0, &e), SL_ERR_NOT_FOUND);
    assert_int_equal(sl_event_store_get(s->store, 121, &e), SL_ERR_NOT_FOUND);
    assert_int_equal(sl_event_store_get(s->store, UINT64_MAX, &e), SL_ERR_NOT_FOUND);
    assert_int_equal(sl_event_store_get_flow(s->store, "", &e), SL_ERR_NOT_FOUND);
    assert_int_equal(sl_event_store_get_flow(s->store, "x' OR 1=1", &e), SL_ERR_NOT_FOUND);

    sl_event_store_close(s->store); /* ids go on over a restart */
    open_store(s);
    put_many(s, 500, 1);
    flush(s);
    struct sl_event_store_stats st = sl_event_store_stats(s->store);
    assert_int_equal(st.newest_id, 121);
    assert_int_equal(st.stored, 121);
    assert_int_equal(st.lost, 0);
}

/* Each filter gives the same through the database and in memory. */
static void test_filters(void **state)
{
    static const struct {
        const char *client, *server, *host, *flow;
        int type, cause;
        uint64_t since, until;
        size_t count; /* of the six below */
    } T[] = {
        {"", "", "", "", 0, 0, 0, 0, 6},
        {"10.0.0.0/8", "", "", "", 0, 0, 0, 0, 3},
        {"10.1.1.1", "", "", "", 0, 0, 0, 0, 2},
        {"::ffff:10.1.1.1", "", "", "", 0, 0, 0, 0, 2},
        {"2001:db8::/32", "", "", "", 0, 0, 0, 0, 1},
        {"::/0", "", "", "", 0, 0, 0, 0, 1}, /* IPv6 alone */
        {"0.0.0.0/0", "", "", "", 0, 0, 0, 0, 4},
        {"10.1.1.0-10.1.1.9", "", "", "", 0, 0, 0, 0, 2},
        {"", "198.51.100.0/24", "", "", 0, 0, 0, 0, 2},
        {"10.0.0.0/8", "198.51.100.0/24", "", "", 0, 0, 0, 0, 1},
        {"", "", "www.example", "", 0, 0, 0, 0, 1},
        {"", "", "WWW.Example", "", 0, 0, 0, 0, 1},
        {"", "", "*.example", "", 0, 0, 0, 0, 2},
        {"", "", "*.www.example", "", 0, 0, 0, 0, 1},
        {"", "", "*.ample", "", 0, 0, 0, 0, 0},
        {"", "", "%", "", 0, 0, 0, 0, 0},
        {"", "", "", "00000000000000f3", 0, 0, 0, 0, 1},
        {"", "", "", "", SLUICE__V1__EVENT_TYPE__TLS_BYPASSED, 0, 0, 0, 1},
        {"", "", "", "", 0, CAUSE(SRV_CERT_EXPIRED), 0, 0, 2},
        {"", "", "", "", SLUICE__V1__EVENT_TYPE__TLS_ABORT, CAUSE(SRV_CERT_EXPIRED), 2000, 5001, 1},
        {"", "", "", "", 0, 0, 3000, 0, 4},
        {"", "", "", "", 0, 0, 0, 3000, 2},
        {"", "", "", "", 0, 0, 3000, 3001, 1},
    };
    static const struct {
        const char *client, *server, *sni;
        Sluice__V1__EventType type;
        Sluice__V1__Cause cause;
    } E[] = {
        {"10.1.1.1", "198.51.100.7", "www.example", SLUICE__V1__EVENT_TYPE__TLS_ABORT, CAUSE(SRV_CERT_EXPIRED)},
        {"10.1.1.1", "203.0.113.1", "A.WWW.example", SLUICE__V1__EVENT_TYPE__TLS_BYPASSED, CAUSE(CAUSE_NONE)},
        {"10.200.0.1", "203.0.113.2", "", SLUICE__V1__EVENT_TYPE__TLS_ABORT, CAUSE(SRV_EOF)},
        {"192.0.2.1", "198.51.100.9", "example", SLUICE__V1__EVENT_TYPE__TLS_DECRYPTED, CAUSE(CAUSE_NONE)},
        {"2001:db8::1", "2001:db8::2", "notexample", SLUICE__V1__EVENT_TYPE__TLS_ABORT, CAUSE(SRV_CERT_EXPIRED)},
        {"", "", "", SLUICE__V1__EVENT_TYPE__SYSTEM, CAUSE(CAUSE_NONE)},
    };
    enum { EVENTS = sizeof(E) / sizeof(E[0]) };
    struct scratch *s = *state;
    Sluice__V1__Event *copies[EVENTS];

    open_store(s);
    for (size_t i = 0; i < EVENTS; i++) {
        Sluice__V1__Event *e = new_event(E[i].type, E[i].cause);
        e->time_ns = 1000 * (i + 1);
        set(&e->src->ip, E[i].client);
        set(&e->dst->ip, E[i].server);
        set(&e->tls->sni, E[i].sni);
        assert_int_equal(sl_event_setf(&e->flow_id, "%016x", (unsigned)(0xf0 + i)), SL_OK);
        assert_int_equal(sl_event_copy(e, &copies[i]), SL_OK);
        assert_int_equal(sl_event_store_put(s->store, e), SL_OK);
    }
    flush(s);
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        Sluice__V1__ListEventsRequest r = SLUICE__V1__LIST_EVENTS_REQUEST__INIT;
        Sluice__V1__EventType type = (Sluice__V1__EventType)T[i].type;
        Sluice__V1__Cause cause = (Sluice__V1__Cause)T[i].cause;
        struct sl_event_list l;
        struct sl_diag diag = {""};
        size_t matching = 0;
        r.client = (char *)(uintptr_t)T[i].client;
        r.server = (char *)(uintptr_t)T[i].server;
        r.host = (char *)(uintptr_t)T[i].host;
        r.flow_id = (char *)(uintptr_t)T[i].flow;
        r.types = &type;
        r.n_types = T[i].type != 0;
        r.causes = &cause;
        r.n_causes = T[i].cause != 0;
        r.since_ns = T[i].since;
        r.until_ns = T[i].until;
        assert_int_equal(sl_event_filter_check(&r, &diag), SL_OK);
        assert_int_equal(sl_event_store_list(s->store, &r, &l, &diag), SL_OK);
        for (size_t j = 0; j < EVENTS; j++)
            matching += sl_event_filter_match(&r, copies[j]);
        if (l.count != T[i].count || matching != T[i].count)
            fail_msg("case %zu: %zu in the database, %zu in memory, expected %zu", i, l.count, matching, T[i].count);
        sl_event_list_free(&l);
    }
    for (size_t i = 0; i < EVENTS; i++)
        sl_event_free(copies[i]);
}

static void test_bad_filters(void **state)
{
    static const struct {
        const char *client, *host;
    } T[] = {{"10.0.0.1/8", ""}, {"x", ""}, {"", "*"}, {"", "*."}, {"", "a*b"}};
    struct scratch *s = *state;

    open_store(s);
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        Sluice__V1__ListEventsRequest r = SLUICE__V1__LIST_EVENTS_REQUEST__INIT;
        struct sl_event_list l;
        struct sl_event_watch *w = NULL;
        struct sl_diag diag = {""};
        r.client = (char *)(uintptr_t)T[i].client;
        r.host = (char *)(uintptr_t)T[i].host;
        assert_int_equal(sl_event_store_list(s->store, &r, &l, &diag), SL_ERR_INVALID);
        assert_true(diag.text[0]);
        assert_int_equal(sl_event_watch_open(s->store, &r, 0, &w, &diag), SL_ERR_INVALID);
        assert_null(w);
    }
}

static void test_retention(void **state)
{
    struct scratch *s = *state;

    s->options.retain_events = 100;
    open_store(s);
    for (unsigned i = 0; i < 10; i++) {
        put_many(s, i * 50, 50);
        flush(s);
    }
    struct sl_event_list l = list(s, 1000, 0);
    assert_int_equal(l.count, 100);
    assert_int_equal(l.items[0]->id, 500);
    assert_int_equal(l.items[99]->id, 401);
    sl_event_list_free(&l);
    assert_int_equal(sl_event_store_stats(s->store).stored, 100);
}

static void test_queue_bound(void **state)
{
    struct scratch *s = *state;
    unsigned refused = 0;

    s->options.queue_events = 8;
    open_store(s);
    for (unsigned i = 0; i < 3000; i++) {
        sl_err err = sl_event_store_put(s->store, numbered(i));
        assert_true(err == SL_OK || err == SL_ERR_LIMIT);
        refused += err != SL_OK;
    }
    flush(s);
    struct sl_event_store_stats st = sl_event_store_stats(s->store);
    assert_int_equal(st.lost, refused);
    struct sl_event_list l = list(s, 1000, 0);
    size_t told = 0;
    for (size_t i = 0; i < l.count; i++)
        told += l.items[i]->type == SLUICE__V1__EVENT_TYPE__SYSTEM && strstr(l.items[i]->explanation, "lost");
    assert_true(refused == 0 || told > 0);
    sl_event_list_free(&l);
}

/* ---- damage ---- */

static bool aside(const struct scratch *s)
{
    bool found = false;
    DIR *d = opendir(s->folder);
    for (struct dirent *entry; (entry = readdir(d));)
        found |= strstr(entry->d_name, "events.db.damaged-") != NULL;
    closedir(d);
    return found;
}

static void test_damaged(void **state)
{
    static const struct {
        off_t at;
        size_t len;
        off_t truncate_to; /* -1: not */
    } T[] = {{0, 4096, -1}, {0, 33, 33}, {8192, 20000, -1}, {0, 0, 5000}};
    struct scratch *s = *state;
    char noise[20000];

    memset(noise, 0xa5, sizeof(noise));
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        open_store(s);
        put_many(s, 0, 200);
        flush(s);
        sl_event_store_close(s->store);
        s->store = NULL;
        int fd = open(s->path, O_RDWR);
        assert_int_equal(pwrite(fd, noise, T[i].len, T[i].at), (ssize_t)T[i].len);
        if (T[i].truncate_to >= 0)
            assert_int_equal(ftruncate(fd, T[i].truncate_to), 0);
        close(fd);
        open_store(s); /* starts all the same */
        flush(s);
        assert_true(aside(s));
        struct sl_event_list l = list(s, 10, 0);
        assert_int_equal(l.count, 1);
        assert_int_equal(l.items[0]->type, SLUICE__V1__EVENT_TYPE__SYSTEM);
        assert_non_null(strstr(l.items[0]->explanation, "damaged"));
        assert_string_equal(l.items[0]->device->name, "gw-1");
        sl_event_list_free(&l);
        sl_event_store_close(s->store);
        s->store = NULL;
        unlink(s->path);
    }
}

static void test_no_folder(void **state)
{
    struct sl_event_store_options o = {.path = "no-such-folder/events.db"};
    struct sl_event_store *store = NULL;
    struct sl_diag diag = {""};

    (void)state;
    assert_int_equal(sl_event_store_open(&o, &store, &diag), SL_ERR_IO);
    assert_null(store);
    assert_true(diag.text[0]);
}

/* ---- full disk ---- */

/* In a child with a limit on file sizes: the writer waits, the queue fills, the rest is lost and counted; then there is room again.
 */
static int full_disk_child(struct scratch *s)
{
    struct rlimit small = {300000, 0}, large;
    unsigned refused = 0, taken = 0;

    getrlimit(RLIMIT_FSIZE, &large);
    small.rlim_max = large.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    s->options.queue_events = 500;
    s->options.retry_ms = 20;
    open_store(s);
    if (setrlimit(RLIMIT_FSIZE, &small))
        return 2;
    for (unsigned i = 0; i < 200000 && refused < 100; i++) {
        sl_err err = sl_event_store_put(s->store, numbered(i));
        refused += err == SL_ERR_LIMIT;
        taken += err == SL_OK;
        if (i % 100 == 0)
            usleep(1000);
    }
    struct sl_event_store_stats st = sl_event_store_stats(s->store);
    for (unsigned i = 0; i < 1000 && !sl_event_store_stats(s->store).failing; i++)
        usleep(10000);
    if (refused < 100 || st.lost != refused || !sl_event_store_stats(s->store).failing)
        return 3;
    if (sl_event_store_flush(s->store, 1000000) != SL_ERR_TIMEOUT)
        return 4;
    struct sl_event_list l = list(s, 5, 0); /* reading goes on */
    if (l.count != 5)
        return 5;
    sl_event_list_free(&l);
    if (setrlimit(RLIMIT_FSIZE, &large) || sl_event_store_flush(s->store, LONG_NS))
        return 6;
    st = sl_event_store_stats(s->store);
    if (st.failing || st.lost != refused || st.stored < taken || st.stored > taken + refused)
        return 7;
    sl_event_store_close(s->store);
    return 0;
}

static void test_full_disk(void **state)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        sl_log_configure(open("/dev/null", O_WRONLY), SL_LOG_ERROR, SL_LOG_TEXT);
        _exit(full_disk_child(*state));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* A store that can't write any more still closes, and says what it lost. */
static void test_close_while_full(void **state)
{
    struct scratch *s = *state;

    s->options.file_bytes_max = 64 * 4096;
    s->options.retry_ms = 20;
    s->options.queue_events = 100;
    open_store(s);
    for (unsigned i = 0; i < 100000 && !sl_event_store_stats(s->store).failing; i++)
        (void)sl_event_store_put(s->store, numbered(i));
    assert_true(sl_event_store_stats(s->store).failing);
    sl_event_store_close(s->store);
    s->options.file_bytes_max = 0;
    open_store(s);
    assert_true(sl_event_store_stats(s->store).stored > 10);
    put_many(s, 0, 1);
    flush(s);
    assert_false(sl_event_store_stats(s->store).failing);
}

/* ---- watching, from several threads ---- */

enum { WRITERS = 4, EACH = 1500 };

struct crowd {
    struct scratch *s;
    atomic_uint wrong, called;
    atomic_ullong last_called;
};

static void *write_some(void *arg)
{
    struct crowd *c = arg;
    for (unsigned i = 0; i < EACH; i++)
        while (sl_event_store_put(c->s->store, numbered(i)) != SL_OK)
            usleep(1000);
    return NULL;
}

static void *watch_all(void *arg)
{
    struct crowd *c = arg;
    struct sl_event_watch *w = NULL;
    struct sl_diag diag;

    if (sl_event_watch_open(c->s->store, NULL, 1, &w, &diag)) {
        atomic_fetch_add(&c->wrong, 1);
        return NULL;
    }
    for (uint64_t id = 2; id <= (uint64_t)WRITERS * EACH;) {
        Sluice__V1__Event *e = NULL;
        if (sl_event_watch_next(w, LONG_NS, &e)) {
            atomic_fetch_add(&c->wrong, 1);
            break;
        }
        atomic_fetch_add(&c->wrong, e->id != id);
        id = e->id + 1;
        sl_event_free(e);
    }
    sl_event_watch_close(w);
    return NULL;
}

static void *list_often(void *arg)
{
    struct crowd *c = arg;
    for (unsigned i = 0; i < 100; i++) {
        struct sl_event_list l = list(c->s, 20, 0);
        for (size_t j = 1; j < l.count; j++)
            atomic_fetch_add(&c->wrong, l.items[j]->id + 1 != l.items[j - 1]->id);
        sl_event_list_free(&l);
        (void)sl_event_store_stats(c->s->store);
    }
    return NULL;
}

static void on_event(void *arg, const Sluice__V1__Event *event)
{
    struct crowd *c = arg;
    atomic_fetch_add(&c->wrong, event->id != atomic_load(&c->last_called) + 1 && atomic_load(&c->last_called) != 0);
    atomic_store(&c->last_called, event->id);
    atomic_fetch_add(&c->called, 1);
}

static void test_crowd(void **state)
{
    struct crowd c = {.s = *state};
    struct sl_event_subscription *sub = NULL;
    pthread_t threads[WRITERS + 3];

    open_store(c.s);
    assert_int_equal(sl_event_subscribe(c.s->store, on_event, &c, &sub), SL_OK);
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, &c), 0);
    assert_int_equal(pthread_create(&threads[WRITERS], NULL, watch_all, &c), 0);
    assert_int_equal(pthread_create(&threads[WRITERS + 1], NULL, watch_all, &c), 0);
    assert_int_equal(pthread_create(&threads[WRITERS + 2], NULL, list_often, &c), 0);
    for (size_t i = 0; i < WRITERS + 3; i++)
        pthread_join(threads[i], NULL);
    flush(c.s);
    sl_event_unsubscribe(sub);
    assert_int_equal(atomic_load(&c.wrong), 0);
    assert_int_equal(atomic_load(&c.called), WRITERS * EACH);
    assert_int_equal(sl_event_store_stats(c.s->store).lost, 0);
}

static void *cancel_soon(void *arg)
{
    usleep(20000);
    sl_event_watch_cancel(arg);
    return NULL;
}

static void test_watch(void **state)
{
    struct scratch *s = *state;
    Sluice__V1__ListEventsRequest r = SLUICE__V1__LIST_EVENTS_REQUEST__INIT;
    Sluice__V1__Cause cause = CAUSE(SRV_CERT_SELF_SIGNED);
    struct sl_event_watch *fresh = NULL, *replay = NULL;
    Sluice__V1__Event *e = NULL;
    struct sl_diag diag;
    pthread_t thread;

    open_store(s);
    put_many(s, 0, 300);
    flush(s);
    r.causes = &cause;
    r.n_causes = 1;
    r.limit = 1; /* ignored */
    assert_int_equal(sl_event_watch_open(s->store, &r, 100, &replay, &diag), SL_OK);
    assert_int_equal(sl_event_watch_open(s->store, NULL, SL_EVENT_WATCH_NEW, &fresh, &diag), SL_OK);
    assert_int_equal(sl_event_watch_next(fresh, 1000000, &e), SL_ERR_TIMEOUT);
    put_many(s, 300, 2);
    for (uint64_t id = 101; id <= 301; id += 2) { /* even numbers are case 2, ids begin with 1 */
        assert_int_equal(sl_event_watch_next(replay, LONG_NS, &e), SL_OK);
        assert_int_equal(e->id, id);
        sl_event_free(e);
    }
    assert_int_equal(sl_event_watch_next(replay, 1000000, &e), SL_ERR_TIMEOUT);
    assert_int_equal(sl_event_watch_next(fresh, LONG_NS, &e), SL_OK);
    assert_int_equal(e->id, 301);
    sl_event_free(e);
    assert_int_equal(sl_event_watch_next(fresh, LONG_NS, &e), SL_OK);
    assert_int_equal(e->id, 302);
    sl_event_free(e);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, replay), 0);
    assert_int_equal(sl_event_watch_next(replay, LONG_NS, &e), SL_ERR_CANCELLED);
    pthread_join(thread, NULL);
    sl_event_watch_close(replay);
    sl_event_watch_close(fresh);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_put_list_get),
        CASE(test_filters),
        CASE(test_bad_filters),
        CASE(test_retention),
        CASE(test_queue_bound),
        CASE(test_damaged),
        CASE(test_full_disk),
        CASE(test_close_while_full),
        CASE(test_crowd),
        CASE(test_watch),
        cmocka_unit_test(test_no_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
