/* SPDX-License-Identifier: Apache-2.0 */
/* The handler table without gRPC: what an HTTP interface would do. And the check of tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "rpc/service.h"
#include "rpc_test_service.h"
#include "sluice/test/v1/conformance.pb-c.h"

struct sink {
    char text[1024];
    unsigned count, fail_after;
};

static sl_err emit(void *arg, const char *json)
{
    struct sink *sink = arg;
    if (sink->fail_after != 0 && sink->count >= sink->fail_after)
        return SL_ERR_IO;
    sink->count++;
    strncat(sink->text, json, sizeof sink->text - strlen(sink->text) - 1);
    return SL_OK;
}

static void test_dispatch(void **state)
{
    static const struct {
        const char *path, *in;
        unsigned fail_after;
        sl_err err;
        const char *out, *text;
    } T[] = {
        {"sluice.test.v1.Conformance/Echo", "{\"text\":\"hi\",\"number\":7}", 0, SL_OK, "{\"text\":\"hi\",\"number\":\"7\"}", ""},
        {"/sluice.test.v1.Conformance/Echo", NULL, 0, SL_OK, "{}", ""},
        {"sluice.test.v1.Conformance/Echo", "", 0, SL_OK, "{}", ""},
        {"sluice.test.v1.Conformance/Echo", "{\"txt\":1}", 0, SL_ERR_INVALID, "", "unknown field \"txt\""},
        {"sluice.test.v1.Conformance/Echo", "{\"error\":13,\"text\":\"x\"}", 0, SL_ERR_TIMEOUT, "", "asked to fail: x"},
        {"sluice.test.v1.Conformance/Count", "{\"count\":3}", 0, SL_OK, "{}{\"number\":\"1\"}{\"number\":\"2\"}", ""},
        {"sluice.test.v1.Conformance/Count", "{\"count\":3}", 2, SL_ERR_IO, "{}{\"number\":\"1\"}", ""},
        {"sluice.test.v1.Conformance/Sum", "{}", 0, SL_ERR_UNSUPPORTED, "", "sluice.test.v1.Conformance/Sum takes a stream"},
        {"sluice.test.v1.Conformance/Chat", "{}", 0, SL_ERR_UNSUPPORTED, "", "sluice.test.v1.Conformance/Chat takes a stream"},
        {"sluice.test.v1.Conformance/WhoAmI", "{}", 0, SL_OK, "{\"authenticated\":true", ""},
        {"sluice.test.v1.Conformance/Nothing", "{}", 0, SL_ERR_NOT_FOUND, "", "there is no method"},
        {"sluice.test.v1.Conformance", "{}", 0, SL_ERR_NOT_FOUND, "", "there is no method"},
        {"sluice.test.v1.ConformanceX/Echo", "{}", 0, SL_ERR_NOT_FOUND, "", "there is no method"},
        {"", "{}", 0, SL_ERR_NOT_FOUND, "", "there is no method"},
        {"/", "{}", 0, SL_ERR_NOT_FOUND, "", "there is no method"},
    };
    static struct test_service service;
    struct sl_rpc_peer peer = {.authenticated = true, .common_name = "admin"};
    (void)state;
    test_service_init(&service);
    for (size_t i = 0; i < sizeof T / sizeof T[0]; i++) {
        struct sl_diag diag = {0};
        struct sink sink = {.fail_after = T[i].fail_after};
        sl_err err = sl_rpc_dispatch_json(&service.service, 1, T[i].path, &peer, T[i].in, emit, &sink, &diag);
        if (err != T[i].err || strncmp(sink.text, T[i].out, strlen(T[i].out)) != 0 ||
            strncmp(diag.text, T[i].text, strlen(T[i].text)))
            fail_msg("case %zu: %d \"%s\" \"%s\"", i, err, sink.text, diag.text);
    }
}

static sl_err nothing(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *in, ProtobufCMessage *out, struct sl_diag *diag)
{
    (void)arg, (void)call, (void)in, (void)out, (void)diag;
    return SL_OK;
}

static void test_tables_are_checked(void **state)
{
    static struct test_service service;
    struct sl_rpc_method methods[9];
    struct sl_diag diag = {0};
    (void)state;
    test_service_init(&service);
    struct sl_rpc_service s = service.service;
    assert_int_equal(sl_rpc_service_check(&s, &diag), SL_OK);
    memcpy(methods, s.methods, s.method_count * sizeof methods[0]);
    s.methods = methods;

    s.method_count--;
    assert_int_equal(sl_rpc_service_check(&s, &diag), SL_ERR_INVALID);
    assert_string_equal(diag.text, "sluice.test.v1.Conformance/GetCounters has 0 handlers");
    s.method_count++;
    methods[s.method_count++] = (struct sl_rpc_method){"Surplus", SL_RPC_UNARY, nothing};
    assert_int_equal(sl_rpc_service_check(&s, &diag), SL_ERR_INVALID);
    assert_string_equal(diag.text, "sluice.test.v1.Conformance has no method Surplus");
    methods[s.method_count - 1] = (struct sl_rpc_method){"Echo", SL_RPC_UNARY, nothing};
    assert_int_equal(sl_rpc_service_check(&s, &diag), SL_ERR_INVALID);
    assert_string_equal(diag.text, "sluice.test.v1.Conformance/Echo has 2 handlers");
    s.method_count--;
    methods[0].handler = NULL;
    assert_int_equal(sl_rpc_service_check(&s, &diag), SL_ERR_INVALID);
    assert_string_equal(diag.text, "sluice.test.v1.Conformance/Echo has no handler");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dispatch),
        cmocka_unit_test(test_tables_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
