/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/convert.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "card/numbers.h"

enum {
    TLS_HEADER = 5,
    TLS12_OVERHEAD = 24, /* explicit nonce and tag */
    TLS13_OVERHEAD = 17, /* type and tag */
    TLS_TEXT_MAX = 1 << 14,
    TAG_BYTES = 16,
    SHIFT_MAX = 14
};

/* ---- keys ---- */

static sl_err take_key(struct sl_card_hasher *hasher, const ProtobufCBinaryData *in, const char *name, uint8_t key[32],
                       uint8_t h[16], bool *is_long, struct sl_diag *diag)
{
    if (in->len != 16 && in->len != 32)
        return sl_fail(diag, SL_ERR_INVALID, "%s has %zu bytes; 16 or 32 are needed", name, in->len);
    memcpy(key, in->data, in->len);
    *is_long = in->len == 32;
    sl_err err = sl_card_hash_key(hasher, key, in->len, h);
    return err ? sl_fail(diag, err, "AES failed") : SL_OK;
}

static sl_err take_iv(const ProtobufCBinaryData *in, const char *name, uint8_t tls, uint8_t iv[12], struct sl_diag *diag)
{
    size_t wanted = tls == SL_CARD_TLS13 ? 12 : 4;
    if (in->len != wanted)
        return sl_fail(diag, SL_ERR_INVALID, "%s has %zu bytes; %zu are needed", name, in->len, wanted);
    memcpy(iv, in->data, in->len);
    return SL_OK;
}

static sl_err take_keys(struct sl_card_hasher *hasher, const Sluice__Card__V1__KeySet *in, uint8_t tls, struct key_set *out,
                        struct sl_diag *diag)
{
    bool open_long = false, seal_long = false;
    if (in == NULL)
        return sl_fail(diag, SL_ERR_INVALID, "keys are needed");
    sl_err err = take_key(hasher, &in->open_key, "open_key", out->open_key, out->open_h, &open_long, diag);
    if (!err)
        err = take_key(hasher, &in->seal_key, "seal_key", out->seal_key, out->seal_h, &seal_long, diag);
    if (!err)
        err = take_iv(&in->open_iv, "open_iv", tls, out->open_iv, diag);
    if (!err)
        err = take_iv(&in->seal_iv, "seal_iv", tls, out->seal_iv, diag);
    out->long_keys = (uint8_t)(open_long | seal_long << 1);
    return err;
}

static void wipe_bytes(ProtobufCBinaryData *bytes)
{
    if (bytes->len > 0)
        sl_wipe(bytes->data, bytes->len);
}

static void wipe_keys(Sluice__Card__V1__KeySet *keys)
{
    if (keys == NULL)
        return;
    wipe_bytes(&keys->open_key);
    wipe_bytes(&keys->seal_key);
    wipe_bytes(&keys->open_iv);
    wipe_bytes(&keys->seal_iv);
}

static void wipe_lane(Sluice__Card__V1__LaneState *lane)
{
    if (lane == NULL)
        return;
    wipe_keys(lane->keys);
    wipe_keys(lane->next_keys);
}

void sl_card_wipe_commands(Sluice__Card__V1__Commands *commands)
{
    for (size_t i = 0; i < commands->n_commands; i++) {
        const Sluice__Card__V1__Command *c = commands->commands[i];
        if (c->what_case == SLUICE__CARD__V1__COMMAND__WHAT_INSTALL) {
            wipe_lane(c->install->inside);
            wipe_lane(c->install->outside);
        } else if (c->what_case == SLUICE__CARD__V1__COMMAND__WHAT_REKEY) {
            wipe_keys(c->rekey->keys);
        }
    }
}

/* ---- addresses ---- */

/* Version 4 or 6; 0: not an address. */
static uint8_t take_address(const char *text, uint8_t out[16])
{
    if (inet_pton(AF_INET, text, out) == 1)
        return 4;
    return inet_pton(AF_INET6, text, out) == 1 ? 6 : 0;
}

const char *sl_card_address_text(const uint8_t address[16], uint8_t version, char out[static SL_CARD_ADDRESS_TEXT])
{
    if (inet_ntop(version == 4 ? AF_INET : AF_INET6, address, out, SL_CARD_ADDRESS_TEXT) == NULL)
        out[0] = '\0';
    return out;
}

static bool has_ports(uint32_t proto)
{
    return proto == IPPROTO_TCP || proto == IPPROTO_UDP;
}

