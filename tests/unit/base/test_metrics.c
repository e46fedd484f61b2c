/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/metrics.h"

static void registers_once(void **state)
{
    struct sl_metrics *m;
    struct sl_metric *a, *b, *same = NULL;

    (void)state;
    assert_int_equal(sl_metrics_new(&m), SL_OK);
    assert_int_equal(sl_metric_register(m, SL_COUNTER, "sluice_x_total", "X.", &a), SL_OK);
    assert_int_equal(sl_metric_register(m, SL_GAUGE, "sluice_y", NULL, &b), SL_OK);
    assert_int_equal(sl_metric_register(m, SL_COUNTER, "sluice_x_total", "X.", &same), SL_OK);
    assert_ptr_equal(a, same);
    same = NULL;
    assert_int_equal(sl_metric_register(m, SL_GAUGE, "sluice_x_total", "X.", &same), SL_ERR_INVALID);
    assert_null(same);
    sl_metric_add(a, 2);
    sl_metric_add(a, 3);
    sl_metric_set(b, -7);
    sl_metric_add(b, 1);
    assert_int_equal(sl_metric_get(a), 5);
    assert_int_equal(sl_metric_get(b), -6);
    sl_metric_add(NULL, 1);
    sl_metric_set(NULL, 1);
    assert_int_equal(sl_metric_get(NULL), 0);
    sl_metrics_free(m);
    sl_metrics_free(NULL);
}

static void names(void **state)
{
    static const struct {
        const char *name;
        sl_err err;
    } cases[] = {
        {"a", SL_OK},
        {"_a:b9", SL_OK},
        {"a{b=\"c\"}", SL_OK},
        {"a{b=\"c d/e{}\",_f=\"\"}", SL_OK},
        {"", SL_ERR_INVALID},
        {"9a", SL_ERR_INVALID},
        {"a-b", SL_ERR_INVALID},
        {"a b", SL_ERR_INVALID},
        {"a{}", SL_ERR_INVALID},
        {"a{b}", SL_ERR_INVALID},
        {"a{b=c}", SL_ERR_INVALID},
        {"a{b:c=\"d\"}", SL_ERR_INVALID},
        {"a{b=\"c\"", SL_ERR_INVALID},
        {"a{b=\"c", SL_ERR_INVALID},
        {"a{b=\"c\"}x", SL_ERR_INVALID},
        {"a{b=\"c\",}", SL_ERR_INVALID},
        {"a{b=\"c\nd\"}", SL_ERR_INVALID},
        {"a{b=\"c\\d\"}", SL_ERR_INVALID},
        {"a{b=\"\xc3\xa9\"}", SL_ERR_INVALID},
    };
    struct sl_metrics *m;
    struct sl_metric *metric;

    (void)state;
    assert_int_equal(sl_metrics_new(&m), SL_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(sl_metric_register(m, SL_COUNTER, cases[i].name, "", &metric), cases[i].err);
    assert_int_equal(sl_metric_register(m, SL_COUNTER, NULL, "", &metric), SL_ERR_INVALID);
    sl_metrics_free(m);
}

struct seen {
    char last[64];
    size_t count;
    int64_t sum;
};

static void see(void *arg, enum sl_metric_kind kind, const char *name, const char *help, int64_t value)
{
    struct seen *seen = arg;

    assert_int_equal(kind, SL_GAUGE);
    assert_string_equal(help, "help");
    assert_true(strcmp(seen->last, name) < 0);
    snprintf(seen->last, sizeof(seen->last), "%s", name);
    seen->count++;
    seen->sum += value;
}

static void visits_in_order(void **state)
{
    enum { METRICS = 500 };
    struct sl_metrics *m;
    struct seen seen = {.last = ""};

    (void)state;
    assert_int_equal(sl_metrics_new(&m), SL_OK);
    for (int i = 0; i < METRICS; i++) {
        struct sl_metric *metric;
        char name[64];
        snprintf(name, sizeof(name), "sluice_m{n=\"%d\"}", i * 7919 % METRICS);
        assert_int_equal(sl_metric_register(m, SL_GAUGE, name, "help", &metric), SL_OK);
        sl_metric_set(metric, i);
    }
    sl_metrics_visit(m, see, &seen);
    assert_int_equal(seen.count, METRICS);
    assert_int_equal(seen.sum, METRICS * (METRICS - 1) / 2);
    sl_metrics_free(m);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *count_up(void *arg)
{
    struct sl_metrics *m = arg;
    struct sl_metric *shared;

    for (int i = 0; i < ROUNDS; i++) {
        if (sl_metric_register(m, SL_COUNTER, "sluice_shared_total", "help", &shared) != SL_OK)
            return NULL;
        sl_metric_add(shared, 1);
    }
    return m;
}

static void threads_lose_no_count(void **state)
{
    struct sl_metrics *m;
    struct sl_metric *shared;
    pthread_t threads[THREADS];

    (void)state;
    assert_int_equal(sl_metrics_new(&m), SL_OK);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, m), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, m);
    }
    assert_int_equal(sl_metric_register(m, SL_COUNTER, "sluice_shared_total", "help", &shared), SL_OK);
    assert_int_equal(sl_metric_get(shared), THREADS * ROUNDS);
    sl_metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_once),
        cmocka_unit_test(names),
        cmocka_unit_test(visits_in_order),
        cmocka_unit_test(threads_lose_no_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
