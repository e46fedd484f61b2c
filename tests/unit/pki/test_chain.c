/* SPDX-License-Identifier: Apache-2.0 */
/* How a chain reads in an event: nothing a server writes can forge a field or a line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pki/chain.h"
#include "test_pki.h"

static void describes(void **state)
{
    struct tp root = tp_root("x");
    EVP_PKEY *rsa = tp_rsa(2048);
    struct tp leaf = tp_make(
        (struct tp_spec){.cn = "www.example.com",
                         .issuer = &root,
                         .key = rsa,
                         .san = "DNS:www.example.com,IP:192.0.2.1,IP:2001:db8::1,email:a@b.example,URI:https://x/,RID:1.2.3"});
    STACK_OF(X509) *stack = tp_stack((X509 *[]){leaf.cert, root.cert, NULL});
    static const char *const sans[] = {"www.example.com",   "192.0.2.1",      "2001:db8::1",
                                       "email:a@b.example", "URI:https://x/", "other:8"};
    struct sl_chain *chain = NULL;
    Sluice__V1__ChainCertificate *message = NULL;
    (void)state;

    assert_int_equal(sl_chain_new(leaf.cert, stack, &chain), SL_OK);
    assert_int_equal(sl_chain_count(chain), 2);
    assert_null(sl_chain_at(chain, 2));
    const struct sl_chain_cert *c = sl_chain_at(chain, 0);
    assert_string_equal(c->subject, "/CN=www.example.com");
    assert_string_equal(c->common_name, "www.example.com");
    assert_string_equal(c->issuer, "/CN=x");
    assert_string_equal(c->key, "RSA 2048");
    assert_string_equal(c->signature, "ecdsa-with-SHA256");
    assert_string_equal(c->not_before, "2026-05-16T12:00:00Z");
    assert_string_equal(c->not_after, "2026-08-14T12:00:00Z");
    assert_int_equal(c->san_count, 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(c->sans[i], sans[i]);
    assert_string_equal(sl_chain_at(chain, 1)->key, "EC P-256");
    struct sl_chain *second = sl_chain_ref(chain);
    sl_chain_unref(chain);
    assert_int_equal(sl_chain_message(second, 0, &message), SL_OK);
    assert_string_equal(message->subject, "/CN=www.example.com");
    assert_int_equal(message->n_sans, 6);
    assert_int_equal(message->der.len, c->der_len);
    assert_int_equal(strlen(message->sha256), 64);
    sluice__v1__chain_certificate__free_unpacked(message, NULL);
    assert_int_equal(sl_chain_message(second, 2, &message), SL_ERR_NOT_FOUND);
    sl_chain_unref(second);
    sk_X509_free(stack);
    EVP_PKEY_free(rsa);
    tp_free(&leaf);
    tp_free(&root);
}

static void hostile(void **state)
{
    struct tp slash = tp_make((struct tp_spec){.cn = "a/CN=b\nX: y\x7f"});
    struct tp empty = tp_make((struct tp_spec){.constraints = ""});
    struct tp device = tp_make((struct tp_spec){.subject_text = "unstructuredName=ciscoasa"});
    struct sl_chain *chain = NULL;
    (void)state;

    assert_int_equal(sl_chain_new(slash.cert, NULL, &chain), SL_OK);
    assert_string_equal(sl_chain_at(chain, 0)->subject, "/CN=a\\x2FCN=b\\x0AX: y\\x7F");
    assert_string_equal(sl_chain_at(chain, 0)->common_name, "");
    sl_chain_unref(chain);
    assert_int_equal(sl_chain_new(empty.cert, NULL, &chain), SL_OK);
    assert_string_equal(sl_chain_at(chain, 0)->subject, "");
    assert_int_equal(sl_chain_at(chain, 0)->san_count, 0);
    sl_chain_unref(chain);
    assert_int_equal(sl_chain_new(device.cert, NULL, &chain), SL_OK);
    assert_string_equal(sl_chain_at(chain, 0)->subject, "/unstructuredName=ciscoasa");
    sl_chain_unref(chain);
    tp_free(&slash);
    tp_free(&empty);
    tp_free(&device);
}

/* A name of many attributes is shown cut, and never in the middle of a character. */
static void long_names(void **state)
{
    X509_NAME *name = X509_NAME_new();
    char *text = NULL;
    unsigned char value[65];
    (void)state;
    for (size_t i = 0; i < 64; i += 2) {
        value[i] = 0xc3;
        value[i + 1] = 0xa9;
    }
    value[64] = 0;
    for (int i = 0; i < 40; i++)
        assert_true(X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_UTF8, value, 64, -1, 0));
    assert_int_equal(sl_cert_name_text(name, &text), SL_OK);
    size_t len = strlen(text);
    assert_true(len <= 1023 && len >= 1020);
    assert_int_not_equal((unsigned char)text[len - 1], 0xc3);
    free(text);
    X509_NAME_free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(describes), cmocka_unit_test(hostile), cmocka_unit_test(long_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