static sl_err take_flow_key(const Sluice__Card__V1__FlowKey *in, struct sl_engine_flow_key *out, struct sl_diag *diag)
{
    if (in == NULL)
        return sl_fail(diag, SL_ERR_INVALID, "key is needed");
    out->version = take_address(in->src, out->src);
    if (out->version == 0)
        return sl_fail(diag, SL_ERR_INVALID, "key.src: \"%s\" is not an address", in->src);
    if (take_address(in->dst, out->dst) != out->version)
        return sl_fail(diag, SL_ERR_INVALID, "key.dst: \"%s\" is not an address of IPv%u", in->dst, out->version);
    if (in->sport > UINT16_MAX || in->dport > UINT16_MAX)
        return sl_fail(diag, SL_ERR_INVALID, "key: a port is at most 65535");
    if (in->proto == 0 || in->proto > UINT8_MAX)
        return sl_fail(diag, SL_ERR_INVALID, "key.proto: %" PRIu32 " is not an IP protocol number", in->proto);
    if (!has_ports(in->proto) && (in->sport != 0 || in->dport != 0))
        return sl_fail(diag, SL_ERR_INVALID, "key: only TCP and UDP have ports");
    out->sport = (uint16_t)in->sport;
    out->dport = (uint16_t)in->dport;
    out->proto = (uint8_t)in->proto;
    return SL_OK;
}

/* ---- install ---- */

static sl_err take_finished(const Sluice__Card__V1__LaneState *in, uint8_t tls, struct session_state *out, struct sl_diag *diag)
{
    const uint32_t overhead = tls == SL_CARD_TLS13 ? TLS13_OVERHEAD : TLS12_OVERHEAD;

    if (in->n_finished > 2 || in->n_finished > in->open_record)
        return sl_fail(diag, SL_ERR_INVALID, "finished: at most 2, and not more than there have been records");
    for (size_t i = 0; i < in->n_finished; i++) {
        const Sluice__Card__V1__FinishedRecord *record = in->finished[i];
        if (record->length < TLS_HEADER + overhead || record->length > TLS_HEADER + overhead + TLS_TEXT_MAX)
            return sl_fail(diag, SL_ERR_INVALID, "finished[%zu].length: no record has %" PRIu32 " bytes", i, record->length);
        if (record->tag.len != TAG_BYTES)
            return sl_fail(diag, SL_ERR_INVALID, "finished[%zu].tag has %zu bytes; 16 are needed", i, record->tag.len);
        out->track.ring[i] = (uint16_t)record->length;
        memcpy(out->finish.ring_tag[i], record->tag.data, TAG_BYTES);
    }
    out->track.ring_new = (uint8_t)in->n_finished;
    return SL_OK;
}

static sl_err take_records(struct sl_card_hasher *hasher, const Sluice__Card__V1__LaneState *in, uint8_t tls,
                           struct session_state *out, struct sl_diag *diag)
{
    struct track_state *track = &out->track;

    if (in->open_record >> 48 != 0)
        return sl_fail(diag, SL_ERR_INVALID, "open_record: below 2^48");
    for (unsigned i = 0; i < sizeof track->open_seq; i++)
        track->open_seq[i] = (uint8_t)(in->open_record >> (8 * i));
    track->seal_seq = in->seal_record;
    if (tls == SL_CARD_TLS12) { /* docs/card.md: what the next explicit nonce is expected to be */
        track->old_seal_seq = (uint32_t)(in->next_nonce >> 32);
        track->old_open_seq = (uint32_t)in->next_nonce;
    } else {
        track->flags |= track_tls13;
    }
    sl_err err = take_keys(hasher, in->keys, tls, &out->keys.set[0], diag);
    if (err)
        return sl_fail_prefix(diag, err, "keys");
    if (in->next_keys != NULL) {
        if (tls != SL_CARD_TLS13)
            return sl_fail(diag, SL_ERR_INVALID, "next_keys: only TLS 1.3 changes keys");
        if ((err = take_keys(hasher, in->next_keys, tls, &out->keys.set[1], diag)) != SL_OK)
            return sl_fail_prefix(diag, err, "next_keys");
        track->flags |= track_next;
    }
    return take_finished(in, tls, out, diag);
}

