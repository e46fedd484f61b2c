/* SPDX-License-Identifier: Apache-2.0 */
/* Messages as the engine's commands; what is refused is a table in tests/conformance/test_card_service.py, over gRPC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "card/numbers.h"
#include "card/service/convert.h"

static struct sl_card_hasher *hasher;

static ProtobufCBinaryData bytes(uint8_t *at, size_t count)
{
    return (ProtobufCBinaryData){count, at};
}

/* H of the AES-128 and AES-256 keys of zeros: FIPS 197 with a zero block, as in the GCM specification's test cases 1 and 13. */
static const uint8_t h128[16] = {0x66, 0xe9, 0x4b, 0xd4, 0xef, 0x8a, 0x2c, 0x3b, 0x88, 0x4c, 0xfa, 0x59, 0xca, 0x34, 0x2b, 0x2e};
static const uint8_t h256[16] = {0xdc, 0x95, 0xc0, 0x78, 0xa2, 0x40, 0x89, 0x89, 0xad, 0x48, 0xa2, 0x14, 0x92, 0x84, 0x20, 0x87};

struct install {
    Sluice__Card__V1__Command command;
    Sluice__Card__V1__Install install;
    Sluice__Card__V1__FlowKey key;
    Sluice__Card__V1__LaneState lane[2];
    Sluice__Card__V1__KeySet keys[2], next;
    Sluice__Card__V1__FinishedRecord record[2], *records[2];
    uint8_t key_bytes[32], iv[12], tag[2][16];
    char src[16], dst[16];
};

static void init(struct install *m, bool tls13)
{
    memset(m, 0, sizeof *m);
    sluice__card__v1__command__init(&m->command);
    sluice__card__v1__install__init(&m->install);
    sluice__card__v1__flow_key__init(&m->key);
    memset(m->iv, 7, sizeof m->iv);
    strcpy(m->src, "10.0.0.1");
    strcpy(m->dst, "192.0.2.77");
    m->command.flow = 42;
    m->command.what_case = SLUICE__CARD__V1__COMMAND__WHAT_INSTALL;
    m->command.install = &m->install;
    m->install.key = &m->key;
    m->install.action = SLUICE__CARD__V1__ACTION__TRANSCODE;
    m->install.tls = tls13 ? SLUICE__CARD__V1__TLS_VERSION__TLS_1_3 : SLUICE__CARD__V1__TLS_VERSION__TLS_1_2;
    m->install.inside = &m->lane[0];
    m->install.outside = &m->lane[1];
    m->key.src = m->src;
    m->key.dst = m->dst;
    m->key.sport = 65535;
    m->key.dport = 443;
    m->key.proto = 6;
    for (unsigned i = 0; i < 2; i++) {
        sluice__card__v1__lane_state__init(&m->lane[i]);
        sluice__card__v1__key_set__init(&m->keys[i]);
        m->lane[i].keys = &m->keys[i];
        m->keys[i].open_key = bytes(m->key_bytes, 16);
        m->keys[i].seal_key = bytes(m->key_bytes, 32);
        m->keys[i].open_iv = m->keys[i].seal_iv = bytes(m->iv, tls13 ? 12 : 4);
    }
}

static void convert(const struct install *m, struct sl_engine_command *out, struct sl_card_extra *extra)
{
    struct sl_diag diag = {""};
    memset(out, 0, sizeof *out);
    memset(extra, 0, sizeof *extra);
    sl_err err = sl_card_command_from(hasher, &m->command, out, extra, &diag);
    assert_string_equal(diag.text, "");
    assert_int_equal(err, SL_OK);
}

