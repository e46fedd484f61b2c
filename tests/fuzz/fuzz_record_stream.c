/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer that has the keys and follows a script: the input is a list of records (type, length, padding, content), of cuts, of
 * damage. The transcoder's output is opened by a receiver with record.h, which must see exactly what was sent before the first
 * offence, and never anything damaged.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "record/record.h"
#include "record/transcoder.h"

static void expect(bool ok)
{
    if (!ok)
        abort();
}

enum { RECORD_MAX = SL_TLS_RECORD_MAX + 16, SENT_MAX = 64 };

struct peer {
    struct sl_record *sender, *receiver;
    struct sl_transcoder *t;
    uint8_t wire[RECORD_MAX]; /* output that is not a whole record yet */
    size_t wire_len;
    size_t verified, passed; /* records: seen by the callback, opened by the receiver */
    bool damaged;
};

static void on_record(void *arg, const struct sl_transcoder_record *record, enum sl_transcoder_verdict *verdict)
{
    struct peer *p = arg;
    (void)record, (void)verdict;
    expect(!p->damaged); /* G6 */
    p->verified++;
}

static void on_plaintext(void *arg, enum sl_tls_content type, const uint8_t *bytes, size_t len)
{
    struct peer *p = arg;
    volatile uint8_t sum = 0;
    (void)type;
    expect(!p->damaged); /* G7 */
    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + bytes[i]);
}

/* Opens what has come whole. A record that fails to open is allowed once damage was done, and only as the last one. */
static void receive(struct peer *p, const uint8_t *bytes, size_t len, bool dead)
{
    static uint8_t plain[RECORD_MAX];
    enum sl_tls_content type;
    size_t content, padding;
    while (len > 0 || p->wire_len > 5) {
        size_t n = sizeof(p->wire) - p->wire_len < len ? sizeof(p->wire) - p->wire_len : len;
        memcpy(p->wire + p->wire_len, bytes, n);
        p->wire_len += n;
        bytes += n, len -= n;
        if (p->wire_len < 5)
            return;
        size_t total = 5 + ((size_t)p->wire[3] << 8 | p->wire[4]);
        expect(total <= SL_TLS_RECORD_MAX);
        if (p->wire_len < total)
            return;
        sl_err err = sl_record_open(p->receiver, p->wire, total, plain, &type, &content, &padding);
        expect(err == SL_OK || dead);
        if (err == SL_OK) {
            p->passed++;
            if (type == SL_TLS_HANDSHAKE && content >= 5 && plain[content - 5] == SL_TLS_KEY_UPDATE && plain[content - 4] == 0 &&
                plain[content - 3] == 0 && plain[content - 2] == 1)
                (void)sl_record_step(p->receiver);
        }
        memmove(p->wire, p->wire + total, p->wire_len - total);
        p->wire_len -= total;
    }
}

static sl_err send_record(struct peer *p, const uint8_t *bytes, size_t len, size_t in_max, size_t out_max)
{
    static uint8_t out[RECORD_MAX];
    sl_err err = SL_OK;
    size_t consumed, produced;
    while ((len > 0 || sl_transcoder_pending(p->t) > 0) && err == SL_OK) {
        err = sl_transcoder_feed(p->t, bytes, len < in_max ? len : in_max, out, out_max, &consumed, &produced);
        expect(consumed + produced > 0 || err != SL_OK);
        receive(p, out, produced, err != SL_OK);
        bytes += consumed, len -= consumed;
    }
    return err;
}

/* One record of the script: kind, length, padding, cuts, damage. */
static bool play(struct peer *p, struct sl_cursor *script, bool tls13, sl_err *err)
{
    static uint8_t content[SL_TLS_PLAINTEXT_MAX], record[RECORD_MAX];
    uint8_t kind, in_max, out_max, damage;
    uint16_t length, pad;
    size_t len;
    if (sl_read_u8(script, &kind) != SL_OK || sl_read_u16(script, &length) != SL_OK || sl_read_u16(script, &pad) != SL_OK ||
        sl_read_u8(script, &in_max) != SL_OK || sl_read_u8(script, &out_max) != SL_OK || sl_read_u8(script, &damage) != SL_OK)
        return false;
    size_t n = length % (SL_TLS_PLAINTEXT_MAX + 1), left = sl_cursor_left(script);
    memset(content, kind >> 4, sizeof(content));
    (void)sl_read_copy(script, content, left < n && left < 300 ? left : n < 300 ? n : 0);
    const uint8_t types[] = {23, 23, 22, 21, 20, 24, 0, 23};
    const uint8_t type = types[kind % 8];
    size_t padding = tls13 ? pad % (SL_TLS_PLAINTEXT_MAX - n + 1) : 0;
    bool update = false;
    if (kind % 16 == 10) {
        memcpy(content, "\x18\0\0\1\0", 5);
        n = 5;
        update = tls13;
        padding = 0;
    }
    expect(sl_record_seal(p->sender, type, content, n, padding, record, sizeof(record), &len) == SL_OK);
    if (update)
        (void)sl_record_step(p->sender);
    if (damage >= 0xc0) {
        record[5 + (size_t)damage * 977 % (len - 5)] ^= 1;
        p->damaged = true;
    }
    *err = send_record(p, record, len, 1 + (size_t)in_max * 64, 1 + (size_t)out_max * 64);
    if (p->damaged)
        expect(*err != SL_OK);
    return *err == SL_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t secret[2][48] = {{1, 2, 3}, {4, 5, 6}};
    struct sl_record_leg *leg[4] = {NULL};
    static struct peer p;
    struct sl_cursor script = sl_cursor_make(data, size);
    uint8_t flags, hold;
    sl_err err = SL_OK;
    if (sl_read_u8(&script, &flags) != SL_OK || sl_read_u8(&script, &hold) != SL_OK)
        return 0;
    const bool tls13 = flags & 1;
    memset(&p, 0, sizeof(p));
    for (int i = 0; i < 4; i++) {
        expect(sl_record_leg_new(&leg[i]) == SL_OK);
        if (tls13)
            expect(sl_record_half_tls13(&leg[i]->client_write, 0x1301, secret[i % 2], 32, 0, 0) == SL_OK);
        else
            expect(sl_record_leg_tls12(leg[i], 0xc02f, secret[i % 2], secret[0], secret[1], 1, 1) == SL_OK);
    }
    const struct sl_transcoder_options options = {.hold_limit = 1 + (size_t)hold * 70,
                                                  .from_server = flags & 2,
                                                  .drop_tickets = flags & 4,
                                                  .auto_rekey = flags & 8,
                                                  .seal_limit = flags & 8 ? 12 : 0,
                                                  .on_record = on_record,
                                                  .on_plaintext = flags & 16 ? on_plaintext : NULL,
                                                  .arg = &p};
    expect(sl_record_new(NULL, &leg[0]->client_write, &p.sender) == SL_OK);
    expect(sl_record_new(NULL, &leg[1]->client_write, &p.receiver) == SL_OK);
    expect(sl_transcoder_new(&leg[2]->client_write, &leg[3]->client_write, &options, &p.t) == SL_OK);
    for (int i = 0; i < SENT_MAX && play(&p, &script, tls13, &err); i++)
        ;
    struct sl_transcoder_status status;
    sl_transcoder_status(p.t, &status);
    expect(status.dead == err);
    expect(p.passed <= status.records_out);
    sl_transcoder_free(p.t);
    sl_record_free(p.sender);
    sl_record_free(p.receiver);
    for (int i = 0; i < 4; i++)
        sl_record_leg_free(leg[i]);
    return 0;
}
