/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine of record/gcm.h provides. Internal to record/: gcm.c checks arguments and lengths before it calls these. */
#pragma once

#include "record/gcm.h"

/* Every key object begins with this. */
struct sl_gcm_key {
    const struct sl_gcm_engine *engine;
    uint32_t rounds; /* 10 or 14 */
    bool owns_memory;
};

struct sl_gcm_engine {
    const char *name;
    size_t key_size;
    bool (*usable)(void); /* does this CPU have the instructions? */
    /* key->engine, rounds and owns_memory are set. After a failure gcm.c wipes the object. */
    sl_err (*key_init)(struct sl_gcm_key *key, const uint8_t *bytes, size_t len);
    void (*key_clear)(struct sl_gcm_key *key); /* NULL: nothing beside the object itself */

    sl_err (*begin)(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *iv, const uint8_t *aad, size_t aad_len);
    sl_err (*encrypt)(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *in, uint8_t *out, size_t len);
    sl_err (*decrypt)(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *in, uint8_t *out, size_t len);
    sl_err (*finish)(struct sl_gcm_key *key, struct sl_gcm_stream *s, uint8_t *tag);
    sl_err (*verify)(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *tag);

    sl_err (*seal)(struct sl_gcm_key *key, const uint8_t *iv, const uint8_t *aad, size_t aad_len, const uint8_t *in, uint8_t *out,
                   size_t len, uint8_t *tag);
    /* SL_ERR_AUTH leaves plaintext in out: gcm.c wipes it. */
    sl_err (*open)(struct sl_gcm_key *key, const uint8_t *iv, const uint8_t *aad, size_t aad_len, const uint8_t *in, uint8_t *out,
                   size_t len, const uint8_t *tag);

    /* By position; all four or none. A hash ends in a block that is begun: XORed in, and not yet multiplied. */
    sl_err (*hash_begin)(struct sl_gcm_key *key, uint8_t *hash, const uint8_t *aad, size_t aad_len);
    sl_err (*crypt_at)(struct sl_gcm_key *key, const uint8_t *iv, uint64_t at, uint8_t *hash, const uint8_t *in, uint8_t *out,
                       size_t len, bool encrypt);
    /* hash times H^blocks, plus later */
    sl_err (*hash_join)(struct sl_gcm_key *key, uint8_t *hash, uint64_t blocks, const uint8_t *later);
    sl_err (*hash_tag)(struct sl_gcm_key *key, const uint8_t *iv, const uint8_t *hash, size_t aad_len, uint64_t text_len,
                       uint8_t *tag);
};

#ifdef SL_GCM_X86
extern const struct sl_gcm_engine sl_gcm_vaes512, sl_gcm_vaes256, sl_gcm_aesni;
#endif
#ifdef SL_GCM_IPSEC_MB
extern const struct sl_gcm_engine sl_gcm_ipsec_mb;
#endif
extern const struct sl_gcm_engine sl_gcm_evp;

/* The known-answer test; also what the unit tests hold against a broken engine. */
bool sl_gcm_self_test(const struct sl_gcm_engine *engine);
