/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "make.h"

/* Each number of the schema has a name, a clause, and is found by its name; nothing else has. */
static void test_causes(void **state)
{
    const ProtobufCEnumDescriptor *d = &sluice__v1__cause__descriptor;
    size_t count = 0;

    (void)state;
    for (unsigned i = 0; i < d->n_values; i++) {
        Sluice__V1__Cause cause = (Sluice__V1__Cause)d->values[i].value, found = CAUSE(INTERNAL_ERROR);
        assert_string_equal(sl_cause_name(cause), d->values[i].name);
        assert_true(strlen(sl_cause_text(cause)) > 10);
        assert_int_equal(sl_cause_by_name(d->values[i].name, &found), SL_OK);
        assert_int_equal(found, cause);
        if (strncmp(d->values[i].name, "SRV_", 4) == 0)
            assert_int_equal(sl_cause_side(cause), SLUICE__V1__SIDE__SIDE_SERVER);
        if (strncmp(d->values[i].name, "CLI_", 4) == 0)
            assert_int_equal(sl_cause_side(cause), SLUICE__V1__SIDE__SIDE_CLIENT);
        assert_int_equal(sl_cause_is_certificate(cause), strncmp(d->values[i].name, "SRV_CERT_", 9) == 0);
    }
    while (sl_cause_at(count) != UINT32_MAX)
        count++;
    assert_int_equal(count, d->n_values);
    for (size_t i = 1; i < count; i++)
        assert_true(sl_cause_at(i) > sl_cause_at(i - 1));
    Sluice__V1__Cause cause = CAUSE(SHUTDOWN);
    assert_int_equal(sl_cause_by_name("srv-cert-expired", &cause), SL_OK);
    assert_int_equal(cause, CAUSE(SRV_CERT_EXPIRED));
    assert_int_equal(sl_cause_by_name("SRV_CERT", &cause), SL_ERR_NOT_FOUND);
    assert_int_equal(cause, CAUSE(SRV_CERT_EXPIRED));
    assert_string_equal(sl_cause_name((Sluice__V1__Cause)9999), "UNKNOWN");
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(sl_event_type_name(SLUICE__V1__EVENT_TYPE__TLS_ABORT), "TLS Abort");
    assert_string_equal(sl_event_type_description(SLUICE__V1__EVENT_TYPE__TLS_ABORT),
                        "A TLS or SSL flow was aborted due to a handshake failure or certificate validation error.");
    for (unsigned i = 0; i < sluice__v1__event_type__descriptor.n_values; i++)
        assert_non_null(sl_event_type_name((Sluice__V1__EventType)i));
    assert_string_equal(sl_side_name(SLUICE__V1__SIDE__SIDE_GATEWAY), "gateway");
    assert_string_equal(sl_side_name((Sluice__V1__Side)77), "");
    assert_string_equal(sl_stage_name(SLUICE__V1__STAGE__STAGE_CLIENT_HELLO), "client_hello");
    assert_string_equal(sl_stage_name((Sluice__V1__Stage)77), "");
    assert_string_equal(sl_alert_direction_name(DIRECTION(SENT_TO_SERVER)), "sent to server");
    assert_non_null(sl_alert_direction_name((Sluice__V1__AlertDirection)77));
    assert_non_null(sl_event_type_name((Sluice__V1__EventType)77));
}

