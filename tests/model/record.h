/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the model: keys of one epoch, and one record as a whole, from its first byte until nothing of it can be asked any more. */
#pragma once

#include <openssl/evp.h>

#include "model.h"

enum {
    tls_header_bytes = 5,
    tls_nonce_bytes = 8, /* explicit, TLS 1.2 */
    tls_tag_bytes = 16,
    tls_plaintext_max = 1 << 14
};

enum tls_type { tls_alert = 21, tls_handshake = 22, tls_application_data = 23 };

/* OpenSSL's ciphers, looked up once. */
struct model_ciphers {
    EVP_CIPHER *ecb[2], *ctr[2], *gcm[2]; /* [0] AES-128, [1] AES-256 */
};

void model_ciphers_get(struct model_ciphers *c);
void model_ciphers_free(struct model_ciphers *c);

/* One key, ready for use. */
struct model_key {
    EVP_CIPHER_CTX *ecb, *ctr, *gcm;
    uint8_t iv[12]; /* TLS 1.2: 4 bytes of salt */
};

struct model_keys {
    struct model_key open, seal;
};

struct model_keys *model_keys_new(const struct model_ciphers *c, const struct key_set *set);
void model_keys_free(struct model_keys *k);

struct model_record_state {
    uint32_t start; /* TCP sequence number of its first byte, as it comes in */
    uint64_t open_seq;
    uint32_t seal_seq;
    uint16_t epoch;
    uint8_t header[tls_header_bytes]; /* as it came, as far as it has come */
    uint8_t nonce[tls_nonce_bytes];
    uint16_t fragment; /* length field */
    /* Since header and nonce are there: */
    uint16_t text_bytes;
    uint8_t *cipher; /* as it came, as far as it has come */
    uint8_t *mask;   /* keystream of the open key XOR keystream of the seal key */
    uint8_t *plain;  /* cipher, opened; until a byte comes, the keystream of the open key */
    uint8_t mirror_key[16];
    /* Since the text is complete: */
    bool tags;
    uint8_t open_tag[tls_tag_bytes]; /* as it must come */
    uint8_t seal_tag[tls_tag_bytes]; /* as it leaves */
};

struct model_record_state *model_record_new(uint32_t start, uint64_t open_seq, uint32_t seal_seq, uint16_t epoch);
void model_record_free(struct model_record_state *r);

/* How many bytes come before the text: header and nonce. */
size_t model_record_text_at(bool tls13);
/* The whole record. Its header must be known. */
size_t model_record_bytes(const struct model_record_state *r);

/* Header and nonce are there: make the keystreams. */
void model_record_begin(struct model_record_state *r, bool tls13, const struct model_keys *k);
/* The text is there: make the tags. */
void model_record_make_tags(struct model_record_state *r, bool tls13, const struct model_keys *k);

/* AES-GCM from OpenSSL: seals `bytes` of plain to cipher (which may be the same) and makes the tag. */
void model_gcm_seal(struct model_key *k, const uint8_t nonce[12], const uint8_t *aad, size_t aad_bytes, const uint8_t *plain,
                    size_t bytes, uint8_t *cipher, uint8_t tag[tls_tag_bytes]);
/* Opens: false if the tag is wrong. */
bool model_gcm_open(struct model_key *k, const uint8_t nonce[12], const uint8_t *aad, size_t aad_bytes, const uint8_t *cipher,
                    size_t bytes, uint8_t *plain, const uint8_t tag[tls_tag_bytes]);
/* The nonce of a record: RFC 8446 section 5.3; RFC 5288 section 3 with the explicit part. */
void model_nonce(const uint8_t iv[12], bool tls13, uint64_t seq, const uint8_t explicit_nonce[tls_nonce_bytes], uint8_t nonce[12]);
/* The additional data: RFC 8446 section 5.2, RFC 5246 section 6.2.3.3. Returns its length, 5 or 13. */
size_t model_aad(bool tls13, const uint8_t header[tls_header_bytes], uint64_t seq, uint16_t text_bytes, uint8_t aad[13]);

void model_put64(uint8_t *p, uint64_t x); /* big-endian */
uint64_t model_get64(const uint8_t *p);
void *model_alloc(size_t bytes);             /* zeroed; aborts if there is none */
void model_check(bool ok, const char *what); /* aborts with a message unless ok */
