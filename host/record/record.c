/* SPDX-License-Identifier: Apache-2.0 */
#include "record/record.h"

#include <string.h>

#include "base/secret.h"
#include "record/record_impl.h"

/* ---- objects ---- */

static size_t round_up(size_t n)
{
    return (n + SL_GCM_ALIGN - 1) / SL_GCM_ALIGN * SL_GCM_ALIGN;
}

size_t sl_record_size(const struct sl_gcm_engine *engine)
{
    return round_up(sizeof(struct sl_record)) + round_up(sl_gcm_key_size(engine));
}

sl_err sl_record_init(void *mem, const struct sl_gcm_engine *engine, const struct sl_record_half *half, struct sl_record **out)
{
    struct sl_record *r = mem;
    const struct sl_suite *suite = sl_suite_find(half->suite);
    if (suite == NULL || suite->version != half->version || suite->key_len != half->key_len)
        return SL_ERR_INVALID;
    r->engine = engine;
    r->key_mem = (uint8_t *)mem + round_up(sizeof(*r));
    r->seal_limit = SL_RECORD_SEAL_MAX;
    sl_err err = sl_gcm_key_init(engine, r->key_mem, half->key, half->key_len, &r->key);
    if (err == SL_OK) {
        r->half = *half;
        *out = r;
    }
    return err;
}

void sl_record_clear(struct sl_record *r)
{
    sl_gcm_key_clear(r->key);
    r->key = NULL;
    sl_wipe(&r->stream, sizeof(r->stream));
    sl_wipe(r->half.secret, sizeof(r->half.secret));
    sl_wipe(r->half.key, sizeof(r->half.key));
    sl_wipe(r->half.iv, sizeof(r->half.iv));
}

sl_err sl_record_new(const struct sl_gcm_engine *engine, struct sl_record_half *half, struct sl_record **out)
{
    void *mem;
    if (engine == NULL)
        engine = sl_gcm_engine_default();
    sl_err err = sl_secret_alloc(sl_record_size(engine), &mem);
    if (err != SL_OK)
        return err;
    err = sl_record_init(mem, engine, half, out);
    if (err == SL_OK)
        sl_wipe(half, sizeof(*half));
    else
        sl_secret_free(mem);
    return err;
}

void sl_record_free(struct sl_record *r)
{
    if (r == NULL)
        return;
    sl_record_clear(r);
    sl_secret_free(r);
}

uint64_t sl_record_seq(const struct sl_record *r)
{
    return r->half.seq;
}

uint64_t sl_record_epoch(const struct sl_record *r)
{
    return r->half.epoch;
}

sl_err sl_record_step(struct sl_record *r)
{
    if (r->dead != SL_OK)
        return r->dead;
    sl_err err = sl_record_half_step(&r->half);
    if (err != SL_OK)
        return err;
    sl_gcm_key_clear(r->key);
    r->key = NULL;
    err = sl_gcm_key_init(r->engine, r->key_mem, r->half.key, r->half.key_len, &r->key);
    r->dead = err; /* the old key is gone */
    return err;
}

/* ---- headers, nonces, additional data ---- */

size_t sl_record_nonce_bytes(uint16_t version)
{
    return version == SL_TLS12 ? SL_TLS12_NONCE_BYTES : 0;
}

size_t sl_record_overhead(uint16_t version)
{
    return version == SL_TLS12 ? SL_TLS12_OVERHEAD : SL_TLS13_OVERHEAD;
}

sl_err sl_record_parse_header(uint16_t version, const uint8_t header[SL_TLS_HEADER_BYTES], uint8_t *type, size_t *fragment)
{
    const size_t max = version == SL_TLS12 ? SL_TLS12_FRAGMENT_MAX : SL_TLS13_FRAGMENT_MAX;
    const size_t len = (size_t)header[3] << 8 | header[4];
    *type = header[0];
    *fragment = len;
    if (version == SL_TLS13 ? header[0] != SL_TLS_APPLICATION_DATA
                            : header[0] < SL_TLS_CHANGE_CIPHER_SPEC || header[0] > SL_TLS_APPLICATION_DATA)
        return SL_ERR_ALERT(SL_TLS_UNEXPECTED_MESSAGE);
    if (header[1] != 3 || header[2] != 3)
        return SL_ERR_ALERT(SL_TLS_DECODE_ERROR);
    if (len > max)
        return SL_ERR_ALERT(SL_TLS_RECORD_OVERFLOW);
    if (len < sl_record_nonce_bytes(version) + SL_TLS_TAG_BYTES)
        return SL_ERR_ALERT(SL_TLS_BAD_RECORD_MAC);
    return SL_OK;
}

