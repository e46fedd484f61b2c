/* SPDX-License-Identifier: Apache-2.0 */
/* What a client of sluice-card sends, as far as the engine's commands: sl_card_command_from and its like take any message. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "card/service/convert.h"
#include "rpc/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void commands(struct sl_card_hasher *hasher, Sluice__Card__V1__Commands *all)
{
    struct sl_engine_command command;
    struct sl_card_extra extra;
    struct sl_diag diag;
    for (size_t i = 0; i < all->n_commands; i++) {
        memset(&command, 0, sizeof command);
        memset(&extra, 0, sizeof extra);
        if (sl_card_command_from(hasher, all->commands[i], &command, &extra, &diag) == SL_OK && command.flow == 0)
            abort();
    }
    sl_card_wipe_commands(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const ProtobufCMessageDescriptor *const types[] = {&sluice__card__v1__commands__descriptor, &sluice__card__v1__rule__descriptor,
                                                       &openoffload__v1__session_request__descriptor};
    struct sl_card_hasher *hasher = NULL;
    ProtobufCMessage *message = NULL;
    struct sl_engine_command command;
    struct sl_card_extra extra;
    struct card_rule rule;
    if (size < 1 || sl_rpc_message_unpack(types[data[0] % 3], data + 1, size - 1, &message, NULL) != SL_OK)
        return 0;
    memset(&command, 0, sizeof command);
    if (message->descriptor == types[0] && sl_card_hasher_new(&hasher) == SL_OK)
        commands(hasher, (Sluice__Card__V1__Commands *)message);
    else if (message->descriptor == types[1])
        sl_card_rule_from((const Sluice__Card__V1__Rule *)message, &rule, NULL);
    else if (message->descriptor == types[2])
        sl_card_offload_from((const Openoffload__V1__SessionRequest *)message, &command, &extra, NULL);
    sl_card_hasher_free(hasher);
    sl_rpc_message_free(message);
    return 0;
}
