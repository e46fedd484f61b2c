/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The environment in which XRT's native C API opens the simulated card. Set it before the first call of XRT, in a process that
 * leads its own group (setpgid): XRT's shim signals its whole group when a child of the process dies.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define SL_XRT_CARD_NAME "sluice_sim"

struct sl_xrt_environment {
    const char *tree;       /* made by the build: build/<preset>/sim/xrt/tree */
    const char *run_folder; /* exists, writable; what XRT leaves behind stays there, and goes with it */
    unsigned devices;       /* 0 is 1 */
    unsigned memory_gb;     /* of each device; 0 is 4 */
    bool resident;          /* runs never end: XRT's scheduler asks seldom whether one has (resident.ini) */
    const char *fault;      /* as in sim/xrt/fault.h, or null */
    const char *fault_file; /* the same in a file that is looked at again and again, or null */
};

/* Writes emconfig.json in the run folder and sets the variables. False: errno says why, or ENOENT: the tree isn't there. */
bool sl_xrt_environment_set(const struct sl_xrt_environment *environment);

/*
 * Whether every device process that this process has started is still there. XRT's shim doesn't notice when one leaves quietly: it
 * reads from the closed socket for ever, and the state of a run never changes. Looks and reaps nothing; false as well while
 * another child waits to be reaped, so have none. With a real card there is no child, and it is true.
 */
bool sl_xrt_devices_alive(void);

/*
 * After xrtDeviceClose: waits until the device processes are gone. XRT's scheduler may still hold the last command, and with it the
 * device; then its thread closes the device a moment later, and an open meanwhile meets a half-closed one. False: one is still
 * there.
 */
bool sl_xrt_wait_closed(unsigned limit_ms);
