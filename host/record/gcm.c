/* SPDX-License-Identifier: Apache-2.0 */
#include "record/gcm.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "record/gcm_engine.h"

/* ---- choice and self-test of engines ---- */

static const struct sl_gcm_engine *const built[] = {
#ifdef SL_GCM_X86
    &sl_gcm_vaes512,  &sl_gcm_vaes256,
#endif
#ifdef SL_GCM_IPSEC_MB
    &sl_gcm_ipsec_mb,
#endif
#ifdef SL_GCM_X86
    &sl_gcm_aesni,
#endif
    &sl_gcm_evp,
};
enum { BUILT = sizeof(built) / sizeof(built[0]) };

/* Written once under pthread_once, constant afterwards. */
static const struct sl_gcm_engine *usable[BUILT];
static size_t usable_count;
static const struct sl_gcm_engine *preferred;
static pthread_once_t chosen = PTHREAD_ONCE_INIT;

static void choose(void)
{
    const char *wanted = getenv("SLUICE_GCM_ENGINE");
    for (size_t i = 0; i < BUILT; i++) {
        if (built[i]->usable() && sl_gcm_self_test(built[i]))
            usable[usable_count++] = built[i];
    }
    preferred = usable_count > 0 ? usable[0] : &sl_gcm_evp;
    for (size_t i = 0; i < usable_count; i++) {
        if (wanted != NULL && strcmp(usable[i]->name, wanted) == 0)
            preferred = usable[i];
    }
}

const struct sl_gcm_engine *const *sl_gcm_engines(size_t *count)
{
    pthread_once(&chosen, choose);
    *count = usable_count;
    return usable;
}

const struct sl_gcm_engine *sl_gcm_engine_default(void)
{
    pthread_once(&chosen, choose);
    return preferred;
}

const struct sl_gcm_engine *sl_gcm_engine_find(const char *name)
{
    size_t count;
    const struct sl_gcm_engine *const *engines = sl_gcm_engines(&count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(engines[i]->name, name) == 0)
            return engines[i];
    }
    return NULL;
}

const char *sl_gcm_engine_name(const struct sl_gcm_engine *engine)
{
    return engine->name;
}

/* ---- keys ---- */

size_t sl_gcm_key_size(const struct sl_gcm_engine *engine)
{
    return engine->key_size;
}

sl_err sl_gcm_key_init(const struct sl_gcm_engine *engine, void *mem, const uint8_t *key, size_t len, struct sl_gcm_key **out)
{
    if (len != 16 && len != 32)
        return SL_ERR_INVALID;
    struct sl_gcm_key *k = mem;
    *k = (struct sl_gcm_key){.engine = engine, .rounds = len == 16 ? 10 : 14};
    sl_err err = engine->key_init(k, key, len);
    if (err != SL_OK) {
        sl_wipe(mem, engine->key_size);
        return err;
    }
    *out = k;
    return SL_OK;
}

void sl_gcm_key_clear(struct sl_gcm_key *key)
{
    if (key == NULL)
        return;
    const struct sl_gcm_engine *engine = key->engine;
    if (engine->key_clear != NULL)
        engine->key_clear(key);
    sl_wipe(key, engine->key_size);
}

sl_err sl_gcm_key_new(const struct sl_gcm_engine *engine, const uint8_t *key, size_t len, struct sl_gcm_key **out)
{
    void *mem;
    sl_err err = sl_secret_alloc(engine->key_size, &mem);
    if (err != SL_OK)
        return err;
    err = sl_gcm_key_init(engine, mem, key, len, out);
    if (err != SL_OK)
        sl_secret_free(mem);
    return err;
}

void sl_gcm_key_free(struct sl_gcm_key *key)
{
    sl_gcm_key_clear(key);
    sl_secret_free(key);
}

/* ---- messages ---- */

sl_err sl_gcm_begin(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t iv[SL_GCM_IV_BYTES], const void *aad,
                    size_t aad_len)
{
    if (aad_len > SL_GCM_AAD_MAX)
        return SL_ERR_INVALID;
    s->text_len = 0;
    return key->engine->begin(key, s, iv, aad, aad_len);
}

/* G15: the counter of SP 800-38D must not wrap. */
static sl_err count_text(struct sl_gcm_stream *s, size_t len)
{
    if (len > SL_GCM_TEXT_MAX - s->text_len)
        return SL_ERR_LIMIT;
    s->text_len += len;
    return SL_OK;
}

