/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated card for tests of the xrt engine: environment, open, and what a fault does. Wants cmocka's headers before it. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "card/engine.h"

/* Group fixtures: a folder for what XRT leaves behind, the environment; and the folder's end. */
int xrt_lab_begin(void **state);
int xrt_lab_end(void **state);

/* Opens the xrt engine on the simulated card. xclbin, worker, and how long it may be silent on a busy machine are filled in, where
 * they are not set. */
struct sl_engine *xrt_lab_open(const struct sl_engine_options *options);
sl_err xrt_lab_try(const struct sl_engine_options *options, struct sl_engine **out, struct sl_diag *diag);

/* Faults from the next card on, sim/xrt/fault.h; a line each. */
void xrt_lab_fault(const char *lines);
/* The same for the one card that is open: whatever it is given afterwards meets them. */
void xrt_lab_fault_now(const char *lines);

/* How many processes this one has started, and they, that are still there. */
unsigned xrt_lab_processes(void);
/* The one worker. */
pid_t xrt_lab_worker(void);
/* Waits until there are none. */
void xrt_lab_await_none(void);
