/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The differential test: the same traces through every engine, each held against the reference model (engine_check.h), so that all
 * of them give the same bytes, punts, mirror, events and counters. Wants cmocka's headers before it.
 */
#pragma once

#include "engine_check.h"

struct engine_under_test {
    struct sl_engine *(*open)(uint32_t sessions, uint32_t seal_limit);
    unsigned factor; /* so many times the usual number of traces */
};

/* Genuine and hostile traffic of all kinds; batches of several sizes, with and without rules. */
void engine_traces_harsh(const struct engine_under_test *t);
/* Only long or only short segments, one version, reordering by the dozen: corners that a mixture seldom comes to. */
void engine_traces_corners(const struct engine_under_test *t);
/* G3: the seal key is not used beyond its limit. */
void engine_traces_G3_seal_limit(const struct engine_under_test *t);

/* 1, or with SLUICE_LONG=1 `longer`. */
unsigned engine_traces_factor(unsigned longer);
