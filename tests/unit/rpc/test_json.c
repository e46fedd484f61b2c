/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/json.h"
#include "rpc/message.h"
#include "sluice/test/v1/conformance.pb-c.h"
#include "sluice/test/v1/presence.pb-c.h"
#include "sluice/v1/config.pb-c.h"

#define KINDS    (&sluice__test__v1__kinds__descriptor)
#define PRESENCE (&sluice__test__v1__presence__descriptor)
#define NEEDY    (&sluice__test__v1__needy__descriptor)
#define CONFIG   (&sluice__v1__config__descriptor)

static sl_err parse(const ProtobufCMessageDescriptor *type, const char *text, unsigned flags, ProtobufCMessage **out,
                    struct sl_diag *diag)
{
    return sl_json_parse(type, text, strlen(text), flags, out, diag);
}

/* text → message → wire → message → text; the caller compares and frees. */
static char *round_trip(const ProtobufCMessageDescriptor *type, const char *text, unsigned flags)
{
    struct sl_diag diag = {0};
    ProtobufCMessage *message = NULL, *copy = NULL;
    char *out = NULL;
    if (parse(type, text, flags, &message, &diag) != SL_OK)
        fail_msg("%s: %s", text, diag.text);
    assert_int_equal(sl_rpc_message_copy(message, &copy), SL_OK);
    assert_int_equal(sl_json_print(copy, flags, &out, &diag), SL_OK);
    sl_rpc_message_free(message);
    sl_rpc_message_free(copy);
    return out;
}

