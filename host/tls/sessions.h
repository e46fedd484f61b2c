/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions with servers, kept for resumption together with the verdict on the chain that was verified when they were established
 * (V11). The key covers all that the verdict depended on. Bounded; least recently stored goes first. One thread. Internal to tls/.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdint.h>

#include "base/err.h"
#include "pki/verify.h"

enum { SL_SESSION_KEY_BYTES = 32, SL_SESSIONS_PER_KEY = 4 };

struct sl_sessions;

sl_err sl_sessions_new(size_t capacity, struct sl_sessions **out);
void sl_sessions_free(struct sl_sessions *s);
void sl_sessions_clear(struct sl_sessions *s);
size_t sl_sessions_count(const struct sl_sessions *s);

/* Takes a reference of session and copies the verdict. until_ns: wall clock. */
sl_err sl_sessions_put(struct sl_sessions *s, const uint8_t key[static SL_SESSION_KEY_BYTES], SSL_SESSION *session,
                       const struct sl_verdict *verdict, uint64_t until_ns);

/*
 * The newest session of that key. *session is a reference for the caller, *verdict is to be released. A TLS 1.3 session is given
 * out once (RFC 8446 appendix C.4). SL_ERR_NOT_FOUND.
 */
sl_err sl_sessions_take(struct sl_sessions *s, const uint8_t key[static SL_SESSION_KEY_BYTES], uint64_t now_ns,
                        SSL_SESSION **session, struct sl_verdict *verdict);
