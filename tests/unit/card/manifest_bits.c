/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest_bits.h"

#include <ftw.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { XCLBIN_BYTES = 600000 }; /* three reads */

void bits_put(const char *folder, const char *name, const void *bytes, size_t count)
{
    char path[2 * BITS_PATH];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

char *bits_get(const char *folder, const char *name, size_t *count)
{
    char path[2 * BITS_PATH];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &status), 0);
    *count = (size_t)status.st_size;
    char *content = malloc(*count + 1);
    assert_non_null(content);
    assert_int_equal(fread(content, 1, *count, file), *count);
    content[*count] = '\0';
    fclose(file);
    return content;
}

struct bits *bits_new(void)
{
    struct bits *bits = calloc(1, sizeof *bits);
    assert_non_null(bits);
    strcpy(bits->home, "manifest-XXXXXX");
    assert_non_null(mkdtemp(bits->home));

    bits->key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_non_null(bits->key);
    snprintf(bits->public_key, sizeof(bits->public_key), "%.100s/public.pem", bits->home);
    FILE *file = fopen(bits->public_key, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PUBKEY(file, bits->key), 1);
    fclose(file);

    bits->release = json_load_file(SLUICE_SOURCE_DIR "/bitstreams/release.json", 0, NULL);
    assert_non_null(bits->release);
    bits->xclbin_bytes = XCLBIN_BYTES;
    bits->xclbin = malloc(XCLBIN_BYTES);
    assert_non_null(bits->xclbin);
    for (size_t i = 0; i < XCLBIN_BYTES; i++)
        bits->xclbin[i] = (uint8_t)(i * 31 >> 4);
    memcpy(bits->xclbin, "xclbin2", 8);
    return bits;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

void bits_free(struct bits *bits)
{
    assert_int_equal(nftw(bits->home, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    EVP_PKEY_free(bits->key);
    json_decref(bits->release);
    free(bits->xclbin);
    free(bits);
}

json_t *bits_manifest(const struct bits *bits, const char *board, const char *attachment)
{
    static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
    uint8_t sha256[32];
    char hex[65];
    const char *name;
    json_t *version, *kernels = json_array();

    assert_int_equal(EVP_Digest(bits->xclbin, bits->xclbin_bytes, sha256, NULL, EVP_sha256(), NULL), 1);
    for (size_t i = 0; i < sizeof(sha256); i++)
        snprintf(hex + 2 * i, 3, "%02x", sha256[i]);
    json_object_foreach(json_object_get(bits->release, "kernels"), name, version)
    {
        if (strcmp(attachment, "ports") == 0 || strncmp(name, "cmac_", 5) != 0)
            json_array_append_new(kernels, json_pack("{s:s, s:O, s:[s+, s+], s:s}", "name", name, "version", version, "units", name,
                                                     "_0", name, "_1", "source_sha256", zeros));
    }
    json_t *manifest =
        json_pack("{s:O, s:s, s:O, s:s, s:{s:s, s:I, s:s, s:s}, s:i, s:o, s:s, s:s, s:s, s:s}", "format",
                  json_object_get(bits->release, "format"), "board", board, "shell",
                  json_object_get(json_object_get(bits->release, "boards"), board), "attachment", attachment, "xclbin", "file",
                  BITS_FILE, "bytes", (json_int_t)bits->xclbin_bytes, "sha256", hex, "uuid", "0123456789abcdef0123456789abcdef",
                  "clock_mhz", 300, "kernels", kernels, "source", "v0.1-2-gabcdef", "tool", "v++ (2023.2)", "built",
                  "2026-01-31T12:34:56Z", "builder", "A. Builder <a@example.org>");
    assert_non_null(manifest);
    return manifest;
}

void bits_sign(const struct bits *bits, const char *folder)
{
    uint8_t signature[64];
    size_t count = sizeof(signature), len;
    char *manifest = bits_get(folder, "manifest.json", &len);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(context, NULL, NULL, NULL, bits->key), 1);
    assert_int_equal(EVP_DigestSign(context, signature, &count, (const uint8_t *)manifest, len), 1);
    EVP_MD_CTX_free(context);
    free(manifest);
    bits_put(folder, "manifest.json.sig", signature, count);
}

void bits_write(struct bits *bits, const char *manifest, size_t len, char folder[BITS_PATH])
{
    snprintf(folder, BITS_PATH, "%.100s/%zu", bits->home, bits->folders++);
    assert_int_equal(mkdir(folder, 0700), 0);
    bits_put(folder, "manifest.json", manifest, len);
    bits_put(folder, BITS_FILE, bits->xclbin, bits->xclbin_bytes);
    bits_sign(bits, folder);
}

sl_err bits_judge(struct bits *bits, const char *folder, const char *name, const char *key, struct sl_diag *diag)
{
    static const struct sl_card_manifest untouched = {.board = "untouched", .clock_mhz = 7};
    struct sl_card_manifest manifest = untouched;
    struct sl_diag own = {""};
    char path[2 * BITS_PATH];
    int xclbin = -7;
    size_t bytes = 7;

    assert_true(bits->count < BITS_CASES);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    sl_err err = sl_card_manifest_load(path, key, &manifest, &xclbin, &bytes, &own);
    if (err == SL_OK) {
        assert_string_equal(own.text, "");
        assert_int_equal(close(xclbin), 0);
    } else {
        assert_memory_equal(&manifest, &untouched, sizeof(manifest));
        assert_int_equal(xclbin, -7);
        assert_int_equal(bytes, 7);
        assert_string_not_equal(own.text, "");
    }
    if (diag != NULL)
        *diag = own;
    snprintf(bits->cases[bits->count].folder, BITS_PATH, "%s", folder);
    snprintf(bits->cases[bits->count].key, BITS_PATH, "%s", key);
    snprintf(bits->cases[bits->count].said, sizeof(bits->cases[0].said), "%.190s", own.text);
    bits->cases[bits->count++].passed = err == SL_OK;
    return err;
}

size_t bits_compare(struct bits *bits)
{
    char path[2 * BITS_PATH], command[512], line[512];
    size_t passed = 0, different = 0;

    snprintf(path, sizeof(path), "%s/list", bits->home);
    FILE *list = fopen(path, "w");
    assert_non_null(list);
    for (size_t i = 0; i < bits->count; i++)
        fprintf(list, "%s\t%s\n", bits->cases[i].key, bits->cases[i].folder);
    assert_int_equal(fclose(list), 0);
    snprintf(command, sizeof(command), "/usr/bin/python3 '%s/tests/unit/card/manifest_verdicts.py' '%s'", SLUICE_SOURCE_DIR, path);
    FILE *verdicts = popen(command, "r");
    assert_non_null(verdicts);
    for (size_t i = 0; i < bits->count; i++) {
        assert_non_null(fgets(line, sizeof(line), verdicts));
        bool passes = strcmp(line, "passes\n") == 0;
        if (passes != bits->cases[i].passed) {
            size_t len;
            char *manifest = bits_get(bits->cases[i].folder, "manifest.json", &len);
            print_error("case %zu: here \"%s\", bitstreams/check: %s%s\n", i, bits->cases[i].said, line, manifest);
            free(manifest);
            different++;
        }
        passed += passes;
    }
    assert_int_equal(pclose(verdicts), 0);
    assert_int_equal(different, 0);
    bits->count = 0;
    return passed;
}