/* What a peer sent may be no UTF-8; the event must still be one. */
static void test_strings(void **state)
{
    static const struct {
        const char *in, *out;
    } T[] = {
        {"plain", "plain"},
        {"", ""},
        {"\xc3\xa4", "\xc3\xa4"},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xc3", "\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
    };
    Sluice__V1__Event *e = new_event(SLUICE__V1__EVENT_TYPE__SYSTEM, CAUSE(CAUSE_NONE));

    (void)state;
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        set(&e->tls->sni, T[i].in);
        assert_string_equal(e->tls->sni, T[i].out);
    }
    assert_int_equal(sl_event_setn(&e->tls->sni, "a\0b", 3), SL_OK); /* NUL can't stand in a proto3 string of protobuf-c */
    assert_string_equal(e->tls->sni, "a\xef\xbf\xbd"
                                     "b");
    assert_int_equal(sl_event_set(&e->tls->sni, NULL), SL_OK);
    assert_string_equal(e->tls->sni, "");
    assert_int_equal(sl_event_setf(&e->dst->host, "%d-%s", 7, "\xff"), SL_OK);
    assert_string_equal(e->dst->host, "7-\xef\xbf\xbd");
    assert_int_equal(sl_event_append(&e->tls->server_cert_sans, &e->tls->n_server_cert_sans, "\xff"), SL_OK);
    assert_string_equal(e->tls->server_cert_sans[0], "\xef\xbf\xbd");
    sl_event_free(e);
    sl_event_free(NULL);
}

static void test_pack_and_copy(void **state)
{
    Sluice__V1__Event *e = reference_case_2(), *copy = NULL, *back = NULL;
    uint8_t *bytes = NULL, *again = NULL;
    size_t len = 0, again_len = 0;

    (void)state;
    assert_int_equal(sl_event_add_monitor(e, 5, "watch"), SL_OK);
    assert_int_equal(sl_event_finish(e), SL_OK);
    assert_int_equal(sl_event_copy(e, &copy), SL_OK);
    assert_int_equal(sl_event_pack(copy, &bytes, &len), SL_OK);
    assert_int_equal(sl_event_unpack(bytes, len, &back), SL_OK);
    assert_int_equal(sl_event_pack(back, &again, &again_len), SL_OK);
    assert_int_equal(len, again_len);
    assert_memory_equal(bytes, again, len);
    sl_event_free(back);
    assert_int_equal(sl_event_unpack((const uint8_t *)"\x08", 1, &back), SL_ERR_CORRUPT);
    assert_int_equal(sl_event_unpack((const uint8_t *)"", 0, &back), SL_OK); /* nothing: every group is there, empty */
    assert_non_null(back->policy->decryption);
    assert_non_null(back->records);
    free(bytes);
    free(again);
    sl_event_free(e);
    sl_event_free(copy);
    sl_event_free(back);
}

static void test_finish(void **state)
{
    Sluice__V1__Event *e = reference_case_1();

    (void)state;
    assert_int_equal(sl_event_finish(e), SL_OK);
    assert_int_equal(e->txn->bytes_total, 186);
    assert_string_equal(e->dst->service, "tcp/443");
    assert_string_equal(e->txn->component, "TLS Proxy");
    assert_int_equal(e->side, SLUICE__V1__SIDE__SIDE_SERVER);
    assert_true(strlen(e->description) > 20);
    assert_true(strlen(e->explanation) > 20);
    assert_true(e->n_remedies > 0);
    assert_string_equal(e->alerts[0]->name, "handshake_failure");
    sl_event_free(e);
}

static void test_json(void **state)
{
    Sluice__V1__Event *e = reference_case_2();
    char *line = NULL;
    json_error_t error;

    (void)state;
    set(&e->tls->sni, "a\nb\"\xff");
    assert_int_equal(sl_event_json(e, &line), SL_OK);
    assert_null(strchr(line, '\n'));
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "flow_id")), "00000000148a696e");
    assert_string_equal(json_string_value(json_object_get(json, "cause")), "SRV_CERT_SELF_SIGNED");
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "tls"), "sni")), "a\nb\"\xef\xbf\xbd");
    json_decref(json);
    free(line);
    sl_event_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_causes),  cmocka_unit_test(test_words),
                                       cmocka_unit_test(test_strings), cmocka_unit_test(test_pack_and_copy),
                                       cmocka_unit_test(test_finish),  cmocka_unit_test(test_json)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
