/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest of a bitstream (bitstreams/README.md), checked before a card is given it: the same rules in the same order as
 * bitstreams/check, and what was checked is what is loaded, since the bytes are handed on and not the name.
 *
 *   DIR/x.xclbin, DIR/manifest.json, DIR/manifest.json.sig
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct sl_card_manifest {
    char board[32], shell[96], attachment[16];
    char source[128], builder[128];
    uint32_t clock_mhz;
};

/* Reads and checks the xclbin and its manifest. public_key: PEM file with an Ed25519 key; NULL: whatever the signature is, it is
 * not looked at. *xclbin: a sealed memfd with the checked bytes, the caller's to close; *bytes: its length. SL_ERR_AUTH: the
 * manifest, its signature or the xclbin's SHA-256 do not match; SL_ERR_UNSUPPORTED: kernels of another version, or of another board
 * than this release knows; SL_ERR_IO: a file cannot be read; SL_ERR_INVALID: not a manifest; SL_ERR_NOMEM. diag says which file and
 * what. On failure the out parameters are untouched. */
sl_err sl_card_manifest_load(const char *xclbin_path, const char *public_key, struct sl_card_manifest *manifest, int *xclbin,
                             size_t *bytes, struct sl_diag *diag);