static sl_err take_lane(struct sl_card_hasher *hasher, const Sluice__Card__V1__LaneState *in, const struct sl_card_extra *extra,
                        struct session_state *out, struct sl_diag *diag)
{
    if (in == NULL)
        return extra->tls == SL_CARD_NO_TLS ? SL_OK : sl_fail(diag, SL_ERR_INVALID, "the lane's state is needed");
    if (in->window_shift < -SHIFT_MAX || in->window_shift > SHIFT_MAX)
        return sl_fail(diag, SL_ERR_INVALID, "window_shift: -%d .. %d", SHIFT_MAX, SHIFT_MAX);
    out->keys.window_shift = (int8_t)in->window_shift;
    out->track.next = out->track.record_start = in->next_seq;
    out->track.seq_delta = in->seq_delta;
    out->track.ack_delta = in->ack_delta;
    out->track.tsval_delta = in->tsval_delta;
    out->track.tsecr_delta = in->tsecr_delta;
    if (extra->tls != SL_CARD_NO_TLS) {
        out->track.flags = extra->mirror ? track_mirror : 0;
        return take_records(hasher, in, extra->tls, out, diag);
    }
    if (in->keys != NULL || in->next_keys != NULL || in->n_finished > 0)
        return sl_fail(diag, SL_ERR_INVALID, "keys and records need a TLS version");
    return SL_OK;
}

static sl_err check_action(const Sluice__Card__V1__Install *in, struct sl_diag *diag)
{
    bool tls = in->tls != SLUICE__CARD__V1__TLS_VERSION__TLS_UNSPECIFIED;

    if (in->tls != SLUICE__CARD__V1__TLS_VERSION__TLS_UNSPECIFIED && in->tls != SLUICE__CARD__V1__TLS_VERSION__TLS_1_2 &&
        in->tls != SLUICE__CARD__V1__TLS_VERSION__TLS_1_3)
        return sl_fail(diag, SL_ERR_INVALID, "tls: %d is not known", (int)in->tls);
    if (tls && in->key != NULL && in->key->proto != IPPROTO_TCP)
        return sl_fail(diag, SL_ERR_INVALID, "tls: over TCP only");
    if (in->mirror && !tls)
        return sl_fail(diag, SL_ERR_INVALID, "mirror: needs a TLS version");
    switch (in->action) {
    case SLUICE__CARD__V1__ACTION__FORWARD:
        return tls ? sl_fail(diag, SL_ERR_INVALID, "action: FORWARD goes without a TLS version") : SL_OK;
    case SLUICE__CARD__V1__ACTION__TRANSCODE:
        return tls ? SL_OK : sl_fail(diag, SL_ERR_INVALID, "action: TRANSCODE needs a TLS version");
    case SLUICE__CARD__V1__ACTION__HOLD:
        return SL_OK;
    default:
        return sl_fail(diag, SL_ERR_INVALID, "action: FORWARD, TRANSCODE or HOLD");
    }
}

static sl_err take_install(struct sl_card_hasher *hasher, const Sluice__Card__V1__Install *in, struct sl_engine_command *command,
                           struct sl_card_extra *extra, struct sl_diag *diag)
{
    sl_err err = check_action(in, diag);
    if (!err)
        err = take_flow_key(in->key, &command->key, diag);
    if (err)
        return err;
    command->op = SL_ENGINE_INSTALL;
    command->action = (uint8_t)in->action;
    extra->tls = (uint8_t)in->tls;
    extra->mirror = in->mirror;
    extra->idle_timeout_s = in->idle_timeout_s;
    if ((err = take_lane(hasher, in->inside, extra, &command->state[0], diag)) != SL_OK)
        return sl_fail_prefix(diag, err, "inside");
    if ((err = take_lane(hasher, in->outside, extra, &command->state[1], diag)) != SL_OK)
        return sl_fail_prefix(diag, err, "outside");
    return SL_OK;
}

static sl_err take_change(const Sluice__Card__V1__Change *in, struct sl_engine_command *command, struct sl_diag *diag)
{
    if (in->action != SLUICE__CARD__V1__ACTION__FORWARD && in->action != SLUICE__CARD__V1__ACTION__TRANSCODE &&
        in->action != SLUICE__CARD__V1__ACTION__HOLD)
        return sl_fail(diag, SL_ERR_INVALID, "action: FORWARD, TRANSCODE or HOLD");
    command->op = SL_ENGINE_CHANGE;
    command->action = (uint8_t)in->action;
    return SL_OK;
}

