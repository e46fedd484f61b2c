/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "make.h"
#include "policy/validate.h"

static const uint64_t NOW = UINT64_C(1800000000) * SL_NS_PER_S;

/* One finding with this path and this piece of text is among them. */
static void expect(const struct sl_findings *f, bool error, const char *path, const char *text)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i]->error == error && strcmp(f->items[i]->path, path) == 0 && strstr(f->items[i]->text, text))
            return;
    for (size_t i = 0; i < f->count; i++)
        print_message("  %d %s: %s\n", f->items[i]->error, f->items[i]->path, f->items[i]->text);
    fail_msg("missing: %s: %s", path, text);
}

#define RULE(match) "decryption_rules: [{name: r, action: decrypt, match: " match "}]"

static void test_errors(void **state)
{
    static const struct {
        const char *yaml, *path, *text;
    } T[] = {
        {"networks: [{name: ''}]", "networks[0].name", "choose another name"},
        {"networks: [{name: 10.0.0.1}]", "networks[0].name", "mistaken for an address"},
        {"networks: [{name: any}]", "networks[0].name", "reserved"},
        {"networks: [{name: \"a\\tb\"}]", "networks[0].name", "choose another name"},
        {"services: [{name: '443'}]", "services[0].name", "mistaken for a port"},
        {"hosts: [{name: www.example}]", "hosts[0].name", "mistaken for a server's name"},
        {"networks: [{name: a}, {name: b}, {name: a}]", "networks[2].name", "taken by networks[0]"},
        {"networks: [{name: a, prefixes: [10.0.0.1/8]}]", "networks[0].prefixes[0]", "10.0.0.0/8"},
        {"networks: [{name: a, includes: [b]}]", "networks[0].includes[0]", "no network object \"b\""},
        {"networks: [{name: a, includes: [a]}]", "networks[0].includes[0]", "remove one"},
        {"networks: [{name: a, includes: [b]}, {name: b, includes: [c]}, {name: c, includes: [a]}]", "networks[2].includes[0]",
         "in turn"},
        {"services: [{name: a, ports: ['0']}]", "services[0].ports[0]", "1 to 65535"},
        {"services: [{name: a, ports: ['65536']}]", "services[0].ports[0]", "1 to 65535"},
        {"services: [{name: a, ports: [20-10]}]", "services[0].ports[0]", "10-20"},
        {"hosts: [{name: a, patterns: ['a.*.example']}]", "hosts[0].patterns[0]", "'*'"},
        {"hosts: [{name: a, patterns: ['ex ample']}]", "hosts[0].patterns[0]", "no server name"},
        {"hosts: [{name: a, patterns: ['b\xc3\xbc\xc3\xa4.x.example']}]", "hosts[0].patterns[0]", "xn--"},
        {"hosts: [{name: a, patterns: ['*.']}]", "hosts[0].patterns[0]", "no server name"},
        {"hosts: [{name: a, patterns: ['*.10.0.0.1']}]", "hosts[0].patterns[0]", "no server name"},
        {RULE("{sources: [x]}"), "decryption_rules[0].match.sources[0]", "no network object \"x\""},
        {RULE("{destinations: [10.0.0.300]}"), "decryption_rules[0].match.destinations[0]", "no address"},
        {RULE("{services: [x]}"), "decryption_rules[0].match.services[0]", "no service object"},
        {RULE("{hosts: [x]}"), "decryption_rules[0].match.hosts[0]", "no host object"},
        {RULE("{hosts: ['x..y']}"), "decryption_rules[0].match.hosts[0]", "no server name"},
        {"decryption_rules: [{name: r}]", "decryption_rules[0].action", "say what the rule does"},
        {"decryption_rules: [{action: block}]", "decryption_rules[0].name", "a rule has a name"},
        {"access_rules: [{name: r}]", "access_rules[0].action", "allow or deny"},
        {"access_rules: [{name: r, action: deny}, {name: r, action: deny}]", "access_rules[1].name", "taken"},
        {"decryption_rules: [{name: a, action: block, id: 4}]\naccess_rules: [{name: b, action: deny, id: 4}]",
         "decryption_rules[0].id", "same id 4"},
        {"settings: {default_decryption: monitor}", "settings.default_decryption", "no rule matches"},
        {"settings: {on_failed_handshake: present-untrusted}", "settings.on_failed_handshake", "block, bypass"},
        {"settings: {handshake_timeout_ms: 5}", "settings.handshake_timeout_ms", "100 to"},
        {"trusted_certificates: [{name: c, kind: pin}]", "trusted_certificates[0].der", "missing"},
        {"trusted_certificates: [{name: c, kind: pin, der: AAAA}]", "trusted_certificates[0].der", "no X.509"},
        {"trusted_certificates: [{kind: pin, der: AAAA}]", "trusted_certificates[0].name", "has a name"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        Sluice__V1__Config *config = config_of(T[i].yaml);
        struct sl_findings f;
        assert_int_equal(sl_policy_validate(config, NOW, &f), SL_OK);
        expect(&f, true, T[i].path, T[i].text);
        assert_int_equal(f.errors > 0, 1);
        sl_findings_free(&f);
        config_free(config);
    }
}

static void test_warnings(void **state)
{
    static const struct {
        const char *yaml, *path, *text; /* text NULL: no finding at all */
    } T[] = {
        {"{}", "", NULL},
        {"decryption_rules: [{name: a, action: decrypt}, {name: b, action: block}]", "decryption_rules[1]", "\"a\" above it"},
        {"decryption_rules: [{name: a, action: monitor}, {name: b, action: block}]", "", NULL},
        {"decryption_rules: [{name: a, action: decrypt, disabled: true}, {name: b, action: block}]", "", NULL},
        {"decryption_rules: [{name: a, action: decrypt, expires: 2100-01-01}, {name: b, action: block}]", "", NULL},
        {"decryption_rules: [{name: a, action: decrypt, match: {sources: [10.0.0.0/8], services: ['400-500'], hosts: "
         "['*.x.example']}},"
         " {name: b, action: block, match: {sources: [10.1.0.0/16, 10.2.0.1], services: ['443'], hosts: [a.x.example, "
         "'*.b.x.example']}}]",
         "decryption_rules[1]", "never match"},
        {"decryption_rules: [{name: a, action: decrypt, match: {sources: [10.0.0.0/8]}},"
         " {name: b, action: block, match: {sources: [10.1.0.0/16, 11.0.0.0/8]}}]",
         "", NULL},
        {"decryption_rules: [{name: a, action: decrypt, match: {hosts: ['*.x.example']}}, {name: b, action: block, match: {hosts: "
         "[x.example]}}]",
         "", NULL},
        {"decryption_rules: [{name: a, action: decrypt, match: {hosts: ['*']}}, {name: b, action: block}]", "", NULL},
        {"access_rules: [{name: a, action: deny}, {name: b, action: allow}]", "access_rules[1]", "never match"},
        {"decryption_rules: [{name: a, action: block, expires: 2020-01-01}]", "decryption_rules[0]", "expired on 2020-01-01"},
        {"access_rules: [{name: a, action: deny, expires: 2020-01-01}]", "access_rules[0]", "expired"},
        {"decryption_rules: [{name: a, action: do-not-decrypt, comment: Temporary bypass}]", "decryption_rules[0]",
         "never expires"},
        {"decryption_rules: [{name: a, action: do-not-decrypt, comment: temporary, expires: 2100-01-01}]", "", NULL},
        {"networks: [{name: a}]", "networks[0]", "empty"},
        {"services: [{name: a}]", "services[0]", "empty"},
        {"hosts: [{name: a}]", "hosts[0]", "empty"},
        {"settings: {crypto_profile: compatible}", "settings.crypto_profile", "go back to modern"},
        {"settings: {trust_name_without_certificate: true}", "settings.trust_name_without_certificate", "escape"},
        {"settings: {revocation: off}", "settings.revocation", "revoked"},
        {"settings: {on_untrusted_certificate: bypass}", "settings.on_untrusted_certificate", "escape"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        Sluice__V1__Config *config = config_of(T[i].yaml);
        struct sl_findings f;
        assert_int_equal(sl_policy_validate(config, NOW, &f), SL_OK);
        assert_int_equal(f.errors, 0);
        if (T[i].text)
            expect(&f, false, T[i].path, T[i].text);
        else if (f.count)
            fail_msg("case %zu: %s: %s", i, f.items[0]->path, f.items[0]->text);
        sl_findings_free(&f);
        config_free(config);
    }
}

static void test_all_at_once(void **state)
{
    Sluice__V1__Config *config = config_of("networks: [{name: '', prefixes: [x]}]\n"
                                           "decryption_rules: [{action: block, match: {hosts: [y], services: [z]}}, {name: q}]\n"
                                           "settings: {revocation: off, max_connections: 99999999}\n");
    struct sl_findings f;

    (void)state;
    assert_int_equal(sl_policy_validate(config, NOW, &f), SL_OK);
    expect(&f, true, "networks[0].name", "");
    expect(&f, true, "networks[0].prefixes[0]", "");
    expect(&f, true, "decryption_rules[0].name", "");
    expect(&f, true, "decryption_rules[0].match.hosts[0]", "");
    expect(&f, true, "decryption_rules[0].match.services[0]", "");
    expect(&f, true, "decryption_rules[1].action", "");
    expect(&f, true, "settings.max_connections", "");
    expect(&f, false, "settings.revocation", "");
    assert_int_equal(f.errors, 7);
    for (size_t i = 0; i < f.count; i++)
        assert_int_equal(f.items[i]->error, i < f.errors);
    sl_findings_free(&f);
    config_free(config);
}

static void test_certificates(void **state)
{
    Sluice__V1__Config *config = config_of("{}");
    struct sl_findings f;
    size_t len;
    Sluice__V1__TrustedCertificate *t;

    (void)state;
    unsigned char *der = make_certificate(false, 86400, &len);
    t = add_certificate(config, "pin without hosts", SLUICE__V1__TRUST_KIND__TRUST_PIN, der, len);
    t->sha256 = strdup("00");
    der = make_certificate(false, 86400, &len);
    add_certificate(config, "leaf as anchor", SLUICE__V1__TRUST_KIND__TRUST_ANCHOR, der, len);
    der = make_certificate(true, 86400, &len);
    add_certificate(config, "no kind", SLUICE__V1__TRUST_KIND__TRUST_KIND_UNSPECIFIED, der, len);
    der = make_certificate(true, 86400, &len);
    t = add_certificate(config, "anchor with ports", SLUICE__V1__TRUST_KIND__TRUST_ANCHOR, der, len);
    t->ports = calloc(1, sizeof(*t->ports));
    t->n_ports = 1;
    der = make_certificate(true, 86400, &len);
    der = realloc(der, len + 1);
    der[len] = 0;
    add_certificate(config, "trailing byte", SLUICE__V1__TRUST_KIND__TRUST_ANCHOR, der, len + 1);
    assert_int_equal(sl_policy_validate(config, NOW, &f), SL_OK);
    expect(&f, true, "trusted_certificates[0]", "at least one name");
    expect(&f, true, "trusted_certificates[0].sha256", "not that of the certificate");
    expect(&f, true, "trusted_certificates[1]", "no CA");
    expect(&f, true, "trusted_certificates[2].kind", "pin");
    expect(&f, true, "trusted_certificates[3]", "remove hosts and ports");
    expect(&f, true, "trusted_certificates[4].der", "no X.509");
    assert_int_equal(f.errors, 6);
    sl_findings_free(&f);
    config_free(config);

    config = config_of("{}");
    der = make_certificate(true, -3600, &len);
    add_certificate(config, "old root", SLUICE__V1__TRUST_KIND__TRUST_ANCHOR, der, len);
    assert_int_equal(sl_policy_validate(config, sl_clock_system()->wall_ns(NULL), &f), SL_OK);
    assert_int_equal(f.errors, 0);
    expect(&f, false, "trusted_certificates[0]", "has expired");
    sl_findings_free(&f);
    config_free(config);
}

/* Enum numbers that the schema doesn't know come from newer clients. */
static void test_unknown_numbers(void **state)
{
    Sluice__V1__Config *config = config_of("decryption_rules: [{name: r, action: block}]\nsettings: {revocation: soft}");
    struct sl_findings f;

    (void)state;
    config->decryption_rules[0]->action = (Sluice__V1__DecryptionAction)77;
    config->settings->revocation = (Sluice__V1__RevocationMode)-1;
    assert_int_equal(sl_policy_validate(config, NOW, &f), SL_OK);
    expect(&f, true, "decryption_rules[0].action", "");
    expect(&f, true, "settings.revocation", "");
    sl_findings_free(&f);
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_errors), cmocka_unit_test(test_warnings),
                                       cmocka_unit_test(test_all_at_once), cmocka_unit_test(test_certificates),
                                       cmocka_unit_test(test_unknown_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
