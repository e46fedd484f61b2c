/* SPDX-License-Identifier: Apache-2.0 */
/* sl_card_manifest_load: every rule with a manifest that breaks just it, and the same verdict as bitstreams/check. */
#include <fcntl.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "manifest_bits.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct bits *bits;

static int make(void **state)
{
    (void)state;
    bits = bits_new();
    return 0;
}

static int clean(void **state)
{
    (void)state;
    bits_free(bits);
    return 0;
}

static size_t open_files(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* ---- trees ---- */

/* The parent of what path names ("kernels/0/version"), and its last step. */
static json_t *parent_of(json_t *root, const char *path, char step[32])
{
    for (;;) {
        const char *slash = strchr(path, '/');
        snprintf(step, 32, "%.*s", slash != NULL ? (int)(slash - path) : 31, path);
        if (slash == NULL)
            return root;
        root = json_is_array(root) ? json_array_get(root, (size_t)atoi(step)) : json_object_get(root, step);
        assert_non_null(root);
        path = slash + 1;
    }
}

/* value: JSON; NULL removes. One past the end of an array appends. */
static void set(json_t *root, const char *path, const char *value)
{
    char step[32];
    json_t *parent = parent_of(root, path, step);
    json_t *new = value != NULL ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
    assert_true(value == NULL || new != NULL);
    if (json_is_object(parent) && new != NULL)
        assert_int_equal(json_object_set_new(parent, step, new), 0);
    else if (json_is_object(parent))
        assert_int_equal(json_object_del(parent, step), 0);
    else if (new == NULL)
        assert_int_equal(json_array_remove(parent, (size_t)atoi(step)), 0);
    else if ((size_t)atoi(step) == json_array_size(parent))
        assert_int_equal(json_array_append_new(parent, new), 0);
    else
        assert_int_equal(json_array_set_new(parent, (size_t)atoi(step), new), 0);
}

static void write_tree(const json_t *manifest, char folder[BITS_PATH])
{
    char *text = json_dumps(manifest, 0);
    assert_non_null(text);
    bits_write(bits, text, strlen(text), folder);
    free(text);
}

static void expect_of(const char *folder, const char *name, const char *key, sl_err expected, const char *said)
{
    struct sl_diag diag;
    sl_err err = bits_judge(bits, folder, name, key, &diag);
    if (err != expected || strstr(diag.text, said) == NULL)
        fail_msg("%s (\"%s\"), expected %s (\"%s\")", sl_err_str(err), diag.text, sl_err_str(expected), said);
}

static void expect(const char *folder, sl_err expected, const char *said)
{
    expect_of(folder, BITS_FILE, bits->public_key, expected, said);
}

/* Writes a manifest, which is gone then. */
static void spend_tree(json_t *manifest, char folder[BITS_PATH])
{
    write_tree(manifest, folder);
    json_decref(manifest);
}

static void write_good(char folder[BITS_PATH])
{
    spend_tree(bits_manifest(bits, "sim", "host"), folder);
}

/* The verdict on a manifest, which is gone then. */
static void judge_tree(json_t *manifest, sl_err expected, const char *said)
{
    char folder[BITS_PATH];
    spend_tree(manifest, folder);
    expect(folder, expected, said);
}

/* ---- what passes ---- */

static void test_good(void **state)
{
    static const char *const attachments[] = {"host", "ports"};
    const char *board;
    json_t *shell;
    char folder[BITS_PATH], path[2 * BITS_PATH];
    (void)state;

    json_object_foreach(json_object_get(bits->release, "boards"), board, shell)
    {
        for (size_t i = 0; i < COUNT(attachments); i++) {
            struct sl_card_manifest said;
            struct sl_diag diag = {""};
            size_t bytes = 0;
            int fd = -1;
            spend_tree(bits_manifest(bits, board, attachments[i]), folder);
            expect(folder, SL_OK, "");

            snprintf(path, sizeof(path), "%s/" BITS_FILE, folder);
            assert_int_equal(sl_card_manifest_load(path, bits->public_key, &said, &fd, &bytes, &diag), SL_OK);
            assert_string_equal(said.board, board);
            assert_string_equal(said.shell, json_string_value(shell));
            assert_string_equal(said.attachment, attachments[i]);
            assert_string_equal(said.source, "v0.1-2-gabcdef");
            assert_string_equal(said.builder, "A. Builder <a@example.org>");
            assert_int_equal(said.clock_mhz, 300);
            assert_int_equal(bytes, bits->xclbin_bytes);
            close(fd);
        }
    }
    assert_int_equal(bits_compare(bits), 2 * json_object_size(json_object_get(bits->release, "boards")));
}

/* What was checked cannot be changed any more: neither through the descriptor nor through the file. */
static void test_sealed(void **state)
{
    struct sl_card_manifest said;
    char folder[BITS_PATH], path[2 * BITS_PATH];
    size_t bytes;
    int fd;
    (void)state;

    write_good(folder);
    snprintf(path, sizeof(path), "%s/" BITS_FILE, folder);
    assert_int_equal(sl_card_manifest_load(path, bits->public_key, &said, &fd, &bytes, NULL), SL_OK);
    bits_put(folder, BITS_FILE, "other", 5);

    uint8_t *copy = malloc(bytes);
    assert_non_null(copy);
    assert_int_equal(read(fd, copy, bytes), bytes);
    assert_memory_equal(copy, bits->xclbin, bytes);
    free(copy);
    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(fd, 1), -1);
    assert_ptr_equal(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    void *seen = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(seen, MAP_FAILED);
    assert_memory_equal(seen, bits->xclbin, bytes);
    munmap(seen, bytes);
    close(fd);
}

/* Sizes around those of a read. */
static void test_sizes(void **state)
{
    static const size_t sizes[] = {8, 9, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 2 << 18};
    size_t whole = bits->xclbin_bytes;
    char folder[BITS_PATH];
    (void)state;

    for (size_t i = 0; i < COUNT(sizes); i++) {
        bits->xclbin_bytes = sizes[i];
        json_t *manifest = bits_manifest(bits, "sim", "host");
        write_tree(manifest, folder);
        expect(folder, SL_OK, "");
        bits->xclbin_bytes = sizes[i] + 1;
        write_tree(manifest, folder);
        expect(folder, SL_ERR_AUTH, "has more");
        bits->xclbin_bytes = sizes[i] - 1;
        write_tree(manifest, folder);
        expect(folder, i == 0 ? SL_ERR_INVALID : SL_ERR_AUTH, i == 0 ? "no xclbin" : "has less");
        json_decref(manifest);
    }
    bits->xclbin_bytes = whole;
    assert_int_equal(bits_compare(bits), COUNT(sizes));
}

/* A file that begins in another way is no xclbin, whatever the manifest says of it. */
static void test_magic(void **state)
{
    (void)state;

    for (size_t i = 0; i < 8; i++) {
        bits->xclbin[i] ^= 1;
        judge_tree(bits_manifest(bits, "sim", "host"), SL_ERR_INVALID, "is no xclbin");
        bits->xclbin[i] ^= 1;
    }
    assert_int_equal(bits_compare(bits), 0);
}

static void test_unsigned(void **state)
{
    char folder[BITS_PATH];
    (void)state;

    json_t *manifest = bits_manifest(bits, "sim", "host");
    write_tree(manifest, folder);
    bits_put(folder, "manifest.json.sig", "", 0);
    expect_of(folder, BITS_FILE, NULL, SL_OK, "");
    set(manifest, "board", "\"u280\"");
    write_tree(manifest, folder);
    expect_of(folder, BITS_FILE, NULL, SL_ERR_UNSUPPORTED, "manifest.board is no board");
    json_decref(manifest);
    bits->count = 0; /* bitstreams/check wants a key */
}

/* ---- form and fit: one thing of a good manifest is changed ---- */

#define X16 "xxxxxxxxxxxxxxxx"
#define X64 X16 X16 X16 X16
#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
    const char *path, *value;
    sl_err err;
    const char *said;
} trees[] = {
    {"format", "2", SL_ERR_UNSUPPORTED, "manifest.format is not this release's"},
    {"format", "true", SL_ERR_UNSUPPORTED, "manifest.format"},
    {"format", "\"1\"", SL_ERR_UNSUPPORTED, "manifest.format"},
    {"format", "1.0", SL_OK, ""},
    {"format", "1.5", SL_ERR_UNSUPPORTED, "manifest.format"},
    {"board", "\"u280\"", SL_ERR_UNSUPPORTED, "manifest.board is no board"},
    {"board", "7", SL_ERR_UNSUPPORTED, "manifest.board is no board"},
    {"board", "\"u250\"", SL_ERR_UNSUPPORTED, "made for the shell sluice_sim"},
    {"shell", "\"xilinx_u55c_gen3x16_xdma_2_202110_1\"", SL_ERR_UNSUPPORTED, "made for the shell xilinx_u55c"},
    {"shell", "\"\"", SL_ERR_INVALID, "manifest.shell has not the form"},
    {"shell", "\"Sluice_sim\"", SL_ERR_INVALID, "manifest.shell has not the form"},
    {"shell", "\"" X64 "\"", SL_ERR_UNSUPPORTED, "made for the shell x"},
    {"shell", "\"" X64 "x\"", SL_ERR_INVALID, "manifest.shell has not the form"},
    {"attachment", "\"air\"", SL_ERR_INVALID, "manifest.attachment is neither"},
    {"attachment", "null", SL_ERR_INVALID, "manifest.attachment is neither"},
    {"attachment", "\"ports\"", SL_ERR_UNSUPPORTED, "has no kernel cmac_0"},
    {"xclbin", "[]", SL_ERR_INVALID, "manifest.xclbin is no object"},
    {"xclbin/file", NULL, SL_ERR_INVALID, "manifest.xclbin has no \"file\""},
    {"xclbin/file", "\"../sluice.xclbin\"", SL_ERR_INVALID, "manifest.xclbin.file has not the form"},
    {"xclbin/file", "\"/etc/passwd\"", SL_ERR_INVALID, "manifest.xclbin.file has not the form"},
    {"xclbin/file", "\".xclbin\"", SL_ERR_INVALID, "manifest.xclbin.file has not the form"},
    {"xclbin/file", "\"-a.xclbin\"", SL_ERR_INVALID, "manifest.xclbin.file has not the form"},
    {"xclbin/file", "\"" X64 ".xclbin\"", SL_ERR_AUTH, "the manifest beside it is for x"},
    {"xclbin/file", "\"" X64 "x.xclbin\"", SL_ERR_INVALID, "manifest.xclbin.file has not the form"},
    {"xclbin/file", "\"other.xclbin\"", SL_ERR_AUTH, "the manifest beside it is for other.xclbin"},
    {"xclbin/bytes", "0", SL_ERR_INVALID, "manifest.xclbin.bytes is out of bounds"},
    {"xclbin/bytes", "1", SL_ERR_AUTH, "has more than the 1 bytes"},
    {"xclbin/bytes", "1073741824", SL_ERR_AUTH, "has less than the 1073741824 bytes"},
    {"xclbin/bytes", "1073741825", SL_ERR_INVALID, "manifest.xclbin.bytes is out of bounds"},
    {"xclbin/bytes", "600000.0", SL_ERR_INVALID, "manifest.xclbin.bytes is no integer"},
    {"xclbin/bytes", "-9223372036854775808", SL_ERR_INVALID, "manifest.xclbin.bytes is out of bounds"},
    {"xclbin/sha256", "\"" A64 "\"", SL_ERR_AUTH, "has not the SHA-256"},
    {"xclbin/sha256", "\"A" A64 "\"", SL_ERR_INVALID, "manifest.xclbin.sha256 has not the form"},
    {"xclbin/sha256", "\"00\"", SL_ERR_INVALID, "manifest.xclbin.sha256 has not the form"},
    {"xclbin/uuid", "\"0123456789abcdef-0123456789abcdef\"", SL_ERR_INVALID, "manifest.xclbin.uuid has not the form"},
    {"xclbin/extra", "1", SL_ERR_INVALID, "manifest.xclbin has unknown members"},
    {"clock_mhz", "99", SL_ERR_INVALID, "manifest.clock_mhz is out of bounds"},
    {"clock_mhz", "100", SL_OK, ""},
    {"clock_mhz", "500", SL_OK, ""},
    {"clock_mhz", "501", SL_ERR_INVALID, "manifest.clock_mhz is out of bounds"},
    {"clock_mhz", "\"300\"", SL_ERR_INVALID, "manifest.clock_mhz is no integer"},
    {"clock_mhz", "true", SL_ERR_INVALID, "manifest.clock_mhz is no integer"},
    {"kernels", "[]", SL_ERR_INVALID, "manifest.kernels is empty"},
    {"kernels", "{}", SL_ERR_INVALID, "manifest.kernels is empty, or no array"},
    {"kernels/0", NULL, SL_ERR_UNSUPPORTED, "has no kernel sluice_control"},
    {"kernels/0", "7", SL_ERR_INVALID, "manifest.kernels[0] is no object"},
    {"kernels/1/name", "\"sluice_control\"", SL_ERR_UNSUPPORTED, "sluice_control more than once"},
    {"kernels/1/name", "\"sluice_spy\"", SL_ERR_UNSUPPORTED, "manifest.kernels[1].name is no kernel"},
    {"kernels/1/name", "\"cmac_0\"", SL_ERR_UNSUPPORTED, "has the kernel cmac_0, which belongs to ports"},
    {"kernels/2/version", "\"9.9\"", SL_ERR_UNSUPPORTED, "sluice_packets has version 9.9"},
    {"kernels/2/version", "\"new\"", SL_ERR_INVALID, "manifest.kernels[2].version has not the form"},
    {"kernels/2/version", "\"12345.0\"", SL_ERR_INVALID, "manifest.kernels[2].version has not the form"},
    {"kernels/2/version", "\"1.\"", SL_ERR_INVALID, "manifest.kernels[2].version has not the form"},
    {"kernels/2/version", "1.0", SL_ERR_INVALID, "manifest.kernels[2].version is no string"},
    {"kernels/3/units", "[]", SL_ERR_INVALID, "manifest.kernels[3].units is empty"},
    {"kernels/3/units", "\"u\"", SL_ERR_INVALID, "manifest.kernels[3].units is empty, or no array"},
    {"kernels/3/units", "[\"u\", \"v\", \"u\"]", SL_ERR_INVALID, "a compute unit is named twice: u"},
    {"kernels/3/units/1", "\"sluice_lane_0\"", SL_ERR_INVALID, "a compute unit is named twice: sluice_lane_0"},
    {"kernels/3/units/2", "\"more\"", SL_OK, ""},
    {"kernels/3/units/0", "\"\"", SL_ERR_INVALID, "manifest.kernels[3].units[0] has not the form"},
    {"kernels/3/units/0", "\"" X16 X16 "\"", SL_OK, ""},
    {"kernels/3/units/0", "\"" X16 X16 "x\"", SL_ERR_INVALID, "manifest.kernels[3].units[0] has not the form"},
    {"kernels/3/units/1", "1", SL_ERR_INVALID, "manifest.kernels[3].units[1] has not the form"},
    {"kernels/3/source_sha256", "\"00\"", SL_ERR_INVALID, "manifest.kernels[3].source_sha256 has not the form"},
    {"kernels/3/source_sha256", NULL, SL_ERR_INVALID, "manifest.kernels[3] has no \"source_sha256\""},
    {"kernels/3/extra", "1", SL_ERR_INVALID, "manifest.kernels[3] has unknown members"},
    {"source", "\"v 1\"", SL_ERR_INVALID, "manifest.source has not the form"},
    {"source", "\"" X64 X16 "\"", SL_OK, ""},
    {"source", "\"" X64 X16 "x\"", SL_ERR_INVALID, "manifest.source has not the form"},
    {"tool", "\"" X64 X16 "\"", SL_OK, ""},
    {"tool", "\"" X64 X16 "x\"", SL_ERR_INVALID, "manifest.tool has not the form"},
    {"tool", "\"v++\\u007f\"", SL_ERR_INVALID, "manifest.tool has not the form"},
    {"tool", "\" ~!\\\"#$%&'()*+,-./:;<=>?@[\\\\]^_`{|}\"", SL_OK, ""},
    {"built", "\"yesterday\"", SL_ERR_INVALID, "manifest.built has not the form"},
    {"built", "\"2026-01-31T12:34:56\"", SL_ERR_INVALID, "manifest.built has not the form"},
    {"built", "\"2099-19-39T29:59:69Z\"", SL_OK, ""},
    {"built", "\"1999-01-01T00:00:00Z\"", SL_ERR_INVALID, "manifest.built has not the form"},
    {"builder", "\"\"", SL_ERR_INVALID, "manifest.builder has not the form"},
    {"builder", "\"a\\nb\"", SL_ERR_INVALID, "manifest.builder has not the form"},
    {"builder", "\"J\\u00fcrgen\"", SL_ERR_INVALID, "manifest.builder has not the form"},
    {"builder", "\"" X64 X16 X16 X16 "xxxxxxxx\"", SL_OK, ""},
    {"builder", "\"" X64 X16 X16 X16 "xxxxxxxxx\"", SL_ERR_INVALID, "manifest.builder has not the form"},
    {"note", "\"hello\"", SL_ERR_INVALID, "manifest has unknown members"},
};

