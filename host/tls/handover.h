/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a finished AES-GCM leg to record keys. OpenSSL's key-log callback (of TLS 1.2: the session) gave the secrets, into secret
 * memory and nowhere else; its message callback counted the records that were spent under the application keys. After the hand-over
 * the SSL object is gone.
 *
 *   TLS 1.2: one Finished in each direction.  TLS 1.3: NewSessionTicket, sent by the client leg, absorbed by the server leg.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "record/keys.h"
#include "tls/leg.h"

struct sl_server_leg;

/* The leg is DONE, its suite is AES-GCM and its secrets are there. */
bool sl_leg_can_hand_over(const struct sl_leg *leg);

/*
 * Moves the record keys to *keys (a new sl_record_leg, owned by the caller) and the raw bytes that followed the handshake to *rest
 * (initialised by the caller; appended). They are whole or partial records under those keys and go to the transcoder before
 * anything that is read from the socket later. The SSL object is freed; the leg then only holds info and unsent output.
 * SL_ERR_STATE: not possible, see above, or handed over already. SL_ERR_NOMEM, SL_ERR_CRYPTO, SL_ERR_LIMIT (rest is too small).
 * After a failure the leg is unchanged.
 */
sl_err sl_leg_hand_over(struct sl_leg *leg, struct sl_record_leg **keys, struct sl_buf *rest);

/*
 * Server leg between DONE and the hand-over: looks at what the server sent meanwhile (fed before by sl_leg_feed). Records that hold
 * only NewSessionTicket messages go to OpenSSL, so that the session can be resumed; everything from the first other record on stays
 * raw for the hand-over. A fatal alert among what was looked at is taken as the failure it is: in TLS 1.3 a server refuses a
 * missing client certificate only after the handshake has "succeeded".
 *
 * SL_OK; SL_ERR_PEER_ALERT(n): the leg is FAILED, with cause and alert. Other errors: FAILED with cause INTERNAL_ERROR or
 * REC_BAD_MAC.
 */
sl_err sl_server_leg_absorb(struct sl_server_leg *leg);
