/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a manifest says, from its text: the form of bitstreams/manifest.schema.json, and whether this release fits
 * (bitstreams/release.json). Files, signature and the xclbin itself are manifest.c's.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "card/manifest.h"

enum { SL_MANIFEST_MAX = 65536, SL_XCLBIN_MAX = 1 << 30 };

struct sl_manifest_said {
    struct sl_card_manifest card;
    char file[72]; /* of the xclbin, without folder */
    size_t bytes;  /* 1 to SL_XCLBIN_MAX */
    uint8_t sha256[32];
};

/* Reads text, len bytes, not ended by a zero. SL_ERR_INVALID: no JSON, or not of the form: anything missing, twice or unknown is
 * refused; SL_ERR_UNSUPPORTED: well formed, but not for this release. On failure *out is untouched, and diag says what and where.
 */
sl_err sl_manifest_parse(const char *text, size_t len, struct sl_manifest_said *out, struct sl_diag *diag);
