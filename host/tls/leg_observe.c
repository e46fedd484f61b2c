/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a leg learns by watching OpenSSL at work: alerts and their true direction, how far the handshake came, records under the
 * present keys, secrets.
 */
#include <openssl/obj_mac.h>
#include <string.h>

#include "base/cursor.h"
#include "tls/leg_internal.h"

enum { /* handshake messages */
       MSG_SERVER_HELLO = 2,
       MSG_CERTIFICATE = 11,
       MSG_SERVER_KEY_EXCHANGE = 12,
       MSG_CERTIFICATE_REQUEST = 13,
       MSG_SERVER_HELLO_DONE = 14,
       MSG_CERTIFICATE_VERIFY = 15,
       MSG_CLIENT_KEY_EXCHANGE = 16,
       MSG_FINISHED = 20
};

enum { HANDSHAKE_HEADER_BYTES = 4, EXT_SUPPORTED_VERSIONS = 43, NAMED_CURVE = 3 };

#define STAGE(name) SLUICE__V1__STAGE__STAGE_##name

/* ---- alerts ---- */

void sl_leg_note_alert(struct sl_leg *leg, bool sent, uint8_t level, uint8_t code)
{
    struct sl_leg_info *info = &leg->info;
    Sluice__V1__AlertDirection direction;

    if (leg->to_client)
        direction = sent ? SLUICE__V1__ALERT_DIRECTION__SENT_TO_CLIENT : SLUICE__V1__ALERT_DIRECTION__RECEIVED_FROM_CLIENT;
    else
        direction = sent ? SLUICE__V1__ALERT_DIRECTION__SENT_TO_SERVER : SLUICE__V1__ALERT_DIRECTION__RECEIVED_FROM_SERVER;
    if (info->alert_count == SL_LEG_ALERTS_MAX) /* the last one counts most: it is the fatal one */
        info->alert_count--;
    info->alerts[info->alert_count++] = (struct sl_leg_alert){level, code, direction};
}

/* ---- handshake messages ---- */

/* SHA-256("HelloRetryRequest"), RFC 8446 section 4.1.3. */
static const uint8_t retry_random[32] = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c,
                                         0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
                                         0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};

static bool is_retry(const uint8_t *message, size_t len)
{
    return len >= HANDSHAKE_HEADER_BYTES + 2 + 32 && memcmp(message + HANDSHAKE_HEADER_BYTES + 2, retry_random, 32) == 0;
}

/* ServerKeyExchange of ECDHE: curve type, group, point, then the signature algorithm. */
static void read_key_exchange(struct sl_leg *leg, struct sl_cursor c)
{
    uint8_t type;
    uint16_t group, sigalg;
    struct sl_cursor point;
    if (sl_read_skip(&c, HANDSHAKE_HEADER_BYTES) || sl_read_u8(&c, &type) || type != NAMED_CURVE || sl_read_u16(&c, &group))
        return;
    leg->info.group = group;
    if (sl_read_vec8(&c, &point) == SL_OK && sl_read_u16(&c, &sigalg) == SL_OK)
        leg->info.sigalg = sigalg;
}

static void read_certificate_verify(struct sl_leg *leg, struct sl_cursor c)
{
    uint16_t sigalg;
    if (sl_read_skip(&c, HANDSHAKE_HEADER_BYTES) == SL_OK && sl_read_u16(&c, &sigalg) == SL_OK)
        leg->info.sigalg = sigalg;
}

/* Stages of the leg to the server, by what the server sent; after the certificate the verify callback takes over. */
static void from_server(struct sl_leg *leg, uint8_t type)
{
    switch (type) {
    case MSG_SERVER_HELLO:
        leg->info.stage = STAGE(CERTIFICATE);
        break;
    case MSG_CERTIFICATE:
        leg->info.stage = STAGE(VERIFY);
        break;
    case MSG_CERTIFICATE_REQUEST:
        leg->info.client_cert_requested = true;
        break;
    case MSG_SERVER_HELLO_DONE:
    case MSG_CERTIFICATE_VERIFY:
        leg->info.stage = STAGE(FINISHED);
        break;
    default:
        break;
    }
}

static void with_client(struct sl_leg *leg, bool written, uint8_t type)
{
    if (written && type == MSG_SERVER_HELLO)
        leg->info.stage = STAGE(KEY_EXCHANGE);
    else if ((written && type == MSG_FINISHED) || (!written && type == MSG_CLIENT_KEY_EXCHANGE))
        leg->info.stage = STAGE(FINISHED);
}

static void on_handshake(struct sl_leg *leg, bool written, const uint8_t *message, size_t len)
{
    struct sl_cursor c = sl_cursor_make(message, len);
    bool by_server = written == leg->to_client;

    if (len < HANDSHAKE_HEADER_BYTES || leg->state == SL_LEG_DONE)
        return;
    if (message[0] == MSG_FINISHED) { /* the traffic secrets come next */
        leg->keys_come = true;
        sl_leg_listen(leg);
    }
    if (message[0] == MSG_SERVER_HELLO && is_retry(message, len)) {
        leg->info.hello_retry = true;
        return;
    }
    if (message[0] == MSG_SERVER_HELLO)
        leg->info.server_hello = true;
    if (by_server && message[0] == MSG_SERVER_KEY_EXCHANGE)
        read_key_exchange(leg, c);
    if (by_server && message[0] == MSG_CERTIFICATE_VERIFY)
        read_certificate_verify(leg, c);
    if (leg->to_client)
        with_client(leg, written, message[0]);
    else if (!written)
        from_server(leg, message[0]);
}

