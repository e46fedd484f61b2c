/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "make.h"
#include "policy/yaml_field.h"

static void test_bad(void **state)
{
    static const struct {
        const char *yaml, *text;
    } T[] = {
        {"networks: [", "line 2, column 1: networks[0]: YAML syntax"},
        {"a: b", "line 1, column 1: unknown key \"a\"; here are known: networks"},
        {"networks:\n- {name: a, prefix: [x]}", "line 2, column 13: networks[0]: unknown key \"prefix\""},
        {"networks:\n- name: a\n  name: b", "line 3, column 3"},
        {"networks: a", "networks: expected a list"},
        {"networks: {name: a}", "expected a list: put '-'"},
        {"networks: [a]", "networks[0]: expected keys and values"},
        {"networks: [[a]]", "expected a single value, not a list"},
        {"networks: [{name: [a]}]", "expected a single value, not a list"},
        {"networks: [{name: {a: b}}]", "expected a single value"},
        {"networks: [null]", "an empty entry"},
        {"[a]", "not a list"},
        {"just text", "expected a policy"},
        {"networks: []\n---\nnetworks: []", "second document"},
        {"networks: &x []", "anchors"},
        {"networks: *x", "line 1"},
        {"networks: !!seq []", "tags"},
        {"settings: {max_connections: -1}", "no number from 0 to 4294967295"},
        {"settings: {max_connections: 4294967296}", "no number"},
        {"settings: {max_connections: 0x10}", "no number"},
        {"settings: {max_connections: ''}", "a number is missing"},
        {"settings: {trust_name_without_certificate: maybe}", "true or false"},
        {"settings: {revocation: sometimes}", "one of off, soft, hard"},
        {"decryption_rules:\n- name: x\n  action: decript",
         "line 3, column 11: decryption_rules[0].action: \"decript\" is unknown; one of decrypt, do-not-decrypt"},
        {"decryption_rules: [{expires: tomorrow}]", "2026-01-31T12:00:00Z"},
        {"decryption_rules: [{expires: 2026-01-01, expires_ns: 1}]", "twice"},
        {"decryption_rules: [{id: 18446744073709551616}]", "no number"},
        {"trusted_certificates: [{der: '!!!'}]", "base64"},
        {"trusted_certificates: [{der: AAA}]", "base64"},
        {"trusted_certificates: [{der: '-----BEGIN CERTIFICATE----- AAAA'}]", "PEM"},
        {"networks: [{name: \"a\\0b\"}]", "NUL"},
        {"networks: [{name: a\x01}]", "byte 19: not plain UTF-8 text: control characters"},
        {"? [a]\n: b", "a key is a plain word"},
        {"? {a: b}\n: c", "a key is a plain word"},
        {"\xff\xfe", "UTF-8"},
        {"networks: [{name: \"\xc3\x28\"}]", "UTF-8"},
    };
    unsigned failed = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        Sluice__V1__Config *config = NULL;
        struct sl_diag diag = {""};
        assert_int_equal(sl_policy_yaml_parse(T[i].yaml, strlen(T[i].yaml), &config, &diag), SL_ERR_INVALID);
        assert_null(config);
        if (!strstr(diag.text, T[i].text)) {
            print_error("case %zu (%s): %s\n", i, T[i].yaml, diag.text);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

/* Aliases can't multiply ("billion laughs"), depth and number of values are bounded. */
static void test_limits(void **state)
{
    static const char LAUGHS[] = "networks:\n- &a {name: lol}\n- [*a, *a, *a, *a]\n";
    Sluice__V1__Config *config = NULL;
    struct sl_diag diag = {""};
    size_t len = SL_YAML_BYTES_MAX + 1;
    char *text = malloc(len);

    (void)state;
    assert_int_equal(sl_policy_yaml_parse(LAUGHS, strlen(LAUGHS), &config, &diag), SL_ERR_INVALID);
    memset(text, ' ', len);
    assert_int_equal(sl_policy_yaml_parse(text, len, &config, &diag), SL_ERR_LIMIT);
    memset(text, '[', 100000);
    assert_int_not_equal(sl_policy_yaml_parse(text, 100000, &config, &diag), SL_OK);
    size_t n = (size_t)snprintf(text, len, "networks: [{name: a, prefixes: [");
    for (size_t i = 0; i < SL_YAML_NODES_MAX; i++, n += 3)
        memcpy(text + n, "\"\",", 3);
    assert_int_equal(sl_policy_yaml_parse(text, n, &config, &diag), SL_ERR_LIMIT);
    assert_null(config);
    free(text);
}

static void test_forms(void **state)
{
    static const char YAML[] = "# a comment\n"
                               "networks: [{name: lab, prefixes: [10.0.0.0/8, 192.0.2.7]}]\n"
                               "decryptionRules:\n"
                               "- name: yes\n"
                               "  match: {services: [443], hosts: ['*.example.com']}\n"
                               "  action: DO_NOT_DECRYPT\n"
                               "  expires: 2026-01-31T13:00:00.5+01:00\n"
                               "- {name: b, action: block_reset, expires_ns: 5, disabled: True, comment: ~}\n"
                               "settings: {onUntrustedCertificate: present-untrusted, on_non_tls: fail-block, revocation: HARD,\n"
                               "           crypto_profile: CRYPTO_COMPATIBLE}\n";
    Sluice__V1__Config *c = config_of(YAML);

    (void)state;
    assert_string_equal(c->networks[0]->prefixes[1], "192.0.2.7");
    assert_string_equal(c->decryption_rules[0]->name, "yes");
    assert_string_equal(c->decryption_rules[0]->match->services[0], "443");
    assert_int_equal(c->decryption_rules[0]->action, SLUICE__V1__DECRYPTION_ACTION__DO_NOT_DECRYPT);
    assert_int_equal(c->decryption_rules[0]->expires_ns, UINT64_C(1769860800500000000));
    assert_int_equal(c->decryption_rules[1]->action, SLUICE__V1__DECRYPTION_ACTION__BLOCK_RESET);
    assert_int_equal(c->decryption_rules[1]->expires_ns, 5);
    assert_true(c->decryption_rules[1]->disabled);
    assert_string_equal(c->decryption_rules[1]->comment, "");
    assert_int_equal(c->settings->on_untrusted_certificate, SLUICE__V1__FAILURE_ACTION__FAIL_PRESENT_UNTRUSTED);
    assert_int_equal(c->settings->on_non_tls, SLUICE__V1__FAILURE_ACTION__FAIL_BLOCK);
    assert_int_equal(c->settings->revocation, SLUICE__V1__REVOCATION_MODE__REVOCATION_HARD);
    assert_int_equal(c->settings->crypto_profile, SLUICE__V1__CRYPTO_PROFILE__CRYPTO_COMPATIBLE);
    config_free(c);
    config_free(config_of(""));
    config_free(config_of("# nothing\n"));
    config_free(config_of("---\n...\n"));
    config_free(config_of("settings:\n"));
}

static void assert_same(const Sluice__V1__Config *a, const Sluice__V1__Config *b)
{
    size_t la = sluice__v1__config__get_packed_size(a), lb = sluice__v1__config__get_packed_size(b);
    uint8_t *pa = malloc(la + 1), *pb = malloc(lb + 1);
    assert_int_equal(la, lb);
    sluice__v1__config__pack(a, pa);
    sluice__v1__config__pack(b, pb);
    assert_memory_equal(pa, pb, la);
    free(pa);
    free(pb);
}

static void test_round_trip(void **state)
{
    /* texts that YAML might take for something else, or that need escapes */
    static const char *const NASTY[] = {
        "",
        " ",
        "true",
        "No",
        "null",
        "~",
        "0x10",
        "1e3",
        "12",
        "- a",
        "a: b",
        "# no comment",
        "'",
        "\"",
        "a\nb",
        "\n",
        " lead",
        "trail ",
        "a\tb",
        "\x01\x1b[31m",
        "[a]",
        "{a}",
        "&x",
        "*x",
        "!t",
        "|",
        ">",
        "%",
        "@",
        "`",
        "?",
        "a #b",
        "\xc3\xa4\xf0\x9f\x99\x82",
        "\x7f",
        "\xe2\x80\xa8",
        "\xef\xbb\xbf",
        "<<",
        "=",
        "2026-01-01",
        "...",
        "---",
        "a\r\nb",
        "\xc2\x85",
        "\\",
        "x:",
        ":x",
        ",",
        "very  many   blanks",
    };
    size_t n = sizeof(NASTY) / sizeof(NASTY[0]), len;
    Sluice__V1__Config *c =
        config_of("networks: [{name: x}]\nsettings: {}\ndecryption_rules: [{match: {}, expires_ns: 1769860800500000000}]");
    Sluice__V1__Config *back = NULL;
    char *text = NULL, *again = NULL;
    struct sl_diag diag = {""};

    (void)state;
    c->networks[0]->prefixes = calloc(n, sizeof(char *));
    for (size_t i = 0; i < n; i++)
        c->networks[0]->prefixes[c->networks[0]->n_prefixes++] = strdup(NASTY[i]);
    unsigned char *der = make_certificate(true, 86400, &len);
    add_certificate(c, "root", SLUICE__V1__TRUST_KIND__TRUST_ANCHOR, der, len);
    c->trusted_certificates[0]->ports = calloc(2, sizeof(uint32_t));
    c->trusted_certificates[0]->ports[0] = 443;
    c->trusted_certificates[0]->ports[1] = UINT32_MAX;
    c->trusted_certificates[0]->n_ports = 2;
    c->decryption_rules[0]->id = UINT64_MAX;
    assert_int_equal(sl_policy_yaml_print(c, &text, &diag), SL_OK);
    assert_non_null(strstr(text, "  der: |\n    -----BEGIN CERTIFICATE-----\n"));
    assert_non_null(strstr(text, "expires: 2026-01-31T12:00:00.5Z\n"));
    assert_non_null(strstr(text, "kind: anchor\n"));
    assert_null(strchr(text, 0x1b));
    if (sl_policy_yaml_parse(text, strlen(text), &back, &diag))
        fail_msg("%s\n%s", diag.text, text);
    assert_same(c, back);
    assert_int_equal(sl_policy_yaml_print(back, &again, &diag), SL_OK);
    assert_string_equal(text, again);
    free(text);
    free(again);
    config_free(c);
    config_free(back);
}

static void test_empty_prints(void **state)
{
    Sluice__V1__Config c = SLUICE__V1__CONFIG__INIT;
    char *text = NULL;

    (void)state;
    assert_int_equal(sl_policy_yaml_print(&c, &text, NULL), SL_OK);
    assert_string_equal(text, "{}\n");
    free(text);
}

static void test_times(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns; /* 1: refused */
    } T[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-02", UINT64_C(86400000000000)},
        {"2026-01-31T12:00:00Z", UINT64_C(1769860800000000000)},
        {"2026-01-31 12:00:00.000000001z", UINT64_C(1769860800000000001)},
        {"2026-01-31T12:00:00.0000000019Z", UINT64_C(1769860800000000001)},
        {"2024-02-29T00:00:00-02:30", UINT64_C(1709173800000000000)},
        {"2023-02-29", 1},
        {"2026-13-01", 1},
        {"2026-00-01", 1},
        {"2026-01-32", 1},
        {"2026-1-1", 1},
        {"1969-12-31", 1},
        {"1970-01-01T00:00:00+01:00", 1},
        {"9999-01-01", 1},
        {"2026-01-31T24:00:00Z", 1},
        {"2026-01-31T12:60:00Z", 1},
        {"2026-01-31T12:00:00", 1},
        {"2026-01-31T12:00:00.Z", 1},
        {"2026-01-31T12:00:00Zx", 1},
        {"2026-01-31T12:00:00+1:00", 1},
        {"2026-01-31T", 1},
        {"", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        uint64_t ns = 1;
        sl_err err = sl_yaml_time_parse(T[i].text, &ns);
        if ((err == SL_OK) != (T[i].ns != 1) || ns != T[i].ns)
            fail_msg("%s: %d, %llu", T[i].text, (int)err, (unsigned long long)ns);
    }
}

static void test_diff(void **state)
{
    Sluice__V1__Config *a = config_of("decryption_rules: [{name: a, action: decrypt}]");
    Sluice__V1__Config *b = config_of("decryption_rules: [{name: a, action: block}]");
    char *text = NULL;

    (void)state;
    assert_int_equal(sl_policy_yaml_diff("version 1", a, "candidate", b, &text, NULL), SL_OK);
    assert_string_equal(
        text,
        "--- version 1\n+++ candidate\n@@ -1,3 +1,3 @@\n decryption_rules:\n - name: a\n-  action: decrypt\n+  action: block\n");
    free(text);
    assert_int_equal(sl_policy_yaml_diff("x", a, "y", a, &text, NULL), SL_OK);
    assert_string_equal(text, "");
    free(text);
    config_free(a);
    config_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),        cmocka_unit_test(test_limits), cmocka_unit_test(test_forms),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_times),  cmocka_unit_test(test_empty_prints),
        cmocka_unit_test(test_diff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
