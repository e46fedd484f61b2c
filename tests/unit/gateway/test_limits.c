/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>

#include "gateway/limits.h"

static struct sl_endpoint at(const char *address)
{
    struct sl_endpoint e;
    assert_int_equal(sl_endpoint_parse(address, 1, &e), SL_OK);
    return e;
}

/* A11 */
static void total_and_per_client(void **state)
{
    (void)state;
    struct sl_limits *l;
    struct sl_endpoint a = at("192.0.2.1"), b = at("192.0.2.2");

    assert_int_equal(sl_limits_new(&l), SL_OK);
    assert_int_equal(sl_limits_take(l, &a, 3, 2), SL_OK);
    assert_int_equal(sl_limits_take(l, &a, 3, 2), SL_OK);
    assert_int_equal(sl_limits_take(l, &a, 3, 2), SL_ERR_DENIED);
    assert_int_equal(sl_limits_total(l), 2);
    assert_int_equal(sl_limits_take(l, &b, 3, 2), SL_OK);
    assert_int_equal(sl_limits_take(l, &b, 3, 2), SL_ERR_LIMIT);
    sl_limits_release(l, &a);
    assert_int_equal(sl_limits_take(l, &b, 3, 2), SL_OK);
    assert_int_equal(sl_limits_total(l), 3);
    sl_limits_free(l);
}

/* A11: a host owns a whole /64 */
static void ipv6_prefix_is_one_client(void **state)
{
    (void)state;
    struct sl_limits *l;
    struct sl_endpoint a = at("2001:db8::1"), same = at("2001:db8::ffff:1"), other = at("2001:db8:0:1::1");

    assert_int_equal(sl_limits_new(&l), SL_OK);
    assert_int_equal(sl_limits_take(l, &a, 10, 1), SL_OK);
    assert_int_equal(sl_limits_take(l, &same, 10, 1), SL_ERR_DENIED);
    assert_int_equal(sl_limits_take(l, &other, 10, 1), SL_OK);
    sl_limits_free(l);
}

struct job {
    struct sl_limits *limits;
    unsigned index;
};

static void *many(void *arg)
{
    const struct job *j = arg;
    for (unsigned round = 0; round < 2000; round++) {
        char text[32];
        struct sl_endpoint e;
        snprintf(text, sizeof text, "10.%u.%u.%u", j->index % 2, round % 7, round % 251);
        sl_endpoint_parse(text, 1, &e);
        if (sl_limits_take(j->limits, &e, 1000, 1000) == SL_OK)
            sl_limits_release(j->limits, &e);
    }
    return NULL;
}

static void threads(void **state)
{
    (void)state;
    struct sl_limits *l;
    pthread_t thread[4];
    struct job jobs[4];

    assert_int_equal(sl_limits_new(&l), SL_OK);
    for (unsigned i = 0; i < 4; i++) {
        jobs[i] = (struct job){l, i};
        assert_int_equal(pthread_create(&thread[i], NULL, many, &jobs[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(sl_limits_total(l), 0);
    sl_limits_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(total_and_per_client), cmocka_unit_test(ipv6_prefix_is_one_client),
                                       cmocka_unit_test(threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
