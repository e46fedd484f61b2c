/* SPDX-License-Identifier: Apache-2.0 */
/* Every AES-GCM vector of Wycheproof that our interface can express (96-bit IV, 128-bit tag, AES-128 and -256), through every
 * engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "record/gcm.h"

struct vector {
    uint8_t key[32], iv[12], aad[4096], msg[4096], ct[4096], tag[16];
    size_t key_len, aad_len, len;
    bool valid;
    int id;
};

static size_t from_hex(json_t *object, const char *name, uint8_t *out, size_t cap)
{
    const char *hex = json_string_value(json_object_get(object, name));
    assert_non_null(hex);
    size_t len = strlen(hex) / 2;
    assert_true(len <= cap);
    for (size_t i = 0; i < len; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
    return len;
}

static void check(const struct sl_gcm_engine *engine, const struct vector *v)
{
    uint8_t out[4096], tag[16];
    struct sl_gcm_key *key;
    struct sl_gcm_stream s;
    assert_int_equal(sl_gcm_key_new(engine, v->key, v->key_len, &key), SL_OK);
    if (v->valid) {
        assert_int_equal(sl_gcm_seal(key, v->iv, v->aad, v->aad_len, v->msg, out, v->len, tag), SL_OK);
        assert_memory_equal(out, v->ct, v->len);
        assert_memory_equal(tag, v->tag, 16);
    }
    const sl_err expected = v->valid ? SL_OK : SL_ERR_AUTH;
    assert_int_equal(sl_gcm_open(key, v->iv, v->aad, v->aad_len, v->ct, out, v->len, v->tag), expected);
    if (v->valid)
        assert_memory_equal(out, v->msg, v->len);
    assert_int_equal(sl_gcm_begin(key, &s, v->iv, v->aad, v->aad_len), SL_OK);
    for (size_t at = 0; at < v->len; at++)
        assert_int_equal(sl_gcm_decrypt(key, &s, v->ct + at, out + at, 1), SL_OK);
    assert_int_equal(sl_gcm_verify(key, &s, v->tag), expected);
    sl_gcm_key_free(key);
}

static void test_wycheproof(void **state)
{
    (void)state;
    json_error_t error;
    json_t *root = json_load_file(SLUICE_SOURCE_DIR "/tests/vectors/wycheproof_aes_gcm_test.json", 0, &error), *group, *test;
    assert_non_null(root);
    size_t g, i, engine_count, run = 0, all = 0, long_aad = 0;
    const struct sl_gcm_engine *const *engines = sl_gcm_engines(&engine_count);
    static struct vector v;
    json_array_foreach(json_object_get(root, "testGroups"), g, group)
    {
        const json_int_t key_bits = json_integer_value(json_object_get(group, "keySize"));
        const bool ours = json_integer_value(json_object_get(group, "ivSize")) == 96 &&
                          json_integer_value(json_object_get(group, "tagSize")) == 128 && (key_bits == 128 || key_bits == 256);
        json_array_foreach(json_object_get(group, "tests"), i, test)
        {
            all++;
            if (!ours)
                continue;
            const char *result = json_string_value(json_object_get(test, "result"));
            v.id = (int)json_integer_value(json_object_get(test, "tcId"));
            v.key_len = from_hex(test, "key", v.key, sizeof(v.key));
            from_hex(test, "iv", v.iv, sizeof(v.iv));
            v.aad_len = from_hex(test, "aad", v.aad, sizeof(v.aad));
            v.len = from_hex(test, "msg", v.msg, sizeof(v.msg));
            const size_t ct_len = from_hex(test, "ct", v.ct, sizeof(v.ct));
            from_hex(test, "tag", v.tag, sizeof(v.tag));
            v.valid = strcmp(result, "valid") == 0;
            if (ct_len > 0 || v.len == 0)
                v.len = ct_len;
            if (v.aad_len > SL_GCM_AAD_MAX) { /* longer than any TLS record's: refused by contract */
                long_aad++;
                continue;
            }
            for (size_t e = 0; e < engine_count; e++)
                check(engines[e], &v);
            run++;
        }
    }
    json_decref(root);
    print_message("%zu of %zu vectors through %zu engines; %zu have additional data longer than TLS has\n", run, all, engine_count,
                  long_aad);
    assert_true(run >= 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wycheproof)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
