/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "event/render.h"
#include "make.h"

static char *page_of(const Sluice__V1__Event *e, struct sl_render_options o)
{
    struct sl_buf b;
    sl_buf_init(&b, 1 << 20);
    assert_int_equal(sl_event_render(e, &o, &b), SL_OK);
    assert_int_equal(sl_buf_append(&b, "", 1), SL_OK);
    char *text = strdup((const char *)sl_buf_data(&b));
    sl_buf_free(&b);
    return text;
}

/* The 44 fields of the reference case, under their names. */
static void test_every_field(void **state)
{
    static const char *const LABELS[] = {
        "User",
        "Realm",
        "IP address",
        "Port",
        "Interface",
        "Identity",
        "Remote device",
        "Client OS name",
        "Context name",
        "Service",
        "Host",
        "URL",
        "URL category",
        "Web reputation",
        "Threat type",
        "Connection ID",
        "Transaction ID",
        "Component name",
        "Bytes sent",
        "Bytes received",
        "Total bytes",
        "Request content type",
        "Response content type",
        "HTTP response status",
        "HTTP app detected phase",
        "Configuration version",
        "Error details",
        "Encrypted flow",
        "Decrypted flow",
        "Requested domain",
        "Ambiguous destination",
        "Server certificate name",
        "Server certificate issuer",
        "TLS version",
        "Server cipher suite",
        "Error Details",
        "Name",
        "Type",
        "Behavior",
        "Event ID",
        "Time stamp",
        "Cause",
        "Side",
        "Stage",
        "Alert",
        "Verification",
    };
    static const char *const GROUPS[] = {"\nSource\n",      "\nDestination\n", "\nTransaction\n", "\nTLS\n",
                                         "\nApplication\n", "\nDevice\n",      "\nPolicy\n"};
    static const char *const FACTS[] = {"TLS Abort",
                                        "SRV_CERT_SELF_SIGNED",
                                        "sent to server",
                                        "unknown_ca",
                                        "pin-certificate",
                                        "/unstructuredName=ciscoasa",
                                        "Wed 05 Feb 2014",
                                        "TLS Proxy",
                                        "tcp/443",
                                        "186",
                                        "523",
                                        "709",
                                        "89"};
    Sluice__V1__Event *e = reference_case_2();

    (void)state;
    assert_int_equal(sl_event_finish(e), SL_OK);
    char *page = page_of(e, (struct sl_render_options){.utc = true});
    for (size_t i = 0; i < sizeof(LABELS) / sizeof(LABELS[0]); i++) {
        char line[64];
        snprintf(line, sizeof(line), "\n  %s ", LABELS[i]);
        if (!strstr(page, line))
            fail_msg("no field \"%s\" in\n%s", LABELS[i], page);
    }
    for (size_t i = 0; i < sizeof(GROUPS) / sizeof(GROUPS[0]); i++)
        assert_non_null(strstr(page, GROUPS[i]));
    for (size_t i = 0; i < sizeof(FACTS) / sizeof(FACTS[0]); i++)
        if (!strstr(page, FACTS[i]))
            fail_msg("\"%s\" is not in\n%s", FACTS[i], page);
    free(page);
    page = page_of(e, (struct sl_render_options){.hide_empty = true});
    assert_null(strstr(page, "Realm"));
    free(page);
    sl_event_free(e);
}

static void fill_strings(ProtobufCMessage *m, const char *value)
{
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        void *member = (uint8_t *)m + f->offset;
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            continue;
        if (f->type == PROTOBUF_C_TYPE_STRING)
            set(member, value);
        else if (f->type == PROTOBUF_C_TYPE_MESSAGE && *(ProtobufCMessage **)member)
            fill_strings(*(ProtobufCMessage **)member, value);
    }
}

