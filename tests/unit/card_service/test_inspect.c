/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of the card over gRPC, with an engine whose counters a test sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "card/service/service.h"
#include "fake_engine.h"
#include "rpc/client.h"
#include "rpc/message.h"
#include "sluice/card/v1/card.pb-c.h"

/* The service over a fake engine, and a client of it. */
struct bench {
    char folder[64], path[80], target[96];
    struct fake_state fake;
    struct sl_card_loop *loop;
    struct sl_card_service *service;
    struct sl_rpc_client *client;
};

static struct bench *bench_open(const struct sl_engine_counters *counters)
{
    struct bench *b = calloc(1, sizeof *b);
    struct sl_diag diag;
    assert_non_null(b);
    snprintf(b->folder, sizeof b->folder, "/tmp/sluice-inspect-XXXXXX");
    assert_non_null(mkdtemp(b->folder));
    snprintf(b->path, sizeof b->path, "%s/s", b->folder);
    snprintf(b->target, sizeof b->target, "unix:%s", b->path);
    b->fake.counters = *counters;
    atomic_store(&b->fake.room, FAKE_SESSIONS);
    const struct sl_card_loop_options loop = {.open = fake_open, .arg = &b->fake};
    const struct sl_card_service_config config = {.unix_path = b->path};
    const struct sl_rpc_client_options client = {.target = b->target};
    assert_int_equal(sl_card_service_new(&b->service), SL_OK);
    assert_int_equal(sl_card_loop_start(&loop, &b->loop, &diag), SL_OK);
    assert_int_equal(sl_card_service_start(b->service, &config, b->loop, &diag), SL_OK);
    assert_int_equal(sl_rpc_client_new(&client, &b->client, &diag), SL_OK);
    return b;
}

static void bench_close(struct bench *b)
{
    sl_rpc_client_free(b->client);
    sl_card_service_stop(b->service, 0);
    sl_card_loop_stop(b->loop);
    sl_card_service_free(b->service);
    assert_int_equal(rmdir(b->folder), 0);
    free(b);
}

static Sluice__Card__V1__Counters *counters_of(struct bench *b)
{
    const Sluice__Card__V1__GetCountersRequest request = SLUICE__CARD__V1__GET_COUNTERS_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {{0}};
    if (sl_rpc_client_call(b->client, &sluice__card__v1__card__descriptor, "GetCounters", &request.base, 0, &response, &diag))
        fail_msg("%s", diag.text);
    return (Sluice__Card__V1__Counters *)response;
}

/* What is told is a few milliseconds old: at first, from before the engine was asked. */
static Sluice__Card__V1__Counters *counters_of_the_engine(struct bench *b)
{
    Sluice__Card__V1__Counters *told = counters_of(b);
    while (told->events == 0) {
        sl_rpc_message_free(&told->base);
        told = counters_of(b);
    }
    return told;
}

/* A number of its own for each: none is told in another's place. */
static void every_counter_is_told(void **state)
{
    (void)state;
    const struct sl_engine_counters c = {.frames_in = {101, 201},
                                         .bytes_in = {102, 202},
                                         .frames_out = {103, 203},
                                         .bytes_out = {104, 204},
                                         .punts = {105, 205},
                                         .drops = {106, 206},
                                         .punted_for = {[SL_PUNT_RULE] = 107, [SL_PUNT_AHEAD] = 108},
                                         .events = 301,
                                         .events_lost = 302,
                                         .mirrored_records = 303,
                                         .mirror_refused = 304,
                                         .mirror_lost = 305};
    struct bench *b = bench_open(&c);
    Sluice__Card__V1__Counters *told = counters_of_the_engine(b);
    const Sluice__Card__V1__PortCounters *const port[SL_ENGINE_LANES] = {told->inside, told->outside};
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        assert_non_null(port[i]);
        assert_int_equal(port[i]->frames_in, c.frames_in[i]);
        assert_int_equal(port[i]->bytes_in, c.bytes_in[i]);
        assert_int_equal(port[i]->frames_out, c.frames_out[i]);
        assert_int_equal(port[i]->bytes_out, c.bytes_out[i]);
        assert_int_equal(port[i]->punts, c.punts[i]);
        assert_int_equal(port[i]->drops, c.drops[i]);
    }
    assert_int_equal(told->n_punted_for, 2);
    assert_string_equal(told->punted_for[0]->reason, "rule");
    assert_int_equal(told->punted_for[0]->frames, 107);
    assert_string_equal(told->punted_for[1]->reason, "ahead");
    assert_int_equal(told->punted_for[1]->frames, 108);
    assert_int_equal(told->frames_lost, 0);
    assert_int_equal(told->events, c.events);
    assert_int_equal(told->events_lost, c.events_lost);
    assert_int_equal(told->mirrored_records, c.mirrored_records);
    assert_int_equal(told->mirror_refused, c.mirror_refused);
    assert_int_equal(told->mirror_lost, c.mirror_lost);
    assert_int_equal(told->sessions, 0);
    assert_int_equal(told->commands, 0);
    assert_int_equal(told->closed_untold, 0);
    sl_rpc_message_free(&told->base);
    bench_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_counter_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
