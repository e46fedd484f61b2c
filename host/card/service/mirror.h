/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verified plaintext as a capture that other tools read: for every record one TCP segment of its session, with sequence numbers
 * that count the plaintext, and no TLS. Only application data (type 23).
 */
#pragma once

#include "card/engine.h"
#include "card/service/capture.h"
#include "card/service/sessions.h"

/* session: as in sl_card_hooks.mirror. */
void sl_card_mirror_write(struct sl_capture_writer *writer, uint64_t time_ns, const struct sl_engine_mirror *record,
                          const struct sl_card_session *session);
