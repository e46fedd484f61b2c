/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that is wrong with a configuration, all at once. An error prevents the commit; a warning is shown with it.
 * Each finding has the place ("decryption_rules[2].match.hosts[0]") and a sentence that says what is wrong and what to do.
 *
 *   errors    names missing, malformed or used twice; references to objects that don't exist, include cycles; literals that don't
 * parse; actions missing; certificates that don't parse, whose sha256 differs, pins without hosts, anchors that are no CA; limits
 *   warnings  expired rules and certificates; rules that can never match because an earlier one always does; rules without effect;
 *             bypass rules meant to be temporary without an expiry; MODERN given up; trust of names without proof
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "sluice/v1/config.pb-c.h"
#include "sluice/v1/management.pb-c.h"

enum { SL_FINDINGS_MAX = 1000 };

/* An array that can become a message's: items and strings come from malloc. Errors come before warnings. */
struct sl_findings {
    Sluice__V1__ValidationFinding **items;
    size_t count;
    size_t errors;
};

/* now_ns is the wall time that expiries are judged by. Returns SL_OK also when there are errors (out->errors tells); SL_ERR_NOMEM:
 * *out is empty. *out is filled from scratch. */
sl_err sl_policy_validate(const Sluice__V1__Config *config, uint64_t now_ns, struct sl_findings *out);
void sl_findings_free(struct sl_findings *f); /* the findings are then empty */