static void an_install_of_tls13(void **state)
{
    struct install m;
    struct sl_engine_command c;
    struct sl_card_extra extra;
    (void)state;
    init(&m, true);
    Sluice__Card__V1__LaneState *lane = &m.lane[0];
    lane->next_seq = 0xfffffff0;
    lane->open_record = 0x0102030405060;
    lane->seal_record = 77;
    lane->seq_delta = 1;
    lane->ack_delta = 2;
    lane->tsval_delta = 3;
    lane->tsecr_delta = 4;
    lane->window_shift = -14;
    m.install.mirror = true;
    m.install.idle_timeout_s = 30;
    sluice__card__v1__key_set__init(&m.next);
    m.next = m.keys[0];
    m.next.open_key.len = 32;
    lane->next_keys = &m.next;
    for (unsigned i = 0; i < 2; i++) {
        sluice__card__v1__finished_record__init(&m.record[i]);
        m.record[i].length = 5 + 17 + (i == 0 ? 0u : 1u << 14);
        m.tag[i][0] = (uint8_t)(0xa0 + i);
        m.record[i].tag = bytes(m.tag[i], 16);
        m.records[i] = &m.record[i];
    }
    lane->finished = m.records;
    lane->n_finished = 2;
    convert(&m, &c, &extra);

    assert_int_equal(c.op, SL_ENGINE_INSTALL);
    assert_int_equal(c.flow, 42);
    assert_int_equal(c.action, SL_CARD_SESSION_TRANSCODE);
    assert_int_equal(extra.tls, SL_CARD_TLS13);
    assert_int_equal(extra.idle_timeout_s, 30);
    assert_true(extra.mirror);
    assert_false(extra.openoffload);
    static const struct sl_engine_flow_key key = {
        .src = {10, 0, 0, 1}, .dst = {192, 0, 2, 77}, .sport = 65535, .dport = 443, .proto = 6, .version = 4};
    assert_memory_equal(&c.key, &key, sizeof key);

    const struct track_state *t = &c.state[0].track;
    assert_int_equal(t->next, 0xfffffff0);
    assert_int_equal(t->record_start, 0xfffffff0);
    assert_int_equal(t->seal_seq, 77);
    static const uint8_t open_seq[6] = {0x60, 0x50, 0x40, 0x30, 0x20, 0x10};
    assert_memory_equal(t->open_seq, open_seq, 6);
    assert_int_equal(t->flags, track_tls13 | track_mirror | track_next);
    assert_int_equal(t->seq_delta, 1);
    assert_int_equal(t->ack_delta, 2);
    assert_int_equal(t->tsval_delta, 3);
    assert_int_equal(t->tsecr_delta, 4);
    assert_int_equal(t->ring[0], 22);
    assert_int_equal(t->ring[1], 22 + (1 << 14));
    assert_int_equal(t->ring_new, 2);
    assert_int_equal(c.state[0].finish.ring_tag[0][0], 0xa0);
    assert_int_equal(c.state[0].finish.ring_tag[1][0], 0xa1);
    assert_int_equal(c.state[0].keys.window_shift, -14);

    const struct key_set *k = c.state[0].keys.set;
    assert_memory_equal(k[0].open_h, h128, 16);
    assert_memory_equal(k[0].seal_h, h256, 16);
    assert_int_equal(k[0].long_keys, 2);
    assert_memory_equal(k[0].open_iv, m.iv, 12);
    assert_memory_equal(k[1].open_h, h256, 16);
    assert_int_equal(k[1].long_keys, 3);
    assert_int_equal(c.state[1].track.flags, track_tls13 | track_mirror);
    assert_int_equal(c.state[1].keys.set[1].long_keys, 0);
}

static void an_install_of_tls12(void **state)
{
    static const uint8_t salt[12] = {7, 7, 7, 7};
    struct install m;
    struct sl_engine_command c;
    struct sl_card_extra extra;
    (void)state;
    init(&m, false);
    m.lane[1].next_nonce = 0x1122334455667788;
    convert(&m, &c, &extra);
    assert_int_equal(c.state[1].track.flags, 0);
    assert_int_equal(c.state[1].track.old_seal_seq, 0x11223344);
    assert_int_equal(c.state[1].track.old_open_seq, 0x55667788);
    assert_memory_equal(c.state[1].keys.set[0].seal_iv, salt, 12);
}

static void keys_are_wiped_from_messages(void **state)
{
    static const uint8_t none[32];
    struct install m;
    (void)state;
    init(&m, true);
    memset(m.key_bytes, 0xa5, sizeof m.key_bytes);
    Sluice__Card__V1__Command *list[] = {&m.command};
    Sluice__Card__V1__Commands commands = SLUICE__CARD__V1__COMMANDS__INIT;
    commands.commands = list;
    commands.n_commands = 1;
    sl_card_wipe_commands(&commands);
    assert_memory_equal(m.key_bytes, none, 32);
    assert_memory_equal(m.iv, none, 12);
    /* Messages with nothing in them. */
    m.install.inside = m.install.outside = NULL;
    sl_card_wipe_commands(&commands);
    Sluice__Card__V1__Rekey rekey = SLUICE__CARD__V1__REKEY__INIT;
    m.command.what_case = SLUICE__CARD__V1__COMMAND__WHAT_REKEY;
    m.command.rekey = &rekey;
    sl_card_wipe_commands(&commands);
}

