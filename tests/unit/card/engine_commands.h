/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of card/engine.h beside the packets, for any engine: what commands refuse, that nothing is lost when nobody fetches,
 * and that keys do not come out. An engine may answer when it likes: a case asks until it has what must come. What must not come is
 * asked for behind something that must come later.
 *
 *   static const struct engine_opener opener = {.open = open_my_engine, .frames = 1000};
 *   const struct CMUnitTest tests[] = {ENGINE_COMMANDS(&opener), cmocka_unit_test(test_of_my_own)};
 */
#pragma once

#include <stdint.h>

#include "card/engine.h"

struct engine_opener {
    struct sl_engine *(*open)(const struct engine_opener *self, uint32_t sessions); /* room for so many */
    void *arg;
    unsigned frames; /* sent by the cases that send many; more than fit into the engine */
};

/* cmocka tests; *state is the opener. */
void engine_commands_install_refuses(void **state);
void engine_commands_others_refuse(void **state);
void engine_commands_in_order(void **state);
void engine_commands_completions_are_bounded(void **state);
void engine_commands_frames_are_bounded(void **state);
void engine_commands_events_are_counted(void **state);
void engine_commands_transmit(void **state);
void engine_commands_change(void **state);
void engine_commands_rules(void **state);
void engine_commands_G13_G7_what_comes_out(void **state);
void engine_commands_keys_out_of_turn(void **state);
void engine_commands_reset(void **state);
void engine_commands_G13_secret_memory(void **state);

#define ENGINE_COMMAND(name, opener) cmocka_unit_test_prestate(engine_commands_##name, (void *)(uintptr_t)(opener))
#define ENGINE_COMMANDS(opener)                                                                                                    \
    ENGINE_COMMAND(install_refuses, opener), ENGINE_COMMAND(others_refuse, opener), ENGINE_COMMAND(in_order, opener),              \
        ENGINE_COMMAND(completions_are_bounded, opener), ENGINE_COMMAND(frames_are_bounded, opener),                               \
        ENGINE_COMMAND(events_are_counted, opener), ENGINE_COMMAND(transmit, opener), ENGINE_COMMAND(change, opener),              \
        ENGINE_COMMAND(rules, opener), ENGINE_COMMAND(G13_G7_what_comes_out, opener), ENGINE_COMMAND(keys_out_of_turn, opener),    \
        ENGINE_COMMAND(reset, opener), ENGINE_COMMAND(G13_secret_memory, opener)

/* ---- for cases of an engine's own ---- */

/* A command until it was taken and has completed; its status. */
sl_err engine_do(struct sl_engine *e, const struct sl_engine_command *command);
/* The same, with what came of it. */
struct sl_engine_completion engine_done(struct sl_engine *e, const struct sl_engine_command *command);
/* Gives a frame until it is taken; waits for the next one that comes out. */
void engine_give(struct sl_engine *e, const struct sl_engine_frame *frame);
struct sl_engine_result engine_next(struct sl_engine *e);
/* Lets an engine that is elsewhere do its work; fails if it is dead. */
void engine_wait(struct sl_engine *e);

/* A flow from 10.0.0.host:1000 to 10.1.0.1:443; its keys in TLS 1.3 are engine_marked_key, both ways; it is mirrored. */
extern const uint8_t engine_marked_key[32];
struct sl_engine_command engine_install(uint64_t flow, uint8_t host, unsigned action);
/* A TCP packet of it in lane 0, with sequence number seq; trace_frame_room bytes. */
size_t engine_packet(uint8_t *out, uint8_t host, uint8_t flags, uint32_t seq, const void *payload, size_t bytes);
/* Its record number seq: 100 bytes of 's'. */
enum { ENGINE_RECORD_BYTES = 5 + 101 + 16 };
void engine_record(uint8_t record[ENGINE_RECORD_BYTES], uint64_t seq);