static void test_trees(void **state)
{
    const char *name;
    json_t *value;
    size_t files = open_files(), passing = 0;
    (void)state;

    json_t *good = bits_manifest(bits, "sim", "host");
    for (size_t i = 0; i < COUNT(trees); i++) {
        json_t *manifest = json_deep_copy(good);
        set(manifest, trees[i].path, trees[i].value);
        judge_tree(manifest, trees[i].err, trees[i].said);
        passing += trees[i].err == SL_OK;
    }
    json_object_foreach(good, name, value)
    {
        json_t *manifest = json_copy(good);
        json_object_del(manifest, name);
        judge_tree(manifest, SL_ERR_INVALID, name);
    }
    value = json_pack("[O]", good);
    judge_tree(value, SL_ERR_INVALID, "manifest is no object");
    json_decref(good);
    assert_int_equal(open_files(), files);
    assert_int_equal(bits_compare(bits), passing);
}

/* Every kernel's version is looked at, with both attachments. */
static void test_versions(void **state)
{
    char path[64];
    (void)state;

    json_t *good = bits_manifest(bits, "u55c", "ports");
    for (size_t i = 0; i < json_array_size(json_object_get(good, "kernels")); i++) {
        json_t *manifest = json_deep_copy(good);
        snprintf(path, sizeof(path), "kernels/%zu/version", i);
        set(manifest, path, "\"0.0\"");
        judge_tree(manifest, SL_ERR_UNSUPPORTED, "has version 0.0");
    }
    json_decref(good);
    assert_int_equal(bits_compare(bits), 0);
}

