/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests, signatures and xclbins changed at random, most of them signed all the same: sl_card_manifest_load and bitstreams/check
 * must agree about each. SLUICE_SEED repeats a run, SLUICE_LONG makes it longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "manifest_bits.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static uint64_t seed;

static size_t below(size_t limit)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)(seed >> 11) % limit;
}

struct place {
    json_t *parent;
    const char *name; /* NULL: in an array */
    size_t index;
};

/* Any value of the tree but its root: each as likely as another. */
static void choose(json_t *value, size_t *seen, struct place *out)
{
    const char *name;
    json_t *item;
    size_t index;

    json_object_foreach(value, name, item)
    {
        if (below(++*seen) == 0)
            *out = (struct place){value, name, 0};
        choose(item, seen, out);
    }
    json_array_foreach(value, index, item)
    {
        if (below(++*seen) == 0)
            *out = (struct place){value, NULL, index};
        choose(item, seen, out);
    }
}

static json_t *at(const struct place *place)
{
    return place->name != NULL ? json_object_get(place->parent, place->name) : json_array_get(place->parent, place->index);
}

static void put(const struct place *place, json_t *value)
{
    if (place->name != NULL)
        json_object_set_new(place->parent, place->name, value);
    else
        json_array_set_new(place->parent, place->index, value);
}

/* As long as a bound of some form, or a little off it; characters near those that are allowed. */
static json_t *random_text(void)
{
    static const size_t bounds[] = {0, 1, 4, 20, 32, 64, 71, 72, 80, 120};
    static const char *const sets[] = {"x", "0123456789abcdef", "az09_", "aZ9._+-", " ~!\"\\", "aA\x7f\n", "a.xclbin"};
    const char *set = sets[below(COUNT(sets))];
    char text[160];
    size_t len = bounds[below(COUNT(bounds))] + below(2);
    for (size_t i = 0; i < len; i++)
        text[i] = set[below(strlen(set))];
    if (len > 8 && below(3) == 0)
        memcpy(text + len - 7, ".xclbin", 7);
    return json_stringn(text, len);
}

/* A text with one character changed, inserted or removed: often still of its form. */
static json_t *touched_text(const char *old)
{
    static const char others[] = "0aZ_-.~ /:";
    char text[160];
    size_t len = strlen(old) < 150 ? strlen(old) : 150, where = below(len + 1), what = below(3);
    snprintf(text, sizeof(text), "%.150s", old);
    if (what == 0 && where < len)
        text[where] = others[below(sizeof(others) - 1)];
    else if (what == 1 && where < len)
        memmove(text + where, text + where + 1, len - where);
    else {
        memmove(text + where + 1, text + where, len - where + 1);
        text[where] = others[below(sizeof(others) - 1)];
    }
    return json_string(text);
}

static json_t *random_value(const json_t *old)
{
    static const json_int_t numbers[] = {-1, 0, 1, 2, 99, 100, 101, 499, 500, 501, 600000, 1 << 30, (1 << 30) + 1, INT64_MAX};
    switch (below(12)) {
    case 0:
        return json_object();
    case 1:
        return json_array();
    case 2:
        return below(2) == 0 ? json_true() : json_null();
    case 3:
        return json_real((double)json_integer_value(old) + (below(2) == 0 ? 0.5 : 0));
    case 4:
    case 5:
        return json_integer(numbers[below(COUNT(numbers))]);
    case 6:
        return random_text();
    default:
        if (json_is_string(old))
            return below(3) == 0 ? random_text() : touched_text(json_string_value(old));
        return json_is_integer(old) ? json_integer(json_integer_value(old) + (json_int_t)below(3) - 1) : json_deep_copy(old);
    }
}

static void change_tree(json_t *manifest)
{
    struct place place = {manifest, "board", 0}, other = place;
    size_t seen = 0;
    choose(manifest, &seen, &place);
    switch (below(10)) {
    case 0:
        if (place.name != NULL)
            json_object_del(place.parent, place.name);
        else
            json_array_remove(place.parent, place.index);
        break;
    case 1:
        if (place.name != NULL)
            json_object_set_new(place.parent, below(2) == 0 ? "note" : "format", json_integer(1));
        else
            json_array_append_new(place.parent, below(2) == 0 ? random_text() : json_deep_copy(at(&place)));
        break;
    case 2: /* two change places, if neither holds the other */
        seen = 0;
        choose(manifest, &seen, &other);
        if (!json_is_object(at(&place)) && !json_is_array(at(&place)) && !json_is_object(at(&other)) &&
            !json_is_array(at(&other))) {
            json_t *first = json_incref(at(&place)), *second = json_incref(at(&other));
            put(&place, second);
            put(&other, first);
        }
        break;
    default:
        put(&place, random_value(at(&place)));
        break;
    }
}

static void flip(const char *folder, const char *name)
{
    size_t len;
    char *content = bits_get(folder, name, &len);
    size_t where = below(4) == 0 && len > 16 ? below(16) : below(len);
    switch (below(4)) {
    case 0:
        len = where;
        break;
    case 1:
        content[len++] = (char)below(256);
        break;
    default:
        content[where] = (char)(content[where] ^ 1 << below(8));
        break;
    }
    bits_put(folder, name, content, len);
    free(content);
}

static void replace_by_other(const char *folder, const char *name)
{
    char path[2 * BITS_PATH];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(remove(path), 0);
    if (below(2) == 0)
        assert_int_equal(symlink("manifest.json.sig", path), 0);
    else
        assert_int_equal(mkfifo(path, 0600), 0);
}

static void test_random(void **state)
{
    static const char *const boards[] = {"sim", "u250", "u55c"}, *const names[] = {"manifest.json", "manifest.json.sig", BITS_FILE};
    static const size_t formats[] = {0, JSON_COMPACT, JSON_INDENT(2), JSON_ENSURE_ASCII, JSON_SORT_KEYS, JSON_ESCAPE_SLASH};
    const char *given = getenv("SLUICE_SEED");
    size_t rounds = getenv("SLUICE_LONG") != NULL ? 1800 : 240;
    struct bits *bits = bits_new();
    char folder[BITS_PATH];
    (void)state;

    seed = given != NULL ? strtoul(given, NULL, 0) : ((uint64_t)time(NULL) << 20 ^ (uint64_t)getpid());
    seed = seed != 0 ? seed : 1;
    print_message("SLUICE_SEED=%llu\n", (unsigned long long)seed);
    bits->xclbin_bytes = 4096;
    for (size_t i = 0; i < rounds; i++) {
        json_t *manifest = bits_manifest(bits, boards[below(COUNT(boards))], below(2) == 0 ? "host" : "ports");
        for (size_t changes = below(6) < 5 ? 1 : below(3); i % 4 != 3 && changes > 0; changes--)
            change_tree(manifest);
        char *text = json_dumps(manifest, formats[below(COUNT(formats))]);
        assert_non_null(text);
        bits_write(bits, text, strlen(text), folder);
        free(text);
        json_decref(manifest);
        if (i % 8 == 7) {
            flip(folder, names[below(3)]);
            if (below(2) == 0)
                bits_sign(bits, folder);
        } else if (i % 32 == 3) {
            replace_by_other(folder, names[below(3)]);
        }
        bits_judge(bits, folder, BITS_FILE, bits->public_key, NULL);
    }
    size_t passed = bits_compare(bits);
    print_message("%zu of %zu pass\n", passed, rounds);
    assert_true(passed > rounds / 20 && passed < rounds * 19 / 20);
    bits_free(bits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
