// SPDX-License-Identifier: Apache-2.0
/*
 * Faults that the device process injects. They stand in the variable SLUICE_XRT_FAULT, separated by ';', or in the file that
 * SLUICE_XRT_FAULT_FILE names, a line each; the file is read again whenever it changes, and then replaces the faults of before.
 *
 *   lose  [unit=NAME] [run=N]              the run's ap_done never comes
 *   delay [unit=NAME] [run=N] ms=N         it comes N ms late
 *   crash [unit=NAME] [run=N] [ms=N] [signal=segv|abrt|fpe]
 *   flip  [unit=NAME] [run=N] [ms=N] arg=N [byte=N] [bit=N] [when=start|done|now]
 *   die   [unit=NAME] [run=N] [ms=N] [how=kill|exit|vanish] [when=start|done|load|now]
 *
 * A fault happens once. unit: any one when not given; run: that unit's n-th run since the load, any when not given. ms is counted
 * from the start (or what "when" says). flip: the bit of the buffer that the run's argument points to; "now" needs a unit, and is
 * when the fault is read. die: "kill" ends the device by SIGKILL, whereupon XRT's shim ends the host's process group; "exit" marks
 * all runs as aborted first; "vanish" leaves without a word, as a card that falls off the bus.
 *
 * With entry=N a fault is the kernel's own: it happens to the N-th of the entries that the unit's ring gets from the moment on at
 * which the fault is read. What an entry is, the kernel says (sim/card/README.md); unit and entry are needed.
 *
 *   lose    unit=NAME entry=N                      its answer is never given
 *   delay   unit=NAME entry=N ms=N                 it is given N ms late, and so are those behind it
 *   flip    unit=NAME entry=N [byte=N] [bit=N]     a bit of it, on its way in
 *   overrun unit=NAME entry=N                      it was overwritten with that of another lap of the ring
 *   stray   unit=NAME entry=N                      it is one that nobody wrote
 *   refuse  unit=NAME entry=N                      from this one on there is no room for what is to be stored
 *
 * When the file has been read, an empty file with its name and ".seen" behind it appears: an entry that is written afterwards meets
 * the faults. Who waits for that removes it before.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_kind {
    FAULT_LOSE,
    FAULT_DELAY,
    FAULT_CRASH,
    FAULT_FLIP,
    FAULT_DIE,
    FAULT_OVERRUN,
    FAULT_STRAY,
    FAULT_REFUSE,
};
enum fault_when { FAULT_START, FAULT_DONE, FAULT_LOAD, FAULT_NOW };
enum fault_death { DEATH_KILL, DEATH_EXIT, DEATH_VANISH };

struct fault {
    enum fault_kind kind;
    enum fault_when when;
    enum fault_death how;
    char unit[64];  // empty: any
    uint64_t run;   // 0: any
    uint64_t entry; // 0: it is not the kernel's own
    uint64_t delay_ms;
    uint64_t byte;
    uint32_t argument;
    uint32_t bit;
    int signal;
    bool used;
};

enum { FAULT_MAX = 64 };

struct faults {
    struct fault list[FAULT_MAX];
    size_t count;
};

/* Reads a description. False, and an empty list: it can't be read; *bad is then the place. */
bool faults_parse(struct faults *faults, const char *text, const char **bad);

/* Takes the first unused fault of this kind and moment that fits, marks it used and copies it. For FAULT_NOW and FAULT_LOAD, which
   belong to no run, unit is null and run 0. Never a kernel's own. */
bool faults_take(struct faults *faults, enum fault_kind kind, enum fault_when when, const char *unit, uint64_t run,
                 struct fault *fault);

/* The same for the kernel's own faults of a unit. */
bool faults_take_own(struct faults *faults, const char *unit, struct fault *fault);
/* Unused faults that are kernels' own. */
size_t faults_count_own(const struct faults *faults);