/* ---- odd JSON ---- */

static const struct {
    const char *find, *replace; /* the first time */
    sl_err err;
} texts[] = {
    {"\"board\"", "\"format\": 1, \"board\"", SL_ERR_INVALID},
    {"\"board\"", "\"b\\u006fard\": \"sim\", \"board\"", SL_ERR_INVALID},
    {"\"board\"", "\"b\\u006fard\"", SL_OK},
    {"\"uuid\"", "\"bytes\": 600000, \"uuid\"", SL_ERR_INVALID},
    {"\"units\"", "\"name\": \"sluice_control\", \"units\"", SL_ERR_INVALID},
    {"\"board\"", "\"board\\u0000\"", SL_ERR_INVALID},
    {"z\": 300", "z\": NaN", SL_ERR_INVALID},
    {"z\": 300", "z\": Infinity", SL_ERR_INVALID},
    {"z\": 300", "z\": 3e2", SL_ERR_INVALID},
    {"z\": 300", "z\": 0300", SL_ERR_INVALID},
    {"z\": 300", "z\": +300", SL_ERR_INVALID},
    {"z\": 300", "z\": 300000000000000000000000000000", SL_ERR_INVALID},
    {"z\": 300", "z\": 1e999", SL_ERR_INVALID},
    {"z\": 300", "z\": // 300\n300", SL_ERR_INVALID},
    {"\"sim\"", "'sim'", SL_ERR_INVALID},
    {"A. Builder", "A.\tBuilder", SL_ERR_INVALID},
    {"A. Builder", "A.\\tBuilder", SL_ERR_INVALID},
    {"A. Builder", "\\u0041. Builder", SL_OK},
    {"A. Builder", "\xc3\x28", SL_ERR_INVALID},
    {"A. Builder", "\xed\xa0\x80", SL_ERR_INVALID},
    {"A. Builder", "\\ud800", SL_ERR_INVALID},
    {"A. Builder", "\\u0000", SL_ERR_INVALID},
    {"{", "\xef\xbb\xbf{", SL_ERR_INVALID},
    {"{", " \t\r\n{", SL_OK},
    {"{", "\f{", SL_ERR_INVALID},
    {"{", "", SL_ERR_INVALID},
    {"}", "", SL_ERR_INVALID},
};

