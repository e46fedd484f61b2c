// SPDX-License-Identifier: Apache-2.0
/*
 * A host of the simulated card (sim/card) as far as rings go: device, buffers, the five compute units running, and both ends of
 * the rings. Everything that goes wrong ends the program (check.h).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <experimental/xrt_bo.h>
#include <experimental/xrt_device.h>
#include <experimental/xrt_kernel.h>

#include "card/card_command.h"
#include "card/card_packets.h"

enum { LANES = 2, UNITS = 5, STATE_LINES = 6, BUFFERS = 4 + LANES * (4 + STATE_LINES), LIMIT_MS = 60000 };
enum unit_number { UNIT_CONTROL, UNIT_STATE, UNIT_PACKETS = UNIT_STATE + LANES };

/* To spoil something before the units start. */
struct rings_sizes {
    uint32_t commands, events, sessions, packet_lines;
    uint32_t told_sessions, told_lane, told_commands; /* 0: the truth; what the units are told instead */
    uint64_t rounds;                                  /* 0: for ever */
};

struct rings {
    xrtDeviceHandle device;
    xrtKernelHandle kernel[UNITS];
    xrtRunHandle run[UNITS];
    xrtBufferHandle buffer[BUFFERS];
    unsigned buffers;
    atomic_bool over[UNITS]; /* the run has ended as it should, and XRT has done with it */
    struct rings_sizes sizes;

    struct card_command *commands;
    struct card_completion *completions;
    struct card_event *events;
    struct card_host_page *page;
    struct card_ring to_card[LANES], from_card[LANES], mirror[LANES];
    struct card_packets_page *packets_page[LANES];
    uint8_t *line[LANES][STATE_LINES];
    uint32_t asked, answered, told; /* commands, completions, events */
};

/* Device 0 with that xclbin, and all that the units need. */
void rings_open(struct rings *rings, const char *xclbin, const struct rings_sizes *sizes);
void rings_start(struct rings *rings);
/* Waits until the units' rounds are over, and closes everything. Units that run for ever end with the process. */
void rings_close(struct rings *rings);

/* A unit's run has ended, however. */
bool rings_over(const struct rings *rings, unsigned unit);

/* Gives a command its number and writes it into the ring. */
uint32_t rings_ask(struct rings *rings, struct card_command *command);
/* The next completion, if it comes within that time. */
bool rings_answer(struct rings *rings, struct card_completion *completion, unsigned limit_ms);
/* Both; the answer must come. */
uint16_t rings_do(struct rings *rings, struct card_command *command);

/* All of it forwarded: no session, the rules' default. */
void rings_forward_all(struct rings *rings);

enum { FRAME_BYTES = 100 };
/* An UDP packet that is in order; its payload begins at byte 42 and tells the number. */
void rings_frame(uint8_t frame[FRAME_BYTES], uint32_t number);
void rings_send(struct rings *rings, unsigned lane, const uint8_t frame[FRAME_BYTES]);
/* The next frame from the card, if it comes within that time: its kind, or 0. */
unsigned rings_receive(struct rings *rings, unsigned lane, uint8_t data[card_packet_room], size_t *bytes, unsigned limit_ms);
