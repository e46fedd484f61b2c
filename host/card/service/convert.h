/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of sluice.card.v1 and openoffload.v1 as the engine's commands. Everything a client sends is checked here: lengths of
 * keys, addresses, ranges. H = E(K, 0) of AES-GCM is computed here, so that clients send keys only.
 *
 * Failure: SL_ERR_INVALID, SL_ERR_UNSUPPORTED or SL_ERR_CRYPTO with the field in diag; what was written into the command by then is
 * the caller's to wipe.
 */
#pragma once

#include "base/err.h"
#include "card/engine.h"
#include "card/service/hash_key.h"
#include "card/service/sessions.h"
#include "openoffload/v1/openoffload.pb-c.h"
#include "sluice/card/v1/card.pb-c.h"

enum { SL_CARD_ADDRESS_TEXT = 46 };

/* command and extra are zeroed. */
sl_err sl_card_command_from(struct sl_card_hasher *hasher, const Sluice__Card__V1__Command *in, struct sl_engine_command *command,
                            struct sl_card_extra *extra, struct sl_diag *diag);
/* Overwrites the keys in a decoded message. */
void sl_card_wipe_commands(Sluice__Card__V1__Commands *commands);

/* A request of openoffload.v1.SessionTable. */
sl_err sl_card_offload_from(const Openoffload__V1__SessionRequest *in, struct sl_engine_command *command,
                            struct sl_card_extra *extra, struct sl_diag *diag);

sl_err sl_card_rule_from(const Sluice__Card__V1__Rule *in, struct card_rule *out, struct sl_diag *diag);

/* "192.0.2.1" of an address in a flow key; version 4 or 6. */
const char *sl_card_address_text(const uint8_t address[16], uint8_t version, char out[static SL_CARD_ADDRESS_TEXT]);