static void judge_text(const char *text, size_t len, sl_err err)
{
    char folder[BITS_PATH];
    bits_write(bits, text, len, folder);
    expect(folder, err, err ? "manifest.json" : "");
}

static void test_texts(void **state)
{
    size_t passing = 0, good_len, deep = 20000;
    (void)state;

    json_t *manifest = bits_manifest(bits, "sim", "host");
    char *good = json_dumps(manifest, 0), *text = malloc(70000);
    assert_true(good != NULL && text != NULL);
    good_len = strlen(good);
    for (size_t i = 0; i < COUNT(texts); i++) {
        const char *at = strstr(good, texts[i].find);
        assert_non_null(at);
        const char *rest = at + strlen(texts[i].find);
        int len = snprintf(text, 70000, "%.*s%s%s", (int)(at - good), good, texts[i].replace, rest);
        judge_text(text, (size_t)len, texts[i].err);
        passing += texts[i].err == SL_OK;
    }

    memcpy(text, good, good_len);
    memset(text + good_len, ' ', 70000 - good_len);
    judge_text(text, 65536, SL_OK);
    judge_text(text, 65537, SL_ERR_INVALID);
    text[good_len] = '\0';
    judge_text(text, good_len + 1, SL_ERR_INVALID);
    text[good_len] = 'x';
    judge_text(text, good_len + 1, SL_ERR_INVALID);
    memset(text, '[', deep);
    memset(text + deep, ']', deep);
    judge_text(text, 2 * deep, SL_ERR_INVALID);
    judge_text("", 0, SL_ERR_INVALID);
    free(text);
    free(good);
    json_decref(manifest);
    assert_int_equal(bits_compare(bits), passing + 1);
}