sl_err sl_gcm_encrypt(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *in, uint8_t *out, size_t len)
{
    sl_err err = count_text(s, len);
    if (err != SL_OK || len == 0)
        return err;
    return key->engine->encrypt(key, s, in, out, len);
}

sl_err sl_gcm_decrypt(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *in, uint8_t *out, size_t len)
{
    sl_err err = count_text(s, len);
    if (err != SL_OK || len == 0)
        return err;
    return key->engine->decrypt(key, s, in, out, len);
}

sl_err sl_gcm_finish(struct sl_gcm_key *key, struct sl_gcm_stream *s, uint8_t tag[SL_GCM_TAG_BYTES])
{
    sl_err err = key->engine->finish(key, s, tag);
    sl_wipe(s, sizeof(*s));
    return err;
}

sl_err sl_gcm_verify(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t tag[SL_GCM_TAG_BYTES])
{
    sl_err err = key->engine->verify(key, s, tag);
    sl_wipe(s, sizeof(*s));
    return err;
}

sl_err sl_gcm_seal(struct sl_gcm_key *key, const uint8_t iv[SL_GCM_IV_BYTES], const void *aad, size_t aad_len, const uint8_t *in,
                   uint8_t *out, size_t len, uint8_t tag[SL_GCM_TAG_BYTES])
{
    if (aad_len > SL_GCM_AAD_MAX)
        return SL_ERR_INVALID;
    if (len > SL_GCM_TEXT_MAX)
        return SL_ERR_LIMIT;
    return key->engine->seal(key, iv, aad, aad_len, in, out, len, tag);
}

sl_err sl_gcm_open(struct sl_gcm_key *key, const uint8_t iv[SL_GCM_IV_BYTES], const void *aad, size_t aad_len, const uint8_t *in,
                   uint8_t *out, size_t len, const uint8_t tag[SL_GCM_TAG_BYTES])
{
    sl_err err = aad_len > SL_GCM_AAD_MAX ? SL_ERR_INVALID : len > SL_GCM_TEXT_MAX ? SL_ERR_LIMIT : SL_OK;
    if (err != SL_OK)
        return err;
    err = key->engine->open(key, iv, aad, aad_len, in, out, len, tag);
    if (err != SL_OK && len > 0)
        sl_wipe(out, len);
    return err;
}

/* ---- messages by position ---- */

bool sl_gcm_has_positions(const struct sl_gcm_engine *engine)
{
    return engine->crypt_at != NULL;
}

sl_err sl_gcm_hash_begin(struct sl_gcm_key *key, uint8_t hash[SL_GCM_HASH_BYTES], const void *aad, size_t aad_len)
{
    if (!sl_gcm_has_positions(key->engine))
        return SL_ERR_UNSUPPORTED;
    if (aad_len > SL_GCM_AAD_MAX)
        return SL_ERR_INVALID;
    return key->engine->hash_begin(key, hash, aad, aad_len);
}

sl_err sl_gcm_crypt_at(struct sl_gcm_key *key, const uint8_t iv[SL_GCM_IV_BYTES], uint64_t at, uint8_t hash[SL_GCM_HASH_BYTES],
                       const uint8_t *in, uint8_t *out, size_t len, bool encrypt)
{
    if (!sl_gcm_has_positions(key->engine))
        return SL_ERR_UNSUPPORTED;
    if (at > SL_GCM_TEXT_MAX || len > SL_GCM_TEXT_MAX - at) /* G15 */
        return SL_ERR_LIMIT;
    return len > 0 ? key->engine->crypt_at(key, iv, at, hash, in, out, len, encrypt) : SL_OK;
}

sl_err sl_gcm_hash_join(struct sl_gcm_key *key, uint8_t hash[SL_GCM_HASH_BYTES], uint64_t from,
                        const uint8_t later[SL_GCM_HASH_BYTES], uint64_t to)
{
    if (!sl_gcm_has_positions(key->engine))
        return SL_ERR_UNSUPPORTED;
    if (to < from)
        return SL_ERR_INVALID;
    return key->engine->hash_join(key, hash, to / 16 - from / 16, later);
}

sl_err sl_gcm_hash_tag(struct sl_gcm_key *key, const uint8_t iv[SL_GCM_IV_BYTES], const uint8_t hash[SL_GCM_HASH_BYTES],
                       size_t aad_len, uint64_t text_len, uint8_t tag[SL_GCM_TAG_BYTES])
{
    if (!sl_gcm_has_positions(key->engine))
        return SL_ERR_UNSUPPORTED;
    return key->engine->hash_tag(key, iv, hash, aad_len, text_len, tag);
}
