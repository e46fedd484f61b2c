/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a configuration from a client: validated, compiled, decided with. What validates without errors compiles, and the
 * reverse. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/snapshot.h"
#include "policy/validate.h"
#include "rpc/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decide(const struct sl_policy_snapshot *s, const Sluice__V1__Config *c)
{
    static const enum sl_name_state STATES[] = {SL_NAME_PENDING, SL_NAME_ABSENT, SL_NAME_KNOWN};
    struct sl_policy_query q = {.server_port = 443, .now_ns = 1};
    struct sl_policy_decryption d;
    struct sl_policy_access a;

    (void)sl_addr_parse("10.0.0.1", &q.client);
    (void)sl_addr_parse("2001:db8::1", &q.server);
    for (size_t i = 0; i < 3; i++) {
        q.name_state = STATES[i];
        q.name = c->n_hosts && c->hosts[0]->n_patterns ? c->hosts[0]->patterns[0] : "www.example.com";
        sl_policy_decide_decryption(s, &q, &d);
        sl_policy_decide_access(s, &q, &a);
        if (q.name_state != SL_NAME_PENDING && (d.outcome != SL_POLICY_DECIDED || a.outcome != SL_POLICY_DECIDED))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ProtobufCMessage *message = NULL;
    struct sl_policy_snapshot *s = NULL;
    struct sl_findings findings;
    struct sl_diag diag = {""};

    if (sl_rpc_message_unpack(&sluice__v1__config__descriptor, data, size, &message, &diag))
        return 0;
    const Sluice__V1__Config *config = (const Sluice__V1__Config *)message;
    if (sl_policy_validate(config, 1, &findings))
        abort();
    sl_err err = sl_policy_snapshot_new(config, 1, &s, &diag);
    if ((err == SL_OK) != (findings.errors == 0) || (err && !diag.text[0]))
        abort();
    if (!err)
        decide(s, config);
    sl_policy_snapshot_unref(s);
    sl_findings_free(&findings);
    sl_rpc_message_free(message);
    return 0;
}
