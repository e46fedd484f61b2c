/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest's JSON becomes a tree, the tree is held against tables that say what each object has (all of it is required, and
 * nothing else may be there), then against the release.
 */
#include "card/manifest_form.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct release_fact {
    const char *name, *value; /* board and shell, or kernel and version */
};
#include "release_facts.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- what texts look like ---- */

#define DIGITS  "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define CAPITAL "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define WORD    LETTERS DIGITS "_"
#define PRINTED " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" WORD CAPITAL

/* A text is parts one after the other, each of min to max characters of a set; none needs to look ahead. */
struct part {
    const char *set;
    size_t min, max;
};
enum { PARTS_MAX = 18 };

struct form {
    struct part parts[PARTS_MAX];
    const char *end; /* what the text ends in, besides */
};

static const struct form word64 = {{{WORD, 1, 64}}, ""};
static const struct form word32 = {{{WORD, 1, 32}}, ""};
static const struct form hex64 = {{{DIGITS "abcdef", 64, 64}}, ""};
static const struct form hex32 = {{{DIGITS "abcdef", 32, 32}}, ""};
static const struct form file_name = {{{LETTERS DIGITS, 1, 1}, {LETTERS DIGITS "._-", 0, 63}}, ".xclbin"};
static const struct form version = {{{DIGITS, 1, 4}, {".", 1, 1}, {DIGITS, 1, 4}}, ""};
static const struct form source = {{{LETTERS CAPITAL DIGITS "._+-", 1, 80}}, ""};
static const struct form printed80 = {{{PRINTED, 1, 80}}, ""};
static const struct form printed120 = {{{PRINTED, 1, 120}}, ""};
static const struct form moment = {{{"2", 1, 1},
                                    {"0", 1, 1},
                                    {DIGITS, 2, 2},
                                    {"-", 1, 1},
                                    {"01", 1, 1},
                                    {DIGITS, 1, 1},
                                    {"-", 1, 1},
                                    {"0123", 1, 1},
                                    {DIGITS, 1, 1},
                                    {"T", 1, 1},
                                    {"012", 1, 1},
                                    {DIGITS, 1, 1},
                                    {":", 1, 1},
                                    {"012345", 1, 1},
                                    {DIGITS, 1, 1},
                                    {":", 1, 1},
                                    {"0123456", 1, 1},
                                    {DIGITS, 1, 1}},
                                   "Z"};

static bool has_form(const char *text, const struct form *form)
{
    size_t left = strlen(text), end = strlen(form->end);
    if (left < end || memcmp(text + left - end, form->end, end) != 0)
        return false;
    left -= end;
    for (size_t i = 0; i < PARTS_MAX && form->parts[i].set != NULL; i++) {
        const struct part *part = &form->parts[i];
        size_t n = strspn(text, part->set);
        n = n < left ? n : left;
        n = n < part->max ? n : part->max;
        if (n < part->min)
            return false;
        text += n;
        left -= n;
    }
    return left == 0;
}

/* ---- what objects have ---- */

enum kind { TEXT, INTEGER, CONSTANT, BOARD, KERNEL, ATTACHMENT, XCLBIN, KERNELS, UNITS };

struct member {
    const char *name;
    enum kind kind;
    const struct form *form; /* TEXT */
    json_int_t min, max;     /* INTEGER; CONSTANT: min */
};

static const struct member manifest_members[] = {
    {"format", CONSTANT, NULL, RELEASE_FORMAT, 0},
    {"board", BOARD, NULL, 0, 0},
    {"shell", TEXT, &word64, 0, 0},
    {"attachment", ATTACHMENT, NULL, 0, 0},
    {"xclbin", XCLBIN, NULL, 0, 0},
    {"clock_mhz", INTEGER, NULL, 100, 500},
    {"kernels", KERNELS, NULL, 0, 0},
    {"source", TEXT, &source, 0, 0},
    {"tool", TEXT, &printed80, 0, 0},
    {"built", TEXT, &moment, 0, 0},
    {"builder", TEXT, &printed120, 0, 0},
};
static const struct member xclbin_members[] = {
    {"file", TEXT, &file_name, 0, 0},
    {"bytes", INTEGER, NULL, 1, SL_XCLBIN_MAX},
    {"sha256", TEXT, &hex64, 0, 0},
    {"uuid", TEXT, &hex32, 0, 0},
};
static const struct member kernel_members[] = {
    {"name", KERNEL, NULL, 0, 0},
    {"version", TEXT, &version, 0, 0},
    {"units", UNITS, NULL, 0, 0},
    {"source_sha256", TEXT, &hex64, 0, 0},
};