static sl_err take_rekey(struct sl_card_hasher *hasher, const Sluice__Card__V1__Rekey *in, struct sl_engine_command *command,
                         struct sl_card_extra *extra, struct sl_diag *diag)
{
    if (in->lane >= SL_ENGINE_LANES || in->set > 1)
        return sl_fail(diag, SL_ERR_INVALID, "lane and set are 0 or 1");
    if (in->tls != SLUICE__CARD__V1__TLS_VERSION__TLS_1_3)
        return sl_fail(diag, SL_ERR_INVALID, "tls: only TLS 1.3 changes keys");
    command->op = SL_ENGINE_KEYS;
    command->lane = (uint8_t)in->lane;
    command->set = (uint8_t)in->set;
    extra->tls = (uint8_t)in->tls;
    return take_keys(hasher, in->keys, extra->tls, &command->keys, diag);
}

sl_err sl_card_command_from(struct sl_card_hasher *hasher, const Sluice__Card__V1__Command *in, struct sl_engine_command *command,
                            struct sl_card_extra *extra, struct sl_diag *diag)
{
    if (in->flow == 0)
        return sl_fail(diag, SL_ERR_INVALID, "flow: not 0");
    command->flow = in->flow;
    switch (in->what_case) {
    case SLUICE__CARD__V1__COMMAND__WHAT_INSTALL:
        return take_install(hasher, in->install, command, extra, diag);
    case SLUICE__CARD__V1__COMMAND__WHAT_CHANGE:
        return take_change(in->change, command, diag);
    case SLUICE__CARD__V1__COMMAND__WHAT_REKEY:
        return take_rekey(hasher, in->rekey, command, extra, diag);
    case SLUICE__CARD__V1__COMMAND__WHAT_REMOVE:
        command->op = SL_ENGINE_REMOVE;
        return SL_OK;
    case SLUICE__CARD__V1__COMMAND__WHAT_QUERY:
        command->op = SL_ENGINE_QUERY;
        return SL_OK;
    default:
        return sl_fail(diag, SL_ERR_INVALID, "one of install, change, rekey, remove, query is needed");
    }
}

/* ---- OpenOffload ---- */

static sl_err take_offload_addresses(const Openoffload__V1__SessionRequest *in, struct sl_engine_flow_key *key,
                                     struct sl_diag *diag)
{
    switch (in->ipversion) {
    case OPENOFFLOAD__V1__IP__VERSION___IPV4: /* in_addr, whose bytes are in network order, as a little-endian number */
        key->version = 4;
        for (unsigned i = 0; i < 4; i++) {
            key->src[i] = (uint8_t)(in->sourceip >> (8 * i));
            key->dst[i] = (uint8_t)(in->destinationip >> (8 * i));
        }
        return SL_OK;
    case OPENOFFLOAD__V1__IP__VERSION___IPV6:
        if (in->sourceipv6.len != 16 || in->destinationipv6.len != 16)
            return sl_fail(diag, SL_ERR_INVALID, "an IPv6 address has 16 bytes");
        key->version = 6;
        memcpy(key->src, in->sourceipv6.data, 16);
        memcpy(key->dst, in->destinationipv6.data, 16);
        return SL_OK;
    default:
        return sl_fail(diag, SL_ERR_INVALID, "ipVersion %d", (int)in->ipversion);
    }
}

sl_err sl_card_offload_from(const Openoffload__V1__SessionRequest *in, struct sl_engine_command *command,
                            struct sl_card_extra *extra, struct sl_diag *diag)
{
    if (in->sessionid == 0)
        return sl_fail(diag, SL_ERR_INVALID, "sessionId 0");
    if (in->protocolid != OPENOFFLOAD__V1__PROTOCOL__ID___TCP && in->protocolid != OPENOFFLOAD__V1__PROTOCOL__ID___UDP)
        return sl_fail(diag, SL_ERR_UNSUPPORTED, "protocolId %d", (int)in->protocolid);
    if (in->sourceport > UINT16_MAX || in->destinationport > UINT16_MAX)
        return sl_fail(diag, SL_ERR_INVALID, "a port above 65535");
    if (in->action == NULL || in->action->actiontype != OPENOFFLOAD__V1__ACTION__TYPE___FORWARD)
        return sl_fail(diag, SL_ERR_UNSUPPORTED, "only _FORWARD");
    sl_err err = take_offload_addresses(in, &command->key, diag);
    if (err)
        return err;
    command->op = SL_ENGINE_INSTALL;
    command->flow = in->sessionid;
    command->action = SL_CARD_SESSION_FORWARD;
    command->key.sport = (uint16_t)in->sourceport;
    command->key.dport = (uint16_t)in->destinationport;
    command->key.proto = (uint8_t)in->protocolid;
    extra->idle_timeout_s = in->cachetimeout;
    extra->openoffload = true;
    return SL_OK;
}

