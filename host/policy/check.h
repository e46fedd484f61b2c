/* SPDX-License-Identifier: Apache-2.0 */
/* The errors of a configuration: what keeps it from being compiled. Shared by validation, which collects them, and by the snapshot,
 * which stops at the first. */
#pragma once

#include "base/err.h"
#include "sluice/v1/config.pb-c.h"

/* Anything but SL_OK stops the check and becomes its result. */
typedef sl_err (*sl_check_report)(void *arg, const char *path, const char *text);

sl_err sl_policy_check(const Sluice__V1__Config *config, sl_check_report report, void *arg);

/* An entry of a match, or a reserved word. */
#define SL_MATCH_ANY "any"

/* The same check of one trusted certificate; path is its place. */
sl_err sl_policy_check_certificate(const Sluice__V1__TrustedCertificate *cert, const char *path, sl_check_report report, void *arg);

/* Lower-case hex of the SHA-256 of der. SL_ERR_CRYPTO leaves out empty. */
sl_err sl_policy_sha256_hex(const void *der, size_t len, char out[static 65]);