/* ---- records ---- */

/* A ChangeCipherSpec starts a new key in TLS 1.2. In TLS 1.3 it means nothing, and the key log starts the count again later. */
static void on_record(struct sl_leg *leg, bool written, const uint8_t *header)
{
    uint64_t *count = written ? &leg->records_written : &leg->records_read;
    *count = header[0] == SL_TLS_CHANGE_CIPHER_SPEC ? 0 : *count + 1;
}

static void on_message(int written, int version, int type, const void *bytes, size_t len, SSL *ssl, void *arg)
{
    struct sl_leg *leg = arg;
    (void)version;
    (void)ssl;
    if (!leg)
        return;
    if (type == SSL3_RT_HEADER && len >= SL_TLS_HEADER_BYTES)
        on_record(leg, written != 0, bytes);
    else if (type == SSL3_RT_ALERT && len >= 2)
        sl_leg_note_alert(leg, written != 0, ((const uint8_t *)bytes)[0], ((const uint8_t *)bytes)[1]);
    else if (type == SSL3_RT_HANDSHAKE)
        on_handshake(leg, written != 0, bytes, len);
}

/* ---- secrets ---- */

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static size_t unhex(const char *text, uint8_t *out, size_t cap)
{
    size_t n = 0;
    for (; text[0] && text[1]; text += 2, n++) {
        int high = nibble(text[0]), low = nibble(text[1]);
        if (high < 0 || low < 0 || n == cap)
            return 0;
        out[n] = (uint8_t)(high << 4 | low);
    }
    return n;
}

/* TLS 1.3. "LABEL client_random secret": the only place where a secret is text, in memory that OpenSSL wipes. */
static void on_key_log(const SSL *ssl, const char *line)
{
    struct sl_leg *leg = sl_leg_of(ssl);
    const char *random = strchr(line, ' '), *secret = random ? strchr(random + 1, ' ') : NULL;
    if (!leg || !leg->secrets || !secret)
        return;
    struct sl_leg_secrets *s = leg->secrets;
    size_t label = (size_t)(random - line);

    secret++;
#define IS(name) (label == sizeof(name) - 1 && memcmp(line, name, sizeof(name) - 1) == 0)
    if (IS("CLIENT_TRAFFIC_SECRET_0")) {
        s->client_traffic_len = unhex(secret, s->client_traffic, sizeof s->client_traffic);
        *(leg->to_client ? &leg->records_read : &leg->records_written) = 0;
    } else if (IS("SERVER_TRAFFIC_SECRET_0")) {
        s->server_traffic_len = unhex(secret, s->server_traffic, sizeof s->server_traffic);
        *(leg->to_client ? &leg->records_written : &leg->records_read) = 0;
    }
#undef IS
}

void sl_leg_observe(SSL_CTX *ctx)
{
    SSL_CTX_set_msg_callback(ctx, on_message);
}

/* OpenSSL writes every secret as text, byte by byte, if there is a callback: so there is one only when the wanted secrets come. */
void sl_leg_listen(struct sl_leg *leg)
{
    SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(leg->ssl), leg->keys_come ? on_key_log : NULL);
}

void sl_leg_note_master(struct sl_leg *leg)
{
    struct sl_leg_secrets *s = leg->secrets;
    if (SSL_version(leg->ssl) == SL_TLS12)
        s->master_len = SSL_SESSION_get_master_key(SSL_get_session(leg->ssl), s->master, sizeof s->master);
}

/* ---- selection ---- */

static uint16_t group_of_nid(int nid)
{
    static const struct {
        int nid;
        uint16_t group;
    } table[] = {{NID_X25519, 0x001d}, {NID_X9_62_prime256v1, 0x0017}, {NID_secp384r1, 0x0018}, {NID_secp521r1, 0x0019},
                 {NID_X448, 0x001e},   {NID_ffdhe2048, 0x0100},        {NID_ffdhe3072, 0x0101}, {NID_ffdhe4096, 0x0102}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].nid == nid)
            return table[i].group;
    return 0;
}

void sl_leg_note_selection(struct sl_leg *leg)
{
    struct sl_leg_info *info = &leg->info;
    const unsigned char *alpn = NULL;
    unsigned alpn_len = 0;
    const SSL_CIPHER *cipher;

    if (!leg->ssl || !info->server_hello)
        return;
    info->version = (uint16_t)SSL_version(leg->ssl);
    cipher = SSL_get_current_cipher(leg->ssl);
    if (!cipher)
        cipher = SSL_get_pending_cipher(leg->ssl);
    if (cipher)
        info->suite = SSL_CIPHER_get_protocol_id(cipher);
    SSL_get0_alpn_selected(leg->ssl, &alpn, &alpn_len);
    if (alpn_len <= sizeof info->alpn) {
        if (alpn_len > 0)
            memcpy(info->alpn, alpn, alpn_len);
        info->alpn_len = (uint8_t)alpn_len;
    }
    info->resumed = SSL_session_reused(leg->ssl) != 0;
    info->extended_master_secret = info->version == SL_TLS13 || SSL_get_extms_support(leg->ssl) == 1;
    if (info->group == 0)
        info->group = group_of_nid((int)SSL_get_negotiated_group(leg->ssl));
}