/* ---- rules ---- */

/* "192.0.2.0/24" into address and mask; "" matches everything and says nothing of the version. */
static sl_err take_prefix(const char *text, const char *name, uint8_t address[16], uint8_t mask[16], uint8_t *version,
                          struct sl_diag *diag)
{
    char head[SL_CARD_ADDRESS_TEXT], *end = NULL;
    const char *slash = strchr(text, '/');
    size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);

    if (length == 0 && slash == NULL)
        return SL_OK;
    if (length >= sizeof head)
        return sl_fail(diag, SL_ERR_INVALID, "%s: \"%s\" is not a prefix", name, text);
    memcpy(head, text, length);
    head[length] = '\0';
    uint8_t found = take_address(head, address);
    unsigned long most = found == 4 ? 32 : 128, bits = most;
    if (slash != NULL)
        bits = slash[1] >= '0' && slash[1] <= '9' ? strtoul(slash + 1, &end, 10) : most + 1;
    if (found == 0 || bits > most || (end != NULL && *end != '\0'))
        return sl_fail(diag, SL_ERR_INVALID, "%s: \"%s\" is not a prefix", name, text);
    if (*version != 0 && *version != found)
        return sl_fail(diag, SL_ERR_INVALID, "%s: IPv%u and IPv%u in one rule", name, *version, found);
    *version = found;
    for (size_t i = 0; i < 16; i++) {
        size_t set = bits <= 8 * i ? 0 : bits - 8 * i < 8 ? bits - 8 * i : 8;
        mask[i] = (uint8_t)(0xff00u >> set);
        if ((address[i] & ~mask[i]) != 0)
            return sl_fail(diag, SL_ERR_INVALID, "%s: \"%s\" has bits behind its prefix", name, text);
    }
    return SL_OK;
}

static sl_err take_ports(uint32_t min, uint32_t max, const char *name, uint16_t *out_min, uint16_t *out_max, struct sl_diag *diag)
{
    if (max == 0)
        max = min == 0 ? UINT16_MAX : min;
    if (min > max || max > UINT16_MAX)
        return sl_fail(diag, SL_ERR_INVALID, "%s: %" PRIu32 " .. %" PRIu32 " is not a range of ports", name, min, max);
    *out_min = (uint16_t)min;
    *out_max = (uint16_t)max;
    return SL_OK;
}

sl_err sl_card_rule_from(const Sluice__Card__V1__Rule *in, struct card_rule *out, struct sl_diag *diag)
{
    memset(out, 0, sizeof *out);
    if (in->version != 0 && in->version != 4 && in->version != 6)
        return sl_fail(diag, SL_ERR_INVALID, "version: 4, 6 or 0");
    out->version = (uint8_t)in->version;
    sl_err err = take_prefix(in->src, "src", out->src, out->src_mask, &out->version, diag);
    if (!err)
        err = take_prefix(in->dst, "dst", out->dst, out->dst_mask, &out->version, diag);
    if (!err)
        err = take_ports(in->sport_min, in->sport_max, "sport", &out->sport_min, &out->sport_max, diag);
    if (!err)
        err = take_ports(in->dport_min, in->dport_max, "dport", &out->dport_min, &out->dport_max, diag);
    if (err)
        return err;
    out->any_proto = in->protocol_case != SLUICE__CARD__V1__RULE__PROTOCOL_PROTO;
    if (!out->any_proto && in->proto > UINT8_MAX)
        return sl_fail(diag, SL_ERR_INVALID, "proto: %" PRIu32 " is not an IP protocol number", in->proto);
    out->proto = out->any_proto ? 0 : (uint8_t)in->proto;
    if ((int)in->action < SL_CARD_PUNT || (int)in->action > SL_CARD_DROP)
        return sl_fail(diag, SL_ERR_INVALID, "action: PUNT, PASS or DROP");
    out->action = (uint8_t)in->action;
    out->valid = 1;
    return SL_OK;
}
