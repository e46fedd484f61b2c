/* SPDX-License-Identifier: Apache-2.0 */
/* intel-ipsec-mb behind the engine interface. Its manager is only a table of functions for this CPU here: made once, then constant.
 */
#include <string.h>

#include <intel-ipsec-mb.h>
#include <pthread.h>

#include "base/secret.h"
#include "record/gcm_engine.h"

struct mb_key {
    struct sl_gcm_key head;
    _Alignas(64) struct gcm_key_data data;
};
_Static_assert(sizeof(struct gcm_context_data) <= SL_GCM_STREAM_BYTES, "fits the opaque type");

static IMB_MGR *manager;
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void make(void)
{
    IMB_ARCH arch;
    manager = alloc_mb_mgr(0);
    if (manager != NULL)
        init_mb_mgr_auto(manager, &arch);
}

static bool usable(void)
{
    const uint64_t needed = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ | IMB_FEATURE_SSE4_2;
    pthread_once(&made, make);
    return manager != NULL && imb_get_errno(manager) == 0 && (manager->features & needed) == needed;
}

static struct gcm_key_data *mb_key(struct sl_gcm_key *key)
{
    return &((struct mb_key *)(void *)key)->data;
}

static struct gcm_context_data *mb_stream(struct sl_gcm_stream *s)
{
    return (struct gcm_context_data *)(void *)s->opaque;
}

static sl_err mb_key_init(struct sl_gcm_key *key, const uint8_t *bytes, size_t len)
{
    if (len == 16)
        IMB_AES128_GCM_PRE(manager, bytes, mb_key(key));
    else
        IMB_AES256_GCM_PRE(manager, bytes, mb_key(key));
    return SL_OK;
}

static sl_err mb_begin(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *iv, const uint8_t *aad, size_t aad_len)
{
    if (key->rounds == 10)
        IMB_AES128_GCM_INIT(manager, mb_key(key), mb_stream(s), iv, aad, aad_len);
    else
        IMB_AES256_GCM_INIT(manager, mb_key(key), mb_stream(s), iv, aad, aad_len);
    return SL_OK;
}

static sl_err mb_encrypt(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *in, uint8_t *out, size_t len)
{
    if (key->rounds == 10)
        IMB_AES128_GCM_ENC_UPDATE(manager, mb_key(key), mb_stream(s), out, in, len);
    else
        IMB_AES256_GCM_ENC_UPDATE(manager, mb_key(key), mb_stream(s), out, in, len);
    return SL_OK;
}

static sl_err mb_decrypt(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *in, uint8_t *out, size_t len)
{
    if (key->rounds == 10)
        IMB_AES128_GCM_DEC_UPDATE(manager, mb_key(key), mb_stream(s), out, in, len);
    else
        IMB_AES256_GCM_DEC_UPDATE(manager, mb_key(key), mb_stream(s), out, in, len);
    return SL_OK;
}

static sl_err mb_finish(struct sl_gcm_key *key, struct sl_gcm_stream *s, uint8_t *tag)
{
    if (key->rounds == 10)
        IMB_AES128_GCM_ENC_FINALIZE(manager, mb_key(key), mb_stream(s), tag, SL_GCM_TAG_BYTES);
    else
        IMB_AES256_GCM_ENC_FINALIZE(manager, mb_key(key), mb_stream(s), tag, SL_GCM_TAG_BYTES);
    return SL_OK;
}

static sl_err mb_verify(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *tag)
{
    uint8_t computed[SL_GCM_TAG_BYTES];
    if (key->rounds == 10)
        IMB_AES128_GCM_DEC_FINALIZE(manager, mb_key(key), mb_stream(s), computed, SL_GCM_TAG_BYTES);
    else
        IMB_AES256_GCM_DEC_FINALIZE(manager, mb_key(key), mb_stream(s), computed, SL_GCM_TAG_BYTES);
    sl_err err = sl_secret_equal(computed, tag, sizeof(computed)) ? SL_OK : SL_ERR_AUTH;
    sl_wipe(computed, sizeof(computed)); /* the right tag of a forged record must not remain anywhere */
    return err;
}

static sl_err mb_seal(struct sl_gcm_key *key, const uint8_t *iv, const uint8_t *aad, size_t aad_len, const uint8_t *in,
                      uint8_t *out, size_t len, uint8_t *tag)
{
    struct gcm_context_data context;
    if (key->rounds == 10)
        IMB_AES128_GCM_ENC(manager, mb_key(key), &context, out, in, len, iv, aad, aad_len, tag, SL_GCM_TAG_BYTES);
    else
        IMB_AES256_GCM_ENC(manager, mb_key(key), &context, out, in, len, iv, aad, aad_len, tag, SL_GCM_TAG_BYTES);
    sl_wipe(&context, sizeof(context));
    return SL_OK;
}

static sl_err mb_open(struct sl_gcm_key *key, const uint8_t *iv, const uint8_t *aad, size_t aad_len, const uint8_t *in,
                      uint8_t *out, size_t len, const uint8_t *tag)
{
    struct gcm_context_data context;
    uint8_t computed[SL_GCM_TAG_BYTES];
    if (key->rounds == 10)
        IMB_AES128_GCM_DEC(manager, mb_key(key), &context, out, in, len, iv, aad, aad_len, computed, SL_GCM_TAG_BYTES);
    else
        IMB_AES256_GCM_DEC(manager, mb_key(key), &context, out, in, len, iv, aad, aad_len, computed, SL_GCM_TAG_BYTES);
    sl_err err = sl_secret_equal(computed, tag, sizeof(computed)) ? SL_OK : SL_ERR_AUTH;
    sl_wipe(computed, sizeof(computed));
    sl_wipe(&context, sizeof(context));
    return err;
}

const struct sl_gcm_engine sl_gcm_ipsec_mb = {.name = "ipsec-mb",
                                              .key_size = sizeof(struct mb_key),
                                              .usable = usable,
                                              .key_init = mb_key_init,
                                              .begin = mb_begin,
                                              .encrypt = mb_encrypt,
                                              .decrypt = mb_decrypt,
                                              .finish = mb_finish,
                                              .verify = mb_verify,
                                              .seal = mb_seal,
                                              .open = mb_open};