static const char *fact_of(const struct release_fact *facts, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(facts[i].name, name) == 0)
            return facts[i].value;
    }
    return NULL;
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static bool is_attachment(const char *text)
{
    return strcmp(text, "ports") == 0 || strcmp(text, "host") == 0;
}

/* A member that is text, or a number; *wrong: what it is not. */
static sl_err check_scalar(const json_t *value, const struct member *member, const char **wrong)
{
    const char *text = json_string_value(value);
    switch (member->kind) {
    case CONSTANT: /* 1.0 is 1, as in JSON Schema */
        *wrong = "is not this release's";
        return json_is_number(value) && json_number_value(value) == (double)member->min ? SL_OK : SL_ERR_UNSUPPORTED;
    case INTEGER:
        *wrong = json_is_integer(value) ? "is out of bounds" : "is no integer";
        return json_is_integer(value) && json_integer_value(value) >= member->min && json_integer_value(value) <= member->max
                   ? SL_OK
                   : SL_ERR_INVALID;
    case BOARD:
        *wrong = "is no board of this release";
        return text != NULL && fact_of(release_boards, COUNT(release_boards), text) != NULL ? SL_OK : SL_ERR_UNSUPPORTED;
    case KERNEL:
        *wrong = "is no kernel of this release";
        return text != NULL && fact_of(release_kernels, COUNT(release_kernels), text) != NULL ? SL_OK : SL_ERR_UNSUPPORTED;
    case ATTACHMENT:
        *wrong = "is neither ports nor host";
        return text != NULL && is_attachment(text) ? SL_OK : SL_ERR_INVALID;
    default:
        *wrong = text != NULL ? "has not the form" : "is no string";
        return text != NULL && has_form(text, member->form) ? SL_OK : SL_ERR_INVALID;
    }
}

static sl_err check_units(const json_t *units, const char *where, struct sl_diag *diag)
{
    size_t index;
    json_t *unit;

    if (!json_is_array(units) || json_array_size(units) == 0)
        return sl_fail(diag, SL_ERR_INVALID, "%s.units is empty, or no array", where);
    json_array_foreach(units, index, unit)
    {
        const char *text = json_string_value(unit);
        if (text == NULL || !has_form(text, &word32))
            return sl_fail(diag, SL_ERR_INVALID, "%s.units[%zu] has not the form", where, index);
    }
    return SL_OK;
}

/* Objects within objects are the caller's to look into. */
static sl_err check_object(const json_t *object, const char *where, const struct member *members, size_t count,
                           struct sl_diag *diag)
{
    if (!json_is_object(object))
        return sl_fail(diag, SL_ERR_INVALID, "%s is no object", where);
    for (size_t i = 0; i < count; i++) {
        const struct member *member = &members[i];
        const json_t *value = json_object_get(object, member->name);
        const char *wrong = NULL;
        sl_err err = SL_OK;
        if (value == NULL)
            return sl_fail(diag, SL_ERR_INVALID, "%s has no \"%s\"", where, member->name);
        if (member->kind == UNITS)
            err = check_units(value, where, diag);
        else if (member->kind < XCLBIN && (err = check_scalar(value, member, &wrong)) != SL_OK)
            sl_fail(diag, err, "%s.%s %s", where, member->name, wrong);
        if (err)
            return err;
    }
    return json_object_size(object) == count ? SL_OK : sl_fail(diag, SL_ERR_INVALID, "%s has unknown members", where);
}

static sl_err check_form(const json_t *manifest, struct sl_diag *diag)
{
    sl_err err = check_object(manifest, "manifest", manifest_members, COUNT(manifest_members), diag);
    if (err)
        return err;
    err = check_object(json_object_get(manifest, "xclbin"), "manifest.xclbin", xclbin_members, COUNT(xclbin_members), diag);
    if (err)
        return err;
    const json_t *kernels = json_object_get(manifest, "kernels");
    if (!json_is_array(kernels) || json_array_size(kernels) == 0)
        return sl_fail(diag, SL_ERR_INVALID, "manifest.kernels is empty, or no array");
    for (size_t i = 0; !err && i < json_array_size(kernels); i++) {
        char where[48];
        snprintf(where, sizeof(where), "manifest.kernels[%zu]", i);
        err = check_object(json_array_get(kernels, i), where, kernel_members, COUNT(kernel_members), diag);
    }
    return err;
}

/* ---- what fits the release ---- */

