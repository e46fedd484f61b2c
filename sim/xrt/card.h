// SPDX-License-Identifier: Apache-2.0
/*
 * The simulated card: memory, and compute units that each run their kernel on a thread of their own.
 *
 * A unit's control register, at offset 0 of its map: bit 0 ap_start, 1 ap_done, 2 ap_idle. A write with ap_start begins a run when
 * none is under way; ap_done is cleared by the read that tells it.
 *
 * When a kernel's thread dies of SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT the card is broken, as a whole: the process that the
 * kernels share can't be trusted any more. From then on no run completes; every run that has begun, or begins, is marked as failed
 * (ERT_CMD_STATE_ERROR) in its command packet, which the host polls. Only a new load heals it. A host that does nothing for
 * SLUICE_XRT_CRASH_GRACE_MS (10000; 0: for ever) is in xrtRunWait, which would never return: then the device aborts itself, and
 * XRT's shim ends the host's process group.
 */
#pragma once

#include "fault.h"
#include "image.h"
#include "memory.h"

struct card;

struct card *card_new(struct memory *memory);
/* Stops the kernels, waits for them for a while, and frees everything; a thread that doesn't stop is left behind, with its memory.
   False: one was, now or before. It may hold any lock, so end the process by _exit: destructors could wait for it for ever. */
bool card_free(struct card *card);

/* Resets the card, then loads the units that the metadata names; library is a file with the kernels. Both empty: only the reset.
   False: the card has no units. */
bool card_load(struct card *card, const char *metadata_path, const char *library_path);
void card_reset(struct card *card);

/* Registers by absolute address. False: they belong to no unit, or size isn't a multiple of 4. */
bool card_write(struct card *card, uint64_t address, const void *data, size_t size);
bool card_read(struct card *card, uint64_t address, void *data, size_t size);

/* Marks every command packet in memory that hasn't completed with an end state of ert.h. */
void card_end_runs(struct card *card, uint32_t state);