/* ---- signature and keys ---- */

static void test_signatures(void **state)
{
    char folder[BITS_PATH];
    size_t len;
    (void)state;

    write_good(folder);
    char *signature = bits_get(folder, "manifest.json.sig", &len);
    assert_int_equal(len, 64);
    for (size_t i = 0; i < 64; i += 7) {
        signature[i] ^= 1;
        bits_put(folder, "manifest.json.sig", signature, 64);
        expect(folder, SL_ERR_AUTH, "the signature is not");
        signature[i] ^= 1;
    }
    bits->count = 0; /* the folder was another one each time */
    bits_put(folder, "manifest.json.sig", signature, 64);
    char *text = bits_get(folder, "manifest.json", &len);
    for (size_t i = 0; i < len; i += 29) { /* before it is looked at as JSON */
        text[i] ^= 1;
        bits_put(folder, "manifest.json", text, len);
        expect(folder, SL_ERR_AUTH, "the signature is not");
        text[i] ^= 1;
    }
    bits->count = 0;
    bits_write(bits, text, len, folder);
    bits_put(folder, "manifest.json.sig", signature, 63);
    expect(folder, SL_ERR_AUTH, "the signature has 63 bytes");
    bits_write(bits, text, len, folder);
    bits_put(folder, "manifest.json.sig", text, 65);
    expect(folder, SL_ERR_AUTH, "the signature has 65 bytes");
    bits_write(bits, text, len, folder);
    bits_put(folder, "manifest.json.sig", "", 0);
    expect(folder, SL_ERR_AUTH, "the signature has 0 bytes");
    free(text);
    free(signature);
    assert_int_equal(bits_compare(bits), 0);
}

