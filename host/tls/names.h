/* SPDX-License-Identifier: Apache-2.0 */
/* IANA names of the numbers in TLS handshakes. Alerts have theirs in base/err.h. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { SL_TLS_NAME_BYTES = 64 };

/* Each gives the registry's name, "GREASE", or the number as "0x1234" written into buf. */
const char *sl_tls_version_name(uint16_t version, char buf[static SL_TLS_NAME_BYTES]); /* "TLSv1.3" */
const char *sl_tls_suite_name(uint16_t suite, char buf[static SL_TLS_NAME_BYTES]);     /* "TLS_AES_128_GCM_SHA256" */
const char *sl_tls_group_name(uint16_t group, char buf[static SL_TLS_NAME_BYTES]);     /* "x25519" */
const char *sl_tls_sigalg_name(uint16_t sigalg, char buf[static SL_TLS_NAME_BYTES]);   /* "ecdsa_secp256r1_sha256" */
