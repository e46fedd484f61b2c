/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine of a few sessions, for tests of what drives one. It keeps no packets. What a test sets may be set from its own thread
 * at any time; the rest is the loop's thread's.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "card/engine.h"

enum { FAKE_SESSIONS = 64, FAKE_QUEUE = 32, FAKE_LOST = 5 };

struct fake_state {
    /* Set by the test. */
    atomic_uint room;                   /* sessions; more: SL_ERR_LIMIT */
    atomic_uint delay;                  /* so many polls pass before a completion comes */
    atomic_bool die;                    /* dies at the next call */
    atomic_bool no_open;                /* the next open fails */
    atomic_bool no_rules;               /* rules are refused */
    atomic_ullong last_ns[2];           /* every session's last packet in the lane */
    struct card_event event;            /* comes once when event_ready is set */
    struct sl_engine_counters counters; /* what it has counted; before it is opened. dead and lost are its own */
    atomic_bool event_ready;
    /* Told to the test. */
    atomic_uint opened, closed, installed;
    atomic_bool saw_key;                          /* an install came with its open key in lane 0 all 0xa5 */
    struct sl_engine_command seen[FAKE_SESSIONS]; /* the latest install of a flow below that; to be read when it has completed */
    atomic_uint rules;                            /* valid ones, in both lanes */
    atomic_uint defaults[SL_ENGINE_LANES];
    const char *kind; /* NULL: "fake" */
};

/* For sl_card_loop_options.open; arg is a struct fake_state. */
sl_err fake_open(void *arg, struct sl_engine **out, struct sl_diag *diag);
