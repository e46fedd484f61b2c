/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library context in which the legs run: OpenSSL's default provider seen through a narrow window.
 *
 * OpenSSL 3 decodes the public key of every certificate that a server presents by walking through all decoders of its library
 * context; with the default context that costs more than a signature. This context offers the few decoders that a certificate's key
 * can need, and everything else as it is, so that the same handshakes take a third less time.
 *
 * Made once a process on first use, immutable and never destroyed, like OpenSSL's own default context: certificates that came in
 * through a leg live on in caches that know nothing of it. Internal to tls/.
 */
#pragma once

#include <openssl/types.h>

/* NULL if it could not be made: OpenSSL then takes NULL for its default context, which is slower and otherwise the same. */
OSSL_LIB_CTX *sl_tls_library(void);
