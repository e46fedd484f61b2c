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
 * not looked at. *xclbin: a sealed memfd with the checked bytes, from its beginning, the caller's to close; *bytes: its length.
 * Whether card and board are the same is the caller's to see. SL_ERR_AUTH: signature, or the xclbin's name, length or SHA-256 do
 * not match; SL_ERR_UNSUPPORTED: a format, board, shell, kernel or version of one that is not this release's; SL_ERR_IO: a file
 * cannot be read, is a symbolic link or no regular file; SL_ERR_INVALID: not a manifest, not a key, not an xclbin; SL_ERR_NOMEM.
 * diag says which file and what. On failure the out parameters are untouched. */
sl_err sl_card_manifest_load(const char *xclbin_path, const char *public_key, struct sl_card_manifest *manifest, int *xclbin,
                             size_t *bytes, struct sl_diag *diag);