enum key_form { PUBLIC_PEM, PUBLIC_DER, PRIVATE_PEM };

static void write_key(EVP_PKEY *key, enum key_form form, const char *name, char path[BITS_PATH])
{
    snprintf(path, BITS_PATH, "%.100s/%s", bits->home, name);
    BIO *bio = BIO_new_file(path, "wb");
    assert_non_null(bio);
    assert_int_equal(form == PUBLIC_PEM   ? PEM_write_bio_PUBKEY(bio, key)
                     : form == PUBLIC_DER ? i2d_PUBKEY_bio(bio, key)
                                          : PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL),
                     1);
    BIO_free(bio);
}

static void test_keys(void **state)
{
    static const struct {
        const char *name, *type; /* type NULL: the key that signed */
        enum key_form form;
        sl_err err;
        const char *said;
    } keys[] = {
        {"same.pem", NULL, PUBLIC_PEM, SL_OK, ""},
        {"same.der", NULL, PUBLIC_DER, SL_ERR_INVALID, "no Ed25519 public key"},
        {"private.pem", NULL, PRIVATE_PEM, SL_ERR_INVALID, "no Ed25519 public key"},
        {"other.pem", "ED25519", PUBLIC_PEM, SL_ERR_AUTH, "the signature is not"},
        {"x25519.pem", "X25519", PUBLIC_PEM, SL_ERR_INVALID, "no Ed25519 public key"},
        {"ed448.pem", "ED448", PUBLIC_PEM, SL_ERR_INVALID, "no Ed25519 public key"},
    };
    static const char *const contents[] = {"", "no key", "-----BEGIN PUBLIC KEY-----\nProc-Type: 4,ENCRYPTED\n"};
    char folder[BITS_PATH], path[BITS_PATH], long_key[65537];
    (void)state;

    write_good(folder);
    for (size_t i = 0; i < COUNT(keys); i++) {
        EVP_PKEY *key = keys[i].type != NULL ? EVP_PKEY_Q_keygen(NULL, NULL, keys[i].type) : NULL;
        write_key(key != NULL ? key : bits->key, keys[i].form, keys[i].name, path);
        EVP_PKEY_free(key);
        expect_of(folder, BITS_FILE, path, keys[i].err, keys[i].said);
    }
    for (size_t i = 0; i < COUNT(contents); i++) {
        char name[16];
        snprintf(name, sizeof(name), "content%zu.pem", i);
        bits_put(bits->home, name, contents[i], strlen(contents[i]));
        snprintf(path, sizeof(path), "%.100s/%s", bits->home, name);
        expect_of(folder, BITS_FILE, path, SL_ERR_INVALID, "no Ed25519 public key");
    }
    memset(long_key, '\n', sizeof(long_key));
    bits_put(bits->home, "long.pem", long_key, sizeof(long_key));
    snprintf(path, sizeof(path), "%.100s/long.pem", bits->home);
    expect_of(folder, BITS_FILE, path, SL_ERR_INVALID, "is longer than");
    snprintf(path, sizeof(path), "%.100s/link.pem", bits->home);
    assert_int_equal(symlink("public.pem", path), 0);
    expect_of(folder, BITS_FILE, path, SL_ERR_IO, "is a symbolic link");
    snprintf(path, sizeof(path), "%.100s/missing.pem", bits->home);
    expect_of(folder, BITS_FILE, path, SL_ERR_IO, "No such file");
    expect_of(folder, BITS_FILE, bits->home, SL_ERR_IO, "is no regular file");
    assert_int_equal(bits_compare(bits), 1);
}