static void test_round_trip_of_every_kind(void **state)
{
    static const struct {
        const char *in, *out; /* NULL: the same */
    } T[] = {
        {"{}", NULL},
        {"{\"fInt32\":-2147483648,\"fSint32\":2147483647,\"fSfixed32\":-1,\"fUint32\":4294967295,\"fFixed32\":7}", NULL},
        {"{\"fInt64\":\"-9223372036854775808\",\"fSint64\":\"9223372036854775807\",\"fSfixed64\":\"-1\","
         "\"fUint64\":\"18446744073709551615\",\"fFixed64\":\"1\"}",
         NULL},
        {"{\"fInt64\":-5,\"fUint64\":5}", "{\"fInt64\":\"-5\",\"fUint64\":\"5\"}"},
        {"{\"fInt64\":9223372036854775807}", "{\"fInt64\":\"9223372036854775807\"}"},
        {"{\"fInt32\":\"7\",\"fUint32\":7.0,\"fInt64\":1e3}", "{\"fInt32\":7,\"fUint32\":7,\"fInt64\":\"1000\"}"},
        {"{\"fFloat\":0.5,\"fDouble\":-2.25}", NULL},
        {"{\"fFloat\":\"NaN\",\"fDouble\":\"-Infinity\"}", NULL},
        {"{\"fFloat\":\"Infinity\",\"fDouble\":\"1.5\"}", "{\"fFloat\":\"Infinity\",\"fDouble\":1.5}"},
        {"{\"fDouble\":3}", "{\"fDouble\":3.0}"},
        {"{\"fDouble\":-0.0}", "{}"}, /* protobuf-c takes minus zero for the default */
        {"{\"fBool\":true,\"fEnum\":\"GREEN\"}", NULL},
        {"{\"fBool\":false,\"fEnum\":\"COLOR_UNSPECIFIED\",\"fInt32\":0,\"fString\":\"\",\"fBytes\":\"\"}", "{}"},
        {"{\"fEnum\":2}", "{\"fEnum\":\"GREEN\"}"},
        {"{\"fEnum\":-1}", "{\"fEnum\":\"NEGATIVE\"}"},
        {"{\"fEnum\":77}", "{\"fEnum\":77}"},
        {"{\"fString\":\"häß\\n\\\"\\\\\xf0\x9f\x99\x82\"}", NULL},
        {"{\"fBytes\":\"AA==\"}", NULL},
        {"{\"fBytes\":\"AAECAwQ=\"}", NULL},
        {"{\"fBytes\":\"AAECAwQF\"}", NULL},
        {"{\"fBytes\":\"-_-_\"}", "{\"fBytes\":\"+/+/\"}"},
        {"{\"fBytes\":\"AAECAwQ\"}", "{\"fBytes\":\"AAECAwQ=\"}"},
        {"{\"fMessage\":{}}", NULL},
        {"{\"fMessage\":{\"fMessage\":{\"fInt32\":1}}}", NULL},
        {"{\"f_int32\":3,\"f_message\":{\"f_bool\":true}}", "{\"fInt32\":3,\"fMessage\":{\"fBool\":true}}"},
        {"{\"rInt32\":[1,-2,0],\"rSint64\":[\"-1\"],\"rUint64\":[\"1\",\"18446744073709551615\"],\"rFloat\":[0.5,\"NaN\"],"
         "\"rDouble\":[1.0,2.5],\"rBool\":[true,false],\"rEnum\":[\"RED\",\"COLOR_UNSPECIFIED\",9],\"rString\":[\"\",\"x\"],"
         "\"rBytes\":[\"\",\"AQ==\"],\"rMessage\":[{},{\"fInt32\":1,\"rMessage\":[{}]}]}",
         NULL},
        {"{\"rInt32\":[],\"rMessage\":[],\"mString\":{}}", "{}"},
        {"{\"cInt32\":0}", NULL},
        {"{\"cString\":\"\"}", NULL},
        {"{\"cBytes\":\"\"}", NULL},
        {"{\"cMessage\":{}}", NULL},
        {"{\"cEnum\":\"RED\"}", NULL},
        {"{\"cUint64\":\"5\"}", NULL},
        {"{\"cUint64\":null,\"cString\":\"x\"}", "{\"cString\":\"x\"}"},
        {"{\"mString\":{\"a\":\"b\",\"\":\"\"}}", NULL},
        {"{\"mMessage\":{\"-1\":{\"fInt32\":1},\"7\":{}}}", NULL},
        {"{\"mBool\":{\"true\":\"1\",\"false\":\"0\"}}", NULL},
        {"{\"mEnum\":{\"18446744073709551615\":\"RED\"}}", NULL},
        {"{\"oddName2x\":4}", NULL},
        {"{\"odd__name_2x\":4}", "{\"oddName2x\":4}"},
        {"{\"fInt32\":null,\"fString\":null,\"fMessage\":null,\"rInt32\":null,\"mString\":null}", "{}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof T / sizeof T[0]; i++) {
        char *out = round_trip(KINDS, T[i].in, 0);
        assert_string_equal(out, T[i].out != NULL ? T[i].out : T[i].in);
        free(out);
    }
}

static void test_presence(void **state)
{
    static const struct {
        const char *in, *out;
        unsigned flags;
    } T[] = {
        {"{}", "{}", 0},
        {"{}", "{}", SL_JSON_DEFAULTS},
        {"{\"oInt32\":0,\"oString\":\"\",\"oBytes\":\"\",\"oBool\":false,\"oDouble\":0.0,\"oMessage\":{},\"oUint64\":\"0\"}", NULL,
         0},
        {"{\"oDefault\":42}", NULL, 0},
        {"{\"oText\":\"preset\"}", NULL, 0},
        {"{\"oText\":\"other\"}", NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof T / sizeof T[0]; i++) {
        char *out = round_trip(PRESENCE, T[i].in, T[i].flags);
        assert_string_equal(out, T[i].out != NULL ? T[i].out : T[i].in);
        free(out);
    }
}

static void test_defaults_and_names(void **state)
{
    char *out = round_trip(CONFIG, "{\"networks\":[{\"name\":\"n\"}]}", SL_JSON_DEFAULTS | SL_JSON_PROTO_NAMES);
    (void)state;
    assert_non_null(strstr(out, "\"decryption_rules\":[]"));
    assert_non_null(strstr(out, "{\"name\":\"n\",\"prefixes\":[],\"includes\":[],\"description\":\"\"}"));
    free(out);
    out = round_trip(KINDS, "{\"mString\":{\"k\":\"v\"}}", SL_JSON_DEFAULTS);
    assert_non_null(strstr(out, "\"fUint64\":\"0\""));
    assert_non_null(strstr(out, "\"fEnum\":\"COLOR_UNSPECIFIED\""));
    assert_non_null(strstr(out, "\"mBool\":{}"));
    assert_null(strstr(out, "fMessage"));
    assert_null(strstr(out, "cInt32"));
    free(out);
    out = round_trip(KINDS, "{\"fInt32\":1}", SL_JSON_INDENT);
    assert_string_equal(out, "{\n  \"fInt32\": 1\n}");
    free(out);
}

static void test_errors_name_the_place(void **state)
{
    static const struct {
        const ProtobufCMessageDescriptor *type;
        const char *in, *text;
    } T[] = {
        {CONFIG, "{\"decryptionRules\":[{},{},{\"action\":\"decript\"}]}",
         "decryptionRules[2].action: unknown value \"decript\"; one of DECRYPT, DO_NOT_DECRYPT, BLOCK, BLOCK_RESET, MONITOR"},
        {CONFIG, "{\"decryption_rules\":[{\"match\":{\"hosts\":[\"a\",7]}}]}",
         "decryption_rules[0].match.hosts[1]: expected a string, not a number"},
        {CONFIG, "{\"netwroks\":[]}", "unknown field \"netwroks\""},
        {CONFIG, "{\"networks\":[{\"nmae\":1}]}", "networks[0]: unknown field \"nmae\""},
        {CONFIG, "{\"networks\":{}}", "networks: expected a list, not an object"},
        {CONFIG, "{\"decryptionRules\":[],\"decryption_rules\":[]}", "decryption_rules: given a second time as decryptionRules"},
        {CONFIG, "[]", "expected an object, not a list"},
        {CONFIG, "7", "expected an object, not a number"},
        {CONFIG, "{", "line 1, column 1: string or '}' expected near end of file"},
        {CONFIG, "", "line 1, column 0: unexpected token near end of file"},
        {KINDS, "{\"fInt32\":2147483648}", "fInt32: out of range -2147483648 to 2147483647"},
        {KINDS, "{\"fInt32\":-2147483649}", "fInt32: out of range -2147483648 to 2147483647"},
        {KINDS, "{\"fUint32\":-1}", "fUint32: out of range 0 to 4294967295"},
        {KINDS, "{\"fUint64\":\"18446744073709551616\"}", "fUint64: 18446744073709551616 is out of range"},
        {KINDS, "{\"fInt64\":\"9223372036854775808\"}", "fInt64: out of range -9223372036854775808 to 9223372036854775807"},
        {KINDS, "{\"fInt64\":\"-9223372036854775809\"}", "fInt64: out of range -9223372036854775808 to 9223372036854775807"},
        {KINDS, "{\"fInt64\":\"0x10\"}", "fInt64: \"0x10\" is not a whole number"},
        {KINDS, "{\"fInt64\":\" 1\"}", "fInt64: \" 1\" is not a whole number"},
        {KINDS, "{\"fInt64\":\"\"}", "fInt64: \"\" is not a whole number"},
        {KINDS, "{\"fInt64\":\"-\"}", "fInt64: \"-\" is not a whole number"},
        {KINDS, "{\"fInt32\":1.5}", "fInt32: not a whole number"},
        {KINDS, "{\"fUint64\":1e300}", "fUint64: not a whole number"},
        {KINDS, "{\"fInt32\":true}", "fInt32: expected a whole number, not a boolean"},
        {KINDS, "{\"fBool\":1}", "fBool: expected true or false, not a number"},
        {KINDS, "{\"fBool\":\"true\"}", "fBool: expected true or false, not a string"},
        {KINDS, "{\"fFloat\":1e39}", "fFloat: out of range"},
        {KINDS, "{\"fDouble\":\"1e999\"}", "fDouble: out of range"},
        {KINDS, "{\"fDouble\":\"0x1p3\"}", "fDouble: \"0x1p3\" is not a number"},
        {KINDS, "{\"fDouble\":\"1.5.\"}", "fDouble: \"1.5.\" is not a number"},
        {KINDS, "{\"fDouble\":\"inf\"}", "fDouble: \"inf\" is not a number"},
        {KINDS, "{\"fDouble\":[]}", "fDouble: expected a number, not a list"},
        {KINDS, "{\"fEnum\":true}", "fEnum: expected a name, not a boolean"},
        {KINDS, "{\"fEnum\":4294967296}", "fEnum: out of range -2147483648 to 2147483647"},
        {KINDS, "{\"fBytes\":\"A\"}", "fBytes: base64 of an impossible length"},
        {KINDS, "{\"fBytes\":\"AA=A\"}", "fBytes: not base64 at character 3"},
        {KINDS, "{\"fBytes\":\"A A=\"}", "fBytes: not base64 at character 2"},
        {KINDS, "{\"fBytes\":\"=\"}", "fBytes: base64 of an impossible length"},
        {KINDS, "{\"fBytes\":1}", "fBytes: expected a base64 string, not a number"},
        {KINDS, "{\"fMessage\":[]}", "fMessage: expected an object, not a list"},
        {KINDS, "{\"rInt32\":[1,null]}", "rInt32[1]: expected a whole number, not null"},
        {KINDS, "{\"rMessage\":[{},{\"fInt32\":[]}]}", "rMessage[1].fInt32: expected a whole number, not a list"},
        {KINDS, "{\"rMessage\":[{\"cInt32\":1,\"cString\":\"\"}]}", "rMessage[0].cString: excludes c_int32, which is given too"},
        {KINDS, "{\"mMessage\":{\"1\":{\"fInt32\":\"x\"}}}", "mMessage[\"1\"].fInt32: \"x\" is not a whole number"},
        {KINDS, "{\"mMessage\":{\"1.5\":{}}}", "mMessage[\"1.5\"]: \"1.5\" is not a whole number"},
        {KINDS, "{\"mBool\":{\"yes\":\"1\"}}", "mBool[\"yes\"]: the key is neither true nor false"},
        {KINDS, "{\"mString\":[]}", "mString: expected an object, not a list"},
        {KINDS, "{\"fInt32\":1,\"fInt32\":2}", "line 1, column 20: duplicate object key near '\"fInt32\"'"},
        {KINDS, "{\"fString\":\"a\\u0000b\"}", "line 1, column 21: \\u0000 is not allowed without JSON_ALLOW_NUL"},
        {KINDS, "{\"fString\":\"\xff\"}", "line 1, column 12: unable to decode byte 0xff"},
        {NEEDY, "{\"part\":{}}", "name is missing"},
        {NEEDY, "{\"name\":\"\"}", "part is missing"},
        {NEEDY, "{\"name\":null,\"part\":{}}", "name is missing"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof T / sizeof T[0]; i++) {
        struct sl_diag diag = {0};
        ProtobufCMessage *message = NULL;
        assert_int_equal(parse(T[i].type, T[i].in, 0, &message, &diag), SL_ERR_INVALID);
        assert_null(message);
        if (strncmp(diag.text, T[i].text, strlen(T[i].text)) != 0)
            fail_msg("%s: %s", T[i].in, diag.text);
        assert_int_equal(parse(T[i].type, T[i].in, 0, &message, NULL), SL_ERR_INVALID);
    }
}

static void test_unknown_fields_can_be_ignored(void **state)
{
    char *out = round_trip(KINDS, "{\"new\":{\"x\":[1]},\"fInt32\":1}", SL_JSON_IGNORE_UNKNOWN);
    (void)state;
    assert_string_equal(out, "{\"fInt32\":1}");
    free(out);
}

/* {"fMessage":{"fMessage":…{}…}} */
static char *nested(size_t depth)
{
    static const char OPEN[] = "{\"fMessage\":";
    char *text = malloc(depth * sizeof OPEN + 8), *at = text;
    for (size_t i = 1; i < depth; i++)
        at = stpcpy(at, OPEN);
    at = stpcpy(at, "{}");
    for (size_t i = 1; i < depth; i++)
        *at++ = '}';
    *at = '\0';
    return text;
}

static void test_depth_is_limited(void **state)
{
    static const struct {
        size_t depth;
        sl_err err;
    } T[] = {{1, SL_OK},
             {SL_RPC_DEPTH_MAX, SL_OK},
             {SL_RPC_DEPTH_MAX + 1, SL_ERR_LIMIT},
             {2000, SL_ERR_LIMIT},
             {100000, SL_ERR_INVALID}};
    (void)state;
    for (size_t i = 0; i < sizeof T / sizeof T[0]; i++) {
        char *text = nested(T[i].depth), *out = NULL;
        ProtobufCMessage *message = NULL;
        assert_int_equal(parse(KINDS, text, 0, &message, NULL), T[i].err);
        if (T[i].err == SL_OK) {
            assert_int_equal(sl_json_print(message, 0, &out, NULL), SL_OK);
            assert_string_equal(out, text);
        }
        sl_rpc_message_free(message);
        free(out);
        free(text);
    }
    /* Printing has the same limit. */
    Sluice__Test__V1__Kinds levels[SL_RPC_DEPTH_MAX + 1];
    char *out = NULL;
    for (size_t i = 0; i < SL_RPC_DEPTH_MAX + 1; i++) {
        sluice__test__v1__kinds__init(&levels[i]);
        levels[i].f_message = i > 0 ? &levels[i - 1] : NULL;
    }
    assert_int_equal(sl_json_print(&levels[SL_RPC_DEPTH_MAX].base, 0, &out, NULL), SL_ERR_LIMIT);
    assert_int_equal(sl_json_print(&levels[SL_RPC_DEPTH_MAX - 1].base, 0, &out, NULL), SL_OK);
    free(out);
}

static void test_a_string_that_is_not_text_cannot_be_printed(void **state)
{
    Sluice__Test__V1__Kinds kinds = SLUICE__TEST__V1__KINDS__INIT, outer = SLUICE__TEST__V1__KINDS__INIT;
    char bad[] = "a\xff", *out = NULL;
    struct sl_diag diag;
    (void)state;
    kinds.f_string = bad;
    outer.f_message = &kinds;
    assert_int_equal(sl_json_print(&outer.base, 0, &out, &diag), SL_ERR_CORRUPT);
    assert_string_equal(diag.text, "fMessage.fString: not UTF-8");
    assert_null(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_of_every_kind),
        cmocka_unit_test(test_presence),
        cmocka_unit_test(test_defaults_and_names),
        cmocka_unit_test(test_errors_name_the_place),
        cmocka_unit_test(test_unknown_fields_can_be_ignored),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_a_string_that_is_not_text_cannot_be_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