void sl_record_write_header(uint8_t header[SL_TLS_HEADER_BYTES], uint8_t type, size_t fragment)
{
    header[0] = type;
    header[1] = 3;
    header[2] = 3;
    header[3] = (uint8_t)(fragment >> 8);
    header[4] = (uint8_t)fragment;
}

static uint64_t big_endian(uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return __builtin_bswap64(v);
#else
    return v;
#endif
}

static void write_u64(uint8_t out[8], uint64_t v)
{
    v = big_endian(v);
    memcpy(out, &v, sizeof(v));
}

/* G2. TLS 1.3, RFC 8446 section 5.3: iv XOR seq. TLS 1.2, RFC 5288 section 3: salt | explicit nonce, which we set to seq (RFC 9325
 * section 7.2.1); half.iv is zero there. */
void sl_record_iv(const struct sl_record *r, const uint8_t *explicit_nonce, uint8_t iv[SL_TLS_IV_BYTES])
{
    uint64_t low;
    if (explicit_nonce != NULL) {
        memcpy(&low, explicit_nonce, sizeof(low));
    } else {
        memcpy(&low, r->half.iv + SL_TLS12_SALT_BYTES, sizeof(low));
        low ^= big_endian(r->half.seq);
    }
    memcpy(iv, r->half.iv, SL_TLS12_SALT_BYTES);
    memcpy(iv + SL_TLS12_SALT_BYTES, &low, sizeof(low));
}

void sl_record_write_nonce(const struct sl_record *r, uint8_t nonce[SL_TLS12_NONCE_BYTES])
{
    write_u64(nonce, r->half.seq);
}

/* G9. TLS 1.3, RFC 8446 section 5.2: the header. TLS 1.2, RFC 5246 section 6.2.3.3: seq | type | version | length of the plaintext.
 */
size_t sl_record_aad(const struct sl_record *r, const uint8_t header[SL_TLS_HEADER_BYTES], size_t fragment,
                     uint8_t aad[SL_RECORD_AAD_MAX])
{
    if (r->half.version == SL_TLS13) {
        memcpy(aad, header, SL_TLS_HEADER_BYTES);
        return SL_TLS_HEADER_BYTES;
    }
    write_u64(aad, r->half.seq);
    sl_record_write_header(aad + 8, header[0], fragment - SL_TLS12_OVERHEAD);
    return SL_RECORD_AAD_MAX;
}

size_t sl_record_trim(const uint8_t *bytes, size_t len)
{
    uint64_t word;
    while (len >= sizeof(word)) {
        memcpy(&word, bytes + len - sizeof(word), sizeof(word));
        if (word != 0)
            break;
        len -= sizeof(word);
    }
    while (len > 0 && bytes[len - 1] == 0)
        len--;
    return len;
}

/* ---- whole records ---- */

sl_err sl_record_seal_text(struct sl_record *r, uint8_t outer_type, uint8_t *record, size_t text_len)
{
    const size_t nonce = sl_record_nonce_bytes(r->half.version), fragment = nonce + text_len + SL_TLS_TAG_BYTES;
    uint8_t iv[SL_TLS_IV_BYTES], aad[SL_RECORD_AAD_MAX];
    uint8_t *text = record + SL_TLS_HEADER_BYTES + nonce;
    sl_record_write_header(record, outer_type, fragment);
    if (nonce > 0)
        sl_record_write_nonce(r, record + SL_TLS_HEADER_BYTES);
    sl_record_iv(r, NULL, iv);
    size_t aad_len = sl_record_aad(r, record, fragment, aad);
    sl_err err = sl_gcm_seal(r->key, iv, aad, aad_len, text, text, text_len, text + text_len);
    if (err == SL_OK)
        r->half.seq++;
    else
        sl_wipe(text, text_len);
    return err;
}

