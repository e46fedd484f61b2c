/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes from a peer as a message. What decodes must copy, print as JSON, and be readable from there. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/json.h"
#include "rpc/message.h"
#include "sluice/test/v1/conformance.pb-c.h"
#include "sluice/test/v1/presence.pb-c.h"
#include "sluice/v1/management.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const ProtobufCMessageDescriptor *const types[] = {
        &sluice__test__v1__kinds__descriptor, &sluice__v1__config_snapshot__descriptor, &sluice__test__v1__presence__descriptor,
        &sluice__test__v1__needy__descriptor};
    struct sl_diag diag;
    ProtobufCMessage *message = NULL, *copy = NULL, *again = NULL;
    struct sl_rpc_arena *arena = NULL;
    char *text = NULL;
    if (size < 1)
        return 0;
    if (sl_rpc_arena_new(&arena) != SL_OK)
        abort();
    sl_err err = sl_rpc_message_unpack(types[data[0] & 3], data + 1, size - 1, &message, &diag);
    if (sl_rpc_message_unpack_in(arena, types[data[0] & 3], data + 1, size - 1, &again, &diag) != err ||
        (err == SL_OK && protobuf_c_message_get_packed_size(again) != protobuf_c_message_get_packed_size(message)))
        abort();
    again = NULL;
    sl_rpc_arena_free(arena);
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