/* Whatever field a peer's text gets into, no control character reaches the terminal. */
static void test_injection(void **state)
{
    static const char EVIL[] = "\x1b[31m\x1b]0;title\x07\r\n\tx\x7f\xc2\x9b"
                               "31m\xe2\x80\xae"
                               "abc";
    Sluice__V1__Event *e = reference_case_2();
    char cells[SL_EVENT_COLUMNS][SL_EVENT_CELL_MAX];
    struct sl_buf line;

    (void)state;
    for (size_t i = 0; i < e->n_server_chain; i++)
        fill_strings(&e->server_chain[i]->base, EVIL);
    for (size_t i = 0; i < e->n_alerts; i++)
        fill_strings(&e->alerts[i]->base, EVIL);
    fill_strings(&e->base, EVIL);
    assert_int_equal(sl_event_add_monitor(e, 1, EVIL), SL_OK);
    assert_int_equal(sl_event_append(&e->tls->server_cert_sans, &e->tls->n_server_cert_sans, EVIL), SL_OK);
    char *page = page_of(e, (struct sl_render_options){.width = 80});
    for (const char *c = page; *c; c++)
        assert_true((unsigned char)*c >= 0x20 ? *c != 0x7f : *c == '\n');
    assert_null(strstr(page, "\xc2\x9b"));
    assert_null(strstr(page, "\xe2\x80\xae"));
    assert_non_null(strstr(page, "\\x1b[31m"));
    free(page);
    sl_event_row(e, true, cells);
    for (size_t i = 0; i < SL_EVENT_COLUMNS; i++)
        for (const char *c = cells[i]; *c; c++)
            assert_true((unsigned char)*c >= 0x20);
    sl_buf_init(&line, 4096);
    assert_int_equal(sl_event_render_line(e, &(struct sl_render_options){.utc = true}, &line), SL_OK);
    for (size_t i = 0; i < sl_buf_len(&line); i++)
        assert_true(sl_buf_data(&line)[i] >= 0x20);
    sl_buf_free(&line);
    sl_event_free(e);
}

static void test_escape(void **state)
{
    static const struct {
        const char *in, *out;
    } T[] = {
        {"plain text", "plain text"},
        {"\x1b", "\\x1b"},
        {"\n", "\\x0a"},
        {"\xc3\xa4", "\xc3\xa4"},
        {"\xff", "\\xff"},
        {"\xc2\x9b", "\\u009b"},
        {"\xe2\x80\xae", "\\u202e"},
        {"\xe2\x80\x8b", "\\u200b"},
        {"\xef\xbb\xbf", "\\ufeff"},
        {"a\xe2\x82", "a\\xe2\\x82"},
        {"\xf0\x9f\x99\x82", "\xf0\x9f\x99\x82"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        struct sl_buf b;
        sl_buf_init(&b, 1000);
        assert_int_equal(sl_render_escape(&b, T[i].in), SL_OK);
        assert_int_equal(sl_buf_append(&b, "", 1), SL_OK);
        assert_string_equal((const char *)sl_buf_data(&b), T[i].out);
        sl_buf_free(&b);
    }
}

/* Lines stay within the width unless a single word is longer. */
static void test_width_and_color(void **state)
{
    Sluice__V1__Event *e = reference_case_2();

    (void)state;
    assert_int_equal(sl_event_finish(e), SL_OK);
    for (unsigned width = 40; width <= 200; width += 20) {
        char *page = page_of(e, (struct sl_render_options){.width = width});
        for (const char *line = page; *line; line += strcspn(line, "\n") + 1) {
            size_t len = strcspn(line, "\n"), indent = strspn(line, " *");
            if (len > width && memchr(line + (indent < 34 ? 34 : indent), ' ', len > 34 + width ? len - 34 : 0))
                fail_msg("width %u: %.*s", width, (int)len, line);
        }
        assert_null(strchr(page, '\x1b'));
        free(page);
    }
    char *page = page_of(e, (struct sl_render_options){.color = true});
    assert_non_null(strstr(page, "\x1b[31m"));
    free(page);
    sl_event_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_field), cmocka_unit_test(test_injection),
                                       cmocka_unit_test(test_escape), cmocka_unit_test(test_width_and_color)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
