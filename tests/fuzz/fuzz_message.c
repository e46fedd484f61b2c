/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes from a peer as a message. What decodes must copy, print as JSON, and be readable from there. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/json.h"
#include "rpc/message.h"
#include "sluice/test/v1/conformance.pb-c.h"
#include "sluice/test/v1/presence.pb-c.h"
#include "sluice/v1/management.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Into an arena, which is decoded in another way: the same outcome and the same message. */
static void compare(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len, bool lent, sl_err err,
                    const ProtobufCMessage *message)
{
    struct sl_rpc_arena *arena = NULL;
    ProtobufCMessage *again = NULL;
    uint8_t *mine;
    struct sl_diag diag;
    if (sl_rpc_arena_new(&arena) != SL_OK || (mine = sl_rpc_arena_take(arena, len)) == NULL)
        abort();
    memcpy(mine, bytes, len);
    if ((lent ? sl_rpc_message_unpack_lent(arena, type, mine, len, &again, &diag)
              : sl_rpc_message_unpack_in(arena, type, bytes, len, &again, &diag)) != err)
        abort();
    if (err == SL_OK) {
        const size_t packed = protobuf_c_message_get_packed_size(message);
        uint8_t *both = malloc(2 * packed + 1);
        if (both == NULL || protobuf_c_message_get_packed_size(again) != packed)
            abort();
        protobuf_c_message_pack(message, both);
        protobuf_c_message_pack(again, both + packed);
        if (memcmp(both, both + packed, packed) != 0)
            abort();
        free(both);
    }
    sl_rpc_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const ProtobufCMessageDescriptor *const types[] = {
        &sluice__test__v1__kinds__descriptor, &sluice__v1__config_snapshot__descriptor, &sluice__test__v1__presence__descriptor,
        &sluice__test__v1__needy__descriptor};
    struct sl_diag diag;
    ProtobufCMessage *message = NULL, *copy = NULL, *again = NULL;
    char *text = NULL;
    if (size < 1)
        return 0;
    const ProtobufCMessageDescriptor *type = types[data[0] & 3];
    sl_err err = sl_rpc_message_unpack(type, data + 1, size - 1, &message, &diag);
    compare(type, data + 1, size - 1, false, err, message);
    compare(type, data + 1, size - 1, true, err, message);
    if (err != SL_OK)
        return 0;
    if (sl_rpc_message_copy(message, &copy) != SL_OK)
        abort();
    if (sl_json_print(copy, SL_JSON_DEFAULTS, &text, &diag) != SL_OK)
        abort();
    if (sl_json_parse(message->descriptor, text, strlen(text), 0, &again, &diag) != SL_OK)
        abort();
    free(text);
    sl_rpc_message_free(message);
    sl_rpc_message_free(copy);
    sl_rpc_message_free(again);
    return 0;
}