sl_err sl_record_seal(struct sl_record *r, enum sl_tls_content type, const uint8_t *content, size_t len, size_t padding,
                      uint8_t *out, size_t out_cap, size_t *out_len)
{
    const uint16_t version = r->half.version;
    if (r->dead != SL_OK)
        return r->dead;
    if (len > SL_TLS_PLAINTEXT_MAX || padding > SL_TLS_PLAINTEXT_MAX - len || (version == SL_TLS12 && padding > 0))
        return SL_ERR_INVALID;
    const size_t total = SL_TLS_HEADER_BYTES + len + padding + sl_record_overhead(version);
    if (out_cap < total)
        return SL_ERR_SHORT;
    if (r->half.seq >= r->seal_limit)
        return SL_ERR_LIMIT;
    uint8_t *text = out + SL_TLS_HEADER_BYTES + sl_record_nonce_bytes(version);
    size_t text_len = len;
    if (len > 0)
        memcpy(text, content, len);
    if (version == SL_TLS13) {
        text[len] = (uint8_t)type;
        memset(text + len + 1, 0, padding);
        text_len += 1 + padding;
    }
    sl_err err = sl_record_seal_text(r, version == SL_TLS13 ? SL_TLS_APPLICATION_DATA : (uint8_t)type, out, text_len);
    if (err == SL_OK)
        *out_len = total;
    return err;
}

static sl_err open_record(struct sl_record *r, const uint8_t *record, size_t len, uint8_t *out, enum sl_tls_content *type,
                          size_t *content_len, size_t *padding)
{
    const size_t nonce = sl_record_nonce_bytes(r->half.version);
    uint8_t outer_type, iv[SL_TLS_IV_BYTES], aad[SL_RECORD_AAD_MAX];
    size_t fragment;
    if (len < SL_TLS_HEADER_BYTES)
        return SL_ERR_ALERT(SL_TLS_DECODE_ERROR);
    sl_err err = sl_record_parse_header(r->half.version, record, &outer_type, &fragment);
    if (err != SL_OK)
        return err;
    if (fragment != len - SL_TLS_HEADER_BYTES)
        return SL_ERR_ALERT(SL_TLS_DECODE_ERROR);
    if (r->half.seq == UINT64_MAX)
        return SL_ERR_LIMIT;
    const uint8_t *text = record + SL_TLS_HEADER_BYTES + nonce;
    size_t text_len = fragment - nonce - SL_TLS_TAG_BYTES;
    sl_record_iv(r, nonce > 0 ? record + SL_TLS_HEADER_BYTES : NULL, iv);
    size_t aad_len = sl_record_aad(r, record, fragment, aad);
    err = sl_gcm_open(r->key, iv, aad, aad_len, text, out, text_len, text + text_len);
    if (err != SL_OK)
        return err == SL_ERR_AUTH ? SL_ERR_ALERT(SL_TLS_BAD_RECORD_MAC) : err;
    *type = outer_type;
    *content_len = text_len;
    *padding = 0;
    if (r->half.version == SL_TLS13) {
        size_t end = sl_record_trim(out, text_len);
        if (end == 0)
            return SL_ERR_ALERT(SL_TLS_UNEXPECTED_MESSAGE); /* RFC 8446 section 5.4 */
        *type = out[end - 1];
        *content_len = end - 1;
        *padding = text_len - end;
    }
    r->half.seq++;
    return SL_OK;
}

sl_err sl_record_open(struct sl_record *r, const uint8_t *record, size_t len, uint8_t *out, enum sl_tls_content *type,
                      size_t *content_len, size_t *padding)
{
    if (r->dead == SL_OK)
        r->dead = open_record(r, record, len, out, type, content_len, padding);
    return r->dead;
}
