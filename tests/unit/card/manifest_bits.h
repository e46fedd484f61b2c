/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders with bitstreams for the tests of the manifest: made afresh, signed with a key of the moment, and broken at will.
 * Each folder is looked at by sl_card_manifest_load, and all of them afterwards by bitstreams/check, whose word must be the same.
 */
#pragma once

#include <jansson.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "card/manifest.h"

enum { BITS_PATH = 128, BITS_CASES = 2048 };

struct bits {
    char home[BITS_PATH]; /* everything is below */
    char public_key[BITS_PATH];
    EVP_PKEY *key;
    json_t *release; /* bitstreams/release.json */
    uint8_t *xclbin;
    size_t xclbin_bytes;
    struct { /* what sl_card_manifest_load said, for bits_compare */
        char folder[BITS_PATH], key[BITS_PATH], said[200];
        bool passed;
    } cases[BITS_CASES];
    size_t count, folders;
};

struct bits *bits_new(void);
void bits_free(struct bits *bits); /* removes the files, too */

/* A manifest that passes: for the board, with packets from "host" or "ports". The caller's. */
json_t *bits_manifest(const struct bits *bits, const char *board, const char *attachment);
#define BITS_FILE "sluice-host.xclbin"

/* A new folder with the three files, and its path. */
void bits_write(struct bits *bits, const char *manifest, size_t len, char folder[BITS_PATH]);
void bits_sign(const struct bits *bits, const char *folder);
void bits_put(const char *folder, const char *name, const void *bytes, size_t count);
char *bits_get(const char *folder, const char *name, size_t *count); /* with a zero behind it */

/* What sl_card_manifest_load says of folder/name; noted for bits_compare. diag may be NULL. */
sl_err bits_judge(struct bits *bits, const char *folder, const char *name, const char *key, struct sl_diag *diag);
/* bitstreams/check must have said the same of all folders noted since the last call. How many of them passed. */
size_t bits_compare(struct bits *bits);
