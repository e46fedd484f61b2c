/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-128-GCM and AES-256-GCM (NIST SP 800-38D) with 96-bit IVs and full 128-bit tags, through one interface and several engines:
 *
 *   vaes512, vaes256, aesni   our own, one source compiled for three vector widths (gcm_x86.h)
 *   ipsec-mb                  intel-ipsec-mb, where the build found it
 *   evp                       OpenSSL, everywhere
 *
 * The first call of sl_gcm_engines or sl_gcm_engine_default runs a known-answer test of every engine whose instructions this CPU
 * has. Engines that fail it do not exist for the rest of the process. The default is the first of the list above that is left; the
 * environment variable SLUICE_GCM_ENGINE names another (for tests; an unknown name is ignored).
 *
 * Who guards what: an engine never chooses an IV. That a (key, IV) pair is used once is the caller's duty (record/cipher.h counts).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SL_GCM_IV_BYTES = 12, SL_GCM_TAG_BYTES = 16, SL_GCM_AAD_MAX = 16, SL_GCM_ALIGN = 64, SL_GCM_STREAM_BYTES = 112 };

/* SP 800-38D section 5.2.1.1: len(P) <= 2^39 - 256 bits. Enforced by every function that takes text (G15). */
#define SL_GCM_TEXT_MAX ((UINT64_C(1) << 36) - 32)

struct sl_gcm_engine;

/* A message in the making. Holds keystream: it lives in secret memory or is wiped after use. */
struct sl_gcm_stream {
    _Alignas(16) uint8_t opaque[SL_GCM_STREAM_BYTES]; /* the engine's */
    uint64_t text_len;
};

/* The usable engines, best first; *count of them. Thread-safe. Static storage. */
const struct sl_gcm_engine *const *sl_gcm_engines(size_t *count);
const struct sl_gcm_engine *sl_gcm_engine_default(void);
const struct sl_gcm_engine *sl_gcm_engine_find(const char *name); /* NULL: not built, not usable here, or failed its self-test */
const char *sl_gcm_engine_name(const struct sl_gcm_engine *engine);

/* A key object with the round keys and the powers of H. */
struct sl_gcm_key;

/* Bytes of a key object: at most 704 for our own engines. */
size_t sl_gcm_key_size(const struct sl_gcm_engine *engine);

/* Makes a key object in mem: zeroed secret memory of sl_gcm_key_size bytes, aligned to SL_GCM_ALIGN. len is 16 or 32 (else
 * SL_ERR_INVALID). SL_ERR_NOMEM or SL_ERR_CRYPTO from the library below; then mem is wiped. End with sl_gcm_key_clear. */
sl_err sl_gcm_key_init(const struct sl_gcm_engine *engine, void *mem, const uint8_t *key, size_t len, struct sl_gcm_key **out);
/* Releases what the engine holds and wipes the object; its memory remains the caller's. NULL is allowed. */
void sl_gcm_key_clear(struct sl_gcm_key *key);

/* The same with secret memory of its own. */
sl_err sl_gcm_key_new(const struct sl_gcm_engine *engine, const uint8_t *key, size_t len, struct sl_gcm_key **out);
void sl_gcm_key_free(struct sl_gcm_key *key);

/*
 * A message in pieces: begin, then any number of encrypt calls and finish, or of decrypt calls and verify, pieces of any length.
 * One message at a time for a key; a key is not shared between threads. in == out is allowed, other overlap is not. aad_len <=
 * SL_GCM_AAD_MAX. Errors: SL_ERR_INVALID (aad too long), SL_ERR_LIMIT (text longer than SL_GCM_TEXT_MAX; nothing was done),
 * SL_ERR_CRYPTO.
 *
 * What sl_gcm_decrypt gives is not genuine until sl_gcm_verify says so: keep it from every reader until then.
 */
sl_err sl_gcm_begin(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t iv[SL_GCM_IV_BYTES], const void *aad,
                    size_t aad_len);
sl_err sl_gcm_encrypt(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *in, uint8_t *out, size_t len);
sl_err sl_gcm_decrypt(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *in, uint8_t *out, size_t len);
/* Both wipe the stream. */
sl_err sl_gcm_finish(struct sl_gcm_key *key, struct sl_gcm_stream *s, uint8_t tag[SL_GCM_TAG_BYTES]);
/* Compares all 16 bytes in constant time. SL_ERR_AUTH: the tag is wrong. */
sl_err sl_gcm_verify(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t tag[SL_GCM_TAG_BYTES]);

/* A whole message. */
sl_err sl_gcm_seal(struct sl_gcm_key *key, const uint8_t iv[SL_GCM_IV_BYTES], const void *aad, size_t aad_len, const uint8_t *in,
                   uint8_t *out, size_t len, uint8_t tag[SL_GCM_TAG_BYTES]);
/* SL_ERR_AUTH: the tag is wrong; out is zeroed then, and on every other error. */
sl_err sl_gcm_open(struct sl_gcm_key *key, const uint8_t iv[SL_GCM_IV_BYTES], const void *aad, size_t aad_len, const uint8_t *in,
                   uint8_t *out, size_t len, const uint8_t tag[SL_GCM_TAG_BYTES]);

/*
 * A message by position, for whoever gets its text in any order. Where the streams above keep keystream and position between calls,
 * here the caller keeps a hash (16 bytes, opaque; secret) and knows the position; offsets count the bytes of the text from its
 * first.
 *
 *   sl_gcm_hash_begin            the hash of [0, 0)
 *   sl_gcm_crypt_at              the hash of [0, at) becomes that of [0, at + len); the text goes through the keystream
 *   sl_gcm_hash_join             the hash of [0, from) and that of [from, to), begun with zeros, become that of [0, to)
 *   sl_gcm_hash_tag              the tag that belongs to the hash of [0, text_len)
 *
 * sl_gcm_crypt_at: hash may be NULL, when the text was hashed before. encrypt says which side of it is hashed: what comes out, or
 * (false) what comes in. in == out is allowed, other overlap is not. Errors: SL_ERR_UNSUPPORTED: the engine has no random access
 * (sl_gcm_has_positions says so; ipsec-mb does not). SL_ERR_INVALID, SL_ERR_LIMIT as above, SL_ERR_CRYPTO; after these hash and out
 * have no meaning.
 */
enum { SL_GCM_HASH_BYTES = 16 };
bool sl_gcm_has_positions(const struct sl_gcm_engine *engine);
sl_err sl_gcm_hash_begin(struct sl_gcm_key *key, uint8_t hash[SL_GCM_HASH_BYTES], const void *aad, size_t aad_len);
sl_err sl_gcm_crypt_at(struct sl_gcm_key *key, const uint8_t iv[SL_GCM_IV_BYTES], uint64_t at, uint8_t hash[SL_GCM_HASH_BYTES],
                       const uint8_t *in, uint8_t *out, size_t len, bool encrypt);
sl_err sl_gcm_hash_join(struct sl_gcm_key *key, uint8_t hash[SL_GCM_HASH_BYTES], uint64_t from,
                        const uint8_t later[SL_GCM_HASH_BYTES], uint64_t to);
sl_err sl_gcm_hash_tag(struct sl_gcm_key *key, const uint8_t iv[SL_GCM_IV_BYTES], const uint8_t hash[SL_GCM_HASH_BYTES],
                       size_t aad_len, uint64_t text_len, uint8_t tag[SL_GCM_TAG_BYTES]);
