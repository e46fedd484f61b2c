/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The differential test: the same traces through every engine, each held against the reference model (engine_check.h), so that all
 * of them give the same bytes, punts, mirror, events and counters. Wants cmocka's headers before it.
 */
#pragma once

#include "engine_check.h"

struct engine_under_test {
    struct sl_engine *(*open)(uint32_t sessions, uint32_t seal_limit);
    unsigned seeds;   /* of the harsh traffic; with 8 or more everything that may happen must have happened */
    unsigned packets; /* of each trace */
};

/* Genuine and hostile traffic of all kinds; batches of several sizes, with and without rules. */
void engine_traces_harsh(const struct engine_under_test *t);
/* Only long or only short segments, one version, reordering by the dozen: corners that a mixture seldom comes to. */
void engine_traces_corners(const struct engine_under_test *t);
/* G3: the seal key is not used beyond its limit. */
void engine_traces_G3_seal_limit(const struct engine_under_test *t);

/* How much an engine gets: what it takes in a few seconds; a quarter of that with sanitizers, if it runs the kernels; with
 * SLUICE_LONG=1 many times as much. */
void engine_traces_measure(struct engine_under_test *t, bool kernels);
