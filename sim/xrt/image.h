// SPDX-License-Identifier: Apache-2.0
/*
 * What an xclbin says of its compute units: the EMBEDDED_METADATA, as sluice-xclbin writes it. Only the elements kernel, arg,
 * instance and addrRemap are read; it is no general XML reader.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    IMAGE_MAX_UNITS = 128, // as XRT
    IMAGE_MAX_ARGUMENTS = 64,
    IMAGE_NAME = 64,
    IMAGE_MAX_RANGE = 0x10000,
};

struct image_argument {
    uint32_t offset;
    bool pointer;
};

struct image_kernel {
    char name[IMAGE_NAME];
    uint32_t range; // of the register map, in bytes
    struct image_argument arguments[IMAGE_MAX_ARGUMENTS];
    size_t argument_count;
    bool free_running; // nobody can start it: its units are not among those of the image
};

struct image_unit {
    char name[IMAGE_NAME];
    uint64_t base;
    size_t kernel;
};

struct image {
    struct image_kernel kernels[IMAGE_MAX_UNITS];
    size_t kernel_count;
    struct image_unit units[IMAGE_MAX_UNITS]; // by base address, ascending
    size_t unit_count;
};

/* False when the text doesn't say what is needed; then image->unit_count is 0. */
bool image_parse(struct image *image, const char *text, size_t length);