/* ---- files ---- */

static void test_files(void **state)
{
    static const char *const names[] = {"manifest.json", "manifest.json.sig", BITS_FILE};
    static const char *const said[] = {"No such file", "is a symbolic link", "is no regular file", "is no regular file"};
    char folder[BITS_PATH], path[2 * BITS_PATH], elsewhere[2 * BITS_PATH];
    size_t files = open_files();
    (void)state;

    json_t *manifest = bits_manifest(bits, "sim", "host");
    for (size_t i = 0; i < COUNT(names); i++) {
        for (size_t k = 0; k < COUNT(said); k++) { /* missing, link, folder, pipe: nothing hangs, nothing is followed */
            write_tree(manifest, folder);
            snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
            snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", folder);
            assert_int_equal(rename(path, elsewhere), 0);
            assert_int_equal(k == 1 ? symlink("elsewhere", path) : k == 2 ? mkdir(path, 0700) : k == 3 ? mkfifo(path, 0600) : 0, 0);
            expect(folder, SL_ERR_IO, said[k]);
        }
    }
    json_decref(manifest);
    assert_int_equal(bits_compare(bits), 0);

    snprintf(path, sizeof(path), "%.100s/nowhere", bits->home);
    expect(path, SL_ERR_IO, "its folder: No such file");
    bits->count = 0;
    assert_int_equal(open_files(), files);
}

