/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two network interfaces as the card's ports: what comes in at one goes through its lane and out of the other.
 *
 *   inside ─▶ lane 0 ─▶ outside
 *   inside ◀─ lane 1 ◀─ outside
 *
 * Punted frames are what the host would get, and there is no host here yet. Those of no session, of a held one, and what is not TCP
 * pass unchanged, or are dropped, as the options say. What belongs to a session and can't be dealt with is dropped: unchanged, it
 * would carry the wrong keys or sequence numbers; TCP sends it again. But what it sends again of a record that the card has
 * forgotten (`old`), only a host could answer: a connection with keys does not survive losing many acknowledgements.
 *
 * What can't go out makes the frames behind it wait, in the engine and then in the ring of the port they came from, where the
 * kernel drops and counts them in the end. So it is without an engine, too: the wire is cut, not bridged.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "card/engine.h"
#include "card/numbers.h"
#include "card/service/ring_port.h"

struct sl_wire_options {
    char name[SL_ENGINE_LANES][SL_RING_NAME]; /* of the interfaces: inside, outside */
    bool drop_punted;
};

struct sl_wire_totals {
    struct sl_ring_counters port[SL_ENGINE_LANES]; /* inside, outside */
    uint64_t sent, passed, dropped;
    uint64_t reasons[SL_CARD_REASONS]; /* of passed and dropped */
};

struct sl_wire;

/* As sl_ring_port_open. */
sl_err sl_wire_open(const struct sl_wire_options *options, struct sl_wire **out, struct sl_diag *diag);
/* From now on frames are taken. What came before waits, or was lost, in the ports' rings. From any thread. */
void sl_wire_begin(struct sl_wire *wire);
/* For sl_card_hooks.ports. */
bool sl_wire_poll(void *wire, struct sl_engine *engine);
/* After the loop has stopped. */
void sl_wire_totals(struct sl_wire *wire, struct sl_wire_totals *out);
/* NULL is allowed. */
void sl_wire_close(struct sl_wire *wire);