/* Compute units have a name each, over all kernels. */
static sl_err check_unit_names(const json_t *kernels, struct sl_diag *diag)
{
    json_t *seen = json_object();
    sl_err err = seen != NULL ? SL_OK : SL_ERR_NOMEM;

    for (size_t i = 0; !err && i < json_array_size(kernels); i++) {
        const json_t *units = json_object_get(json_array_get(kernels, i), "units");
        for (size_t k = 0; !err && k < json_array_size(units); k++) {
            const char *unit = json_string_value(json_array_get(units, k));
            if (json_object_get(seen, unit) != NULL)
                err = sl_fail(diag, SL_ERR_INVALID, "a compute unit is named twice: %s", unit);
            else if (json_object_set_new(seen, unit, json_true()) != 0)
                err = SL_ERR_NOMEM;
        }
    }
    json_decref(seen);
    return err == SL_ERR_NOMEM ? sl_fail(diag, err, "out of memory") : err;
}

/* The kernels, each once: the CMAC's where packets come from the card's own ports, all others always. */
static sl_err check_kernels(const json_t *kernels, bool ports, struct sl_diag *diag)
{
    bool seen[COUNT(release_kernels)] = {false};

    for (size_t i = 0; i < json_array_size(kernels); i++) {
        const char *name = text_of(json_array_get(kernels, i), "name");
        for (size_t k = 0; k < COUNT(release_kernels); k++) {
            if (strcmp(release_kernels[k].name, name) != 0)
                continue;
            if (seen[k])
                return sl_fail(diag, SL_ERR_UNSUPPORTED, "has the kernel %s more than once", name);
            seen[k] = true;
        }
    }
    for (size_t k = 0; k < COUNT(release_kernels); k++) {
        const char *name = release_kernels[k].name;
        if (seen[k] != (ports || strncmp(name, "cmac_", 5) != 0))
            return sl_fail(diag, SL_ERR_UNSUPPORTED, seen[k] ? "has the kernel %s, which belongs to ports" : "has no kernel %s",
                           name);
    }
    for (size_t i = 0; i < json_array_size(kernels); i++) {
        const json_t *kernel = json_array_get(kernels, i);
        const char *name = text_of(kernel, "name"), *has = text_of(kernel, "version");
        const char *needs = fact_of(release_kernels, COUNT(release_kernels), name);
        if (strcmp(has, needs) != 0)
            return sl_fail(diag, SL_ERR_UNSUPPORTED, "%s has version %s; this release needs %s", name, has, needs);
    }
    return check_unit_names(kernels, diag);
}

static sl_err check_fit(const json_t *manifest, struct sl_diag *diag)
{
    const char *shell = text_of(manifest, "shell");
    const char *known = fact_of(release_boards, COUNT(release_boards), text_of(manifest, "board"));

    if (strcmp(shell, known) != 0)
        return sl_fail(diag, SL_ERR_UNSUPPORTED, "made for the shell %s; this release has %s", shell, known);
    return check_kernels(json_object_get(manifest, "kernels"), strcmp(text_of(manifest, "attachment"), "ports") == 0, diag);
}

/* ---- all of it ---- */

static uint8_t nibble(char digit)
{
    return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

/* The form has bounded every text by less than its place. */
static void tell(const json_t *manifest, struct sl_manifest_said *out)
{
    const json_t *xclbin = json_object_get(manifest, "xclbin");
    const char *sha256 = text_of(xclbin, "sha256");
    const struct {
        char *to;
        size_t size;
        const char *from;
    } texts[] = {
        {out->card.board, sizeof(out->card.board), text_of(manifest, "board")},
        {out->card.shell, sizeof(out->card.shell), text_of(manifest, "shell")},
        {out->card.attachment, sizeof(out->card.attachment), text_of(manifest, "attachment")},
        {out->card.source, sizeof(out->card.source), text_of(manifest, "source")},
        {out->card.builder, sizeof(out->card.builder), text_of(manifest, "builder")},
        {out->file, sizeof(out->file), text_of(xclbin, "file")},
    };

    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < COUNT(texts); i++)
        snprintf(texts[i].to, texts[i].size, "%s", texts[i].from);
    for (size_t i = 0; i < sizeof(out->sha256); i++)
        out->sha256[i] = (uint8_t)(nibble(sha256[2 * i]) << 4 | nibble(sha256[2 * i + 1]));
    out->card.clock_mhz = (uint32_t)json_integer_value(json_object_get(manifest, "clock_mhz"));
    out->bytes = (size_t)json_integer_value(json_object_get(xclbin, "bytes"));
}

sl_err sl_manifest_parse(const char *text, size_t len, struct sl_manifest_said *out, struct sl_diag *diag)
{
    json_error_t error;
    json_t *manifest = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

    if (manifest == NULL && json_error_code(&error) == json_error_out_of_memory)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    if (manifest == NULL)
        return sl_fail(diag, SL_ERR_INVALID, "line %d: %s", error.line, error.text);
    sl_err err = check_form(manifest, diag);
    if (!err)
        err = check_fit(manifest, diag);
    if (!err)
        tell(manifest, out);
    json_decref(manifest);
    return err;
}