static void offload_requests(void **state)
{
    Openoffload__V1__SessionRequest r = OPENOFFLOAD__V1__SESSION_REQUEST__INIT;
    Openoffload__V1__ActionParameters action = OPENOFFLOAD__V1__ACTION_PARAMETERS__INIT;
    struct sl_engine_command c;
    struct sl_card_extra extra = {0};
    struct sl_diag diag;
    (void)state;
    memset(&c, 0, sizeof c);
    action.actiontype = OPENOFFLOAD__V1__ACTION__TYPE___FORWARD;
    r.sessionid = 9;
    r.action = &action;
    r.protocolid = OPENOFFLOAD__V1__PROTOCOL__ID___UDP;
    r.sourceip = 0x0100000a; /* 10.0.0.1 in memory */
    r.destinationip = 0xff0200c0;
    r.sourceport = 1;
    r.destinationport = 65535;
    r.cachetimeout = 17;
    assert_int_equal(sl_card_offload_from(&r, &c, &extra, &diag), SL_OK);
    static const struct sl_engine_flow_key key = {
        .src = {10, 0, 0, 1}, .dst = {192, 0, 2, 255}, .sport = 1, .dport = 65535, .proto = 17, .version = 4};
    assert_memory_equal(&c.key, &key, sizeof key);
    assert_int_equal(c.action, SL_CARD_SESSION_FORWARD);
    assert_int_equal(extra.idle_timeout_s, 17);
    assert_true(extra.openoffload);
    static const int refused[] = {OPENOFFLOAD__V1__ACTION__TYPE___DROP, OPENOFFLOAD__V1__ACTION__TYPE___MIRROR,
                                  OPENOFFLOAD__V1__ACTION__TYPE___SNOOP, 99};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        action.actiontype = (Openoffload__V1__ACTIONTYPE)refused[i];
        assert_int_equal(sl_card_offload_from(&r, &c, &extra, &diag), SL_ERR_UNSUPPORTED);
    }
}

static void prefixes(void **state)
{
    static const struct {
        const char *text;
        uint8_t mask[16];
        uint8_t version;
    } cases[] = {
        {"", {0}, 0},
        {"10.0.0.0/8", {255}, 4},
        {"0.0.0.0/0", {0}, 4},
        {"192.0.2.128/25", {255, 255, 255, 128}, 4},
        {"192.0.2.1", {255, 255, 255, 255}, 4},
        {"2001:db8::/33", {255, 255, 255, 255, 128}, 6},
        {"::1", {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}, 6},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Sluice__Card__V1__Rule rule = SLUICE__CARD__V1__RULE__INIT;
        struct card_rule out;
        char text[64];
        strcpy(text, cases[i].text);
        rule.dst = text;
        assert_int_equal(sl_card_rule_from(&rule, &out, NULL), SL_OK);
        assert_memory_equal(out.dst_mask, cases[i].mask, 16);
        assert_int_equal(out.version, cases[i].version);
        assert_int_equal(out.any_proto, 1);
        assert_int_equal(out.sport_max, 65535);
        assert_int_equal(out.valid, 1);
    }
}

/* By the CPU's instructions, where it has them, and by OpenSSL: the same. */
static void hash_keys(void **state)
{
    struct sl_card_hasher *other = NULL;
    uint8_t key[32] = {0}, h[2][16];
    (void)state;
    assert_int_equal(sl_card_hasher_new_openssl(&other), SL_OK);
    for (unsigned i = 0; i < 2000; i++) {
        const size_t count = i % 2 == 0 ? 16 : 32;
        memset(h, 0, sizeof h);
        assert_int_equal(sl_card_hash_key(hasher, key, count, h[0]), SL_OK);
        assert_int_equal(sl_card_hash_key(other, key, count, h[1]), SL_OK);
        assert_memory_equal(h[0], h[1], sizeof h[0]);
        if (i < 2)
            assert_memory_equal(h[0], i == 0 ? h128 : h256, sizeof h[0]);
        if (i > 0) /* the next key: of what came out */
            memcpy(key + i / 2 % 2 * 16, h[0], sizeof h[0]);
    }
    sl_card_hasher_free(other);
    sl_card_hasher_free(NULL);
}

static int setup(void **state)
{
    (void)state;
    return sl_card_hasher_new(&hasher);
}

static int teardown(void **state)
{
    (void)state;
    sl_card_hasher_free(hasher);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_install_of_tls13),
        cmocka_unit_test(an_install_of_tls12),
        cmocka_unit_test(keys_are_wiped_from_messages),
        cmocka_unit_test(offload_requests),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(hash_keys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