/* The xclbin that is named is the one that the manifest speaks of, whatever else lies there. */
static void test_named(void **state)
{
    static const char *const names[] = {"", ".", "..", "other.xclbin", "manifest.json"};
    struct sl_card_manifest said;
    char folder[BITS_PATH];
    size_t bytes;
    int fd;
    (void)state;

    write_good(folder);
    bits_put(folder, "other.xclbin", bits->xclbin, bits->xclbin_bytes);
    for (size_t i = 0; i < COUNT(names); i++)
        expect_of(folder, names[i], bits->public_key, SL_ERR_AUTH, "the manifest beside it is for " BITS_FILE);
    bits->count = 0;

    char *here = getcwd(NULL, 0), *key = realpath(bits->public_key, NULL); /* no folder in the name: the present one */
    assert_true(here != NULL && key != NULL && chdir(folder) == 0);
    sl_err err = sl_card_manifest_load(BITS_FILE, key, &said, &fd, &bytes, NULL);
    assert_int_equal(chdir(here), 0);
    assert_int_equal(err, SL_OK);
    close(fd);
    free(here);
    free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),     cmocka_unit_test(test_sealed),   cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_magic),    cmocka_unit_test(test_unsigned), cmocka_unit_test(test_trees),
        cmocka_unit_test(test_versions), cmocka_unit_test(test_texts),    cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_keys),     cmocka_unit_test(test_files),    cmocka_unit_test(test_named),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
