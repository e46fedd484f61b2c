// SPDX-License-Identifier: Apache-2.0
#include "image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An element's opening tag: the text between < and >. */
struct tag {
    const char *at;
    size_t length;
};

/* The next tag from *at on, in text that ends at end. */
static bool next_tag(const char **at, const char *end, struct tag *tag)
{
    const char *open = memchr(*at, '<', (size_t)(end - *at));
    if (!open)
        return false;
    const char *close = memchr(open, '>', (size_t)(end - open));
    if (!close)
        return false;
    *tag = (struct tag){open + 1, (size_t)(close - open - 1)};
    *at = close + 1;
    return true;
}

static bool tag_is(const struct tag *tag, const char *name)
{
    size_t length = strlen(name);
    return tag->length > length && memcmp(tag->at, name, length) == 0 && tag->at[length] == ' ';
}

/* The value of an attribute, cut at room: ' name="value"'. */
static bool attribute(const struct tag *tag, const char *name, char *value, size_t room)
{
    size_t name_length = strlen(name);
    for (size_t i = 0; i + name_length + 3 <= tag->length; i++) {
        const char *at = tag->at + i;
        if (at[0] != ' ' || memcmp(at + 1, name, name_length) != 0 || at[1 + name_length] != '=' || at[2 + name_length] != '"')
            continue;
        const char *begin = at + name_length + 3;
        const char *end = memchr(begin, '"', (size_t)(tag->at + tag->length - begin));
        if (!end || (size_t)(end - begin) >= room)
            return false;
        memcpy(value, begin, (size_t)(end - begin));
        value[end - begin] = '\0';
        return true;
    }
    return false;
}

static bool number(const struct tag *tag, const char *name, uint64_t most, uint64_t *value)
{
    char text[32];
    char *end;
    if (!attribute(tag, name, text, sizeof text) || text[0] == '\0')
        return false;
    errno = 0;
    *value = strtoull(text, &end, 0);
    return *end == '\0' && errno == 0 && *value <= most;
}

static bool add_kernel(struct image *image, const struct tag *tag)
{
    if (image->kernel_count == IMAGE_MAX_UNITS)
        return false;
    char protocol[16];
    struct image_kernel *kernel = &image->kernels[image->kernel_count++];
    *kernel = (struct image_kernel){.range = 0x1000};
    kernel->free_running = attribute(tag, "hwControlProtocol", protocol, sizeof protocol) && strcmp(protocol, "ap_ctrl_none") == 0;
    return attribute(tag, "name", kernel->name, sizeof kernel->name);
}

static bool add_port(struct image_kernel *kernel, const struct tag *tag)
{
    char mode[16];
    uint64_t range;
    if (!attribute(tag, "mode", mode, sizeof mode) || strcmp(mode, "slave") != 0)
        return true;
    if (!number(tag, "range", IMAGE_MAX_RANGE, &range) || range < 16)
        return false;
    kernel->range = (uint32_t)range;
    return true;
}

static bool add_argument(struct image_kernel *kernel, const struct tag *tag)
{
    uint64_t id, offset, qualifier;
    if (!number(tag, "id", IMAGE_MAX_ARGUMENTS - 1, &id) || !number(tag, "offset", kernel->range - 4, &offset) ||
        !number(tag, "addressQualifier", 4, &qualifier))
        return false;
    kernel->arguments[id] = (struct image_argument){.offset = (uint32_t)offset & ~3U, .pointer = qualifier == 1};
    if (kernel->argument_count <= id)
        kernel->argument_count = (size_t)id + 1;
    return true;
}

static bool add_unit(struct image *image, const struct tag *tag)
{
    if (image->unit_count == IMAGE_MAX_UNITS)
        return false;
    struct image_unit *unit = &image->units[image->unit_count++];
    *unit = (struct image_unit){.kernel = image->kernel_count - 1, .base = UINT64_MAX};
    return attribute(tag, "name", unit->name, sizeof unit->name);
}

static bool add(struct image *image, const struct tag *tag)
{
    if (tag_is(tag, "kernel"))
        return add_kernel(image, tag);
    if (image->kernel_count == 0)
        return true;
    struct image_kernel *kernel = &image->kernels[image->kernel_count - 1];
    if (kernel->free_running)
        return true;
    if (tag_is(tag, "port"))
        return add_port(kernel, tag);
    if (tag_is(tag, "arg"))
        return add_argument(kernel, tag);
    if (tag_is(tag, "instance"))
        return add_unit(image, tag);
    if (tag_is(tag, "addrRemap") && image->unit_count > 0)
        return number(tag, "base", UINT64_MAX, &image->units[image->unit_count - 1].base);
    return true;
}

static int by_base(const void *a, const void *b)
{
    const struct image_unit *left = a, *right = b;
    return (left->base > right->base) - (left->base < right->base);
}

bool image_parse(struct image *image, const char *text, size_t length)
{
    const char *at = text, *end = text + length;
    struct tag tag;
    bool ok = true;
    image->kernel_count = image->unit_count = 0;
    while (ok && next_tag(&at, end, &tag))
        ok = add(image, &tag);
    for (size_t i = 0; i < image->unit_count; i++)
        ok = ok && image->units[i].base != UINT64_MAX;
    if (!ok) {
        image->unit_count = 0;
        return false;
    }
    qsort(image->units, image->unit_count, sizeof image->units[0], by_base);
    return image->unit_count > 0;
}
