/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "cli/message_edit.h"
#include "rpc/message.h"
#include "sluice/v1/management.pb-c.h"

static ProtobufCMessage *new_message(const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *m = NULL;
    assert_int_equal(sl_rpc_message_new(type, &m), SL_OK);
    return m;
}

static void add_named(ProtobufCMessage *config, size_t index, const char *name)
{
    ProtobufCMessage *rule = new_message(&sluice__v1__decryption_rule__descriptor);
    assert_int_equal(sl_edit_set_string(rule, "name", name), SL_OK);
    assert_int_equal(sl_edit_insert(config, "decryption_rules", index, rule), SL_OK);
}

static void lists(void **state)
{
    ProtobufCMessage *config = new_message(&sluice__v1__config__descriptor);
    char order[64] = "";
    (void)state;
    add_named(config, 0, "b");
    add_named(config, 0, "a");
    add_named(config, 2, "d");
    add_named(config, 2, "c");
    for (size_t i = 0; i < sl_edit_count(config, "decryption_rules"); i++)
        strcat(order, sl_edit_string(sl_edit_at(config, "decryption_rules", i), "name"));
    assert_string_equal(order, "abcd");
    assert_int_equal(sl_edit_find(config, "decryption_rules", "c"), 2);
    assert_true(sl_edit_find(config, "decryption_rules", "e") == SIZE_MAX);
    ProtobufCMessage *taken = sl_edit_take(config, "decryption_rules", 1);
    assert_string_equal(sl_edit_string(taken, "name"), "b");
    sl_rpc_message_free(taken);
    assert_int_equal(sl_edit_count(config, "decryption_rules"), 3);
    sl_rpc_message_free(config);
}

static void fields(void **state)
{
    ProtobufCMessage *rule = new_message(&sluice__v1__decryption_rule__descriptor), *match = NULL;
    char text[64];
    (void)state;
    assert_string_equal(sl_edit_string(rule, "name"), "");
    assert_int_equal(sl_edit_set_string(rule, "name", "one"), SL_OK);
    assert_int_equal(sl_edit_set_string(rule, "name", "two"), SL_OK);
    assert_string_equal(sl_edit_string(rule, "name"), "two");
    sl_edit_set_bool(rule, "disabled", true);
    assert_true(sl_edit_bool(rule, "disabled"));
    sl_edit_set_u64(rule, "expires_ns", 5);
    assert_int_equal(sl_edit_u64(rule, "expires_ns"), 5);
    assert_null(sl_edit_message(rule, "match"));
    assert_int_equal(sl_edit_make_message(rule, "match", &match), SL_OK);
    assert_int_equal(sl_edit_add_string(match, "hosts", "a.example"), SL_OK);
    assert_int_equal(sl_edit_add_string(match, "hosts", "b.example"), SL_OK);
    assert_string_equal(sl_edit_string_at(sl_edit_message(rule, "match"), "hosts", 1), "b.example");
    assert_int_equal(sl_edit_set_enum(rule, "action", "do-not-decrypt"), SL_OK);
    assert_string_equal(sl_edit_enum(rule, "action", text, sizeof text), "do-not-decrypt");
    assert_int_equal(sl_edit_set_enum(rule, "action", "BLOCK_RESET"), SL_OK);
    assert_int_equal(sl_edit_set_enum(rule, "action", "nonsense"), SL_ERR_INVALID);
    assert_string_equal(sl_edit_enum(rule, "action", text, sizeof text), "block-reset");
    sl_rpc_message_free(rule);
}

static void settings(void **state)
{
    static const struct {
        const char *name, *value, *shown; /* NULL: refused */
    } table[] = {
        {"on_untrusted_certificate", "present-untrusted", "present-untrusted"},
        {"on-untrusted-certificate", "FAIL_BYPASS", "bypass"},
        {"on-untrusted-certificate", "default", "default"},
        {"revocation", "hard", "hard"},
        {"crypto-profile", "compatible", "compatible"},
        {"default-access", "deny", "deny"},
        {"trust-name-without-certificate", "true", "true"},
        {"idle-timeout-ms", "60000", "60000"},
        {"idle-timeout-ms", "4294967296", NULL},
        {"idle-timeout-ms", "soon", NULL},
        {"trust-name-without-certificate", "1", NULL},
        {"revocation", "strict", NULL},
        {"nonsense", "1", NULL},
        {"", "1", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        ProtobufCMessage *m = new_message(&sluice__v1__settings__descriptor);
        struct sl_diag diag = {{0}};
        char text[64], name[64];
        sl_err err = sl_edit_set_scalar(m, table[i].name, table[i].value, &diag);
        if (table[i].shown) {
            assert_int_equal(err, SL_OK);
            snprintf(name, sizeof name, "%s", table[i].name);
            for (char *at = name; *at; at++)
                *at = *at == '-' ? '_' : *at;
            sl_edit_scalar_text(m, protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name), text, sizeof text);
            assert_string_equal(text, table[i].shown);
        } else {
            assert_int_equal(err, SL_ERR_INVALID);
            assert_true(diag.text[0]);
        }
        sl_rpc_message_free(m);
    }
}

static void enum_texts(void **state)
{
    char text[64];
    (void)state;
    assert_string_equal(sl_edit_enum_text(&sluice__v1__event_type__descriptor, 1, text, sizeof text), "tls-abort");
    assert_string_equal(sl_edit_enum_text(&sluice__v1__trust_kind__descriptor, 1, text, sizeof text), "pin");
    assert_string_equal(sl_edit_enum_text(&sluice__v1__trust_kind__descriptor, 99, text, sizeof text), "unknown 99");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lists), cmocka_unit_test(fields), cmocka_unit_test(settings),
                                       cmocka_unit_test(enum_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
