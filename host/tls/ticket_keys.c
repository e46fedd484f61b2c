/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/ticket_keys.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

enum { AES_KEY_BYTES = 32, MAC_KEY_BYTES = 32, IV_BYTES = 16, GENERATIONS = 2 };

struct ticket_key {
    bool set;
    uint64_t made_ns;
    uint8_t name[SL_TICKET_NAME_BYTES];
    uint8_t aes[AES_KEY_BYTES], mac[MAC_KEY_BYTES];
};

struct sl_ticket_keys {
    pthread_mutex_t lock;
    const struct sl_clock *clock;
    uint64_t period_ns;
    struct ticket_key *keys; /* secret memory; [0] seals, [1] only opens */
};

sl_err sl_ticket_keys_new(const struct sl_clock *clock, uint64_t period_ns, struct sl_ticket_keys **out)
{
    struct sl_ticket_keys *k = calloc(1, sizeof *k);
    if (!k)
        return SL_ERR_NOMEM;
    if (sl_secret_alloc(GENERATIONS * sizeof *k->keys, (void **)&k->keys)) {
        free(k);
        return SL_ERR_NOMEM;
    }
    k->clock = clock;
    k->period_ns = period_ns;
    if (pthread_mutex_init(&k->lock, NULL)) {
        sl_secret_free(k->keys);
        free(k);
        return SL_ERR_NOMEM;
    }
    *out = k;
    return SL_OK;
}

void sl_ticket_keys_free(struct sl_ticket_keys *k)
{
    if (!k)
        return;
    pthread_mutex_destroy(&k->lock);
    sl_secret_free(k->keys);
    free(k);
}

/* Ages the keys; with the lock held. */
static void expire(struct sl_ticket_keys *k, uint64_t now)
{
    if (k->keys[0].set && now - k->keys[0].made_ns >= k->period_ns) {
        k->keys[1] = k->keys[0];
        sl_wipe(&k->keys[0], sizeof k->keys[0]);
    }
    if (k->keys[1].set && now - k->keys[1].made_ns >= GENERATIONS * k->period_ns)
        sl_wipe(&k->keys[1], sizeof k->keys[1]);
}

static sl_err ensure_current(struct sl_ticket_keys *k, uint64_t now)
{
    struct ticket_key *key = &k->keys[0];
    if (key->set)
        return SL_OK;
    if (RAND_bytes(key->name, sizeof key->name) != 1 || RAND_priv_bytes(key->aes, sizeof key->aes) != 1 ||
        RAND_priv_bytes(key->mac, sizeof key->mac) != 1) {
        sl_wipe(key, sizeof *key);
        return SL_ERR_CRYPTO;
    }
    key->made_ns = now;
    key->set = true;
    return SL_OK;
}

void sl_ticket_keys_tick(struct sl_ticket_keys *k)
{
    uint64_t now = k->clock->mono_ns(k->clock->arg);
    pthread_mutex_lock(&k->lock);
    expire(k, now);
    pthread_mutex_unlock(&k->lock);
}

static sl_err set_mac(struct ticket_key *key, EVP_MAC_CTX *mac)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof key->mac),
                           OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, params) ? SL_OK : SL_ERR_CRYPTO;
}

sl_err sl_ticket_keys_seal(struct sl_ticket_keys *k, const EVP_CIPHER *cipher, uint8_t name[static SL_TICKET_NAME_BYTES],
                           uint8_t iv[static EVP_MAX_IV_LENGTH], EVP_CIPHER_CTX *crypt, EVP_MAC_CTX *mac)
{
    uint64_t now = k->clock->mono_ns(k->clock->arg);
    sl_err err;

    if (RAND_bytes(iv, IV_BYTES) != 1)
        return SL_ERR_CRYPTO;
    pthread_mutex_lock(&k->lock);
    expire(k, now);
    err = ensure_current(k, now);
    if (!err) {
        memcpy(name, k->keys[0].name, SL_TICKET_NAME_BYTES);
        if (EVP_EncryptInit_ex2(crypt, cipher, k->keys[0].aes, iv, NULL) != 1 || set_mac(&k->keys[0], mac))
            err = SL_ERR_CRYPTO;
    }
    pthread_mutex_unlock(&k->lock);
    return err;
}

sl_err sl_ticket_keys_open(struct sl_ticket_keys *k, const EVP_CIPHER *cipher, const uint8_t name[static SL_TICKET_NAME_BYTES],
                           const uint8_t *iv, EVP_CIPHER_CTX *crypt, EVP_MAC_CTX *mac, bool *old)
{
    uint64_t now = k->clock->mono_ns(k->clock->arg);
    sl_err err = SL_ERR_NOT_FOUND;

    pthread_mutex_lock(&k->lock);
    expire(k, now);
    for (size_t i = 0; i < GENERATIONS; i++) {
        struct ticket_key *key = &k->keys[i];
        if (!key->set || memcmp(key->name, name, SL_TICKET_NAME_BYTES) != 0)
            continue;
        *old = i > 0;
        err = EVP_DecryptInit_ex2(crypt, cipher, key->aes, iv, NULL) == 1 && set_mac(key, mac) == SL_OK ? SL_OK : SL_ERR_CRYPTO;
        break;
    }
    pthread_mutex_unlock(&k->lock);
    return err;
}
