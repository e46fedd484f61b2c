/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers of sluice.test.v1.Conformance: every shape, with delays, failures and a publisher. Used by unit and conformance tests.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "rpc/service.h"

enum { TEST_WATCHERS_MAX = 256 };

struct test_service {
    struct sl_rpc_service service;
    atomic_ulong started, finished, cancelled, published, dropped;
    pthread_mutex_t lock; /* watchers */
    struct sl_rpc_call *watchers[TEST_WATCHERS_MAX];
};

void test_service_init(struct test_service *t);
/* What a publisher's thread does: one message to every watcher, never blocking. Returns how many were sent. */
unsigned test_service_publish(struct test_service *t, int64_t number);
unsigned test_service_watchers(struct test_service *t);
