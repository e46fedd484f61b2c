/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rpc/decode.h"
#include "rpc/message.h"
#include "sluice/test/v1/conformance.pb-c.h"
#include "sluice/test/v1/presence.pb-c.h"

#define KINDS (&sluice__test__v1__kinds__descriptor)
#define NEEDY (&sluice__test__v1__needy__descriptor)

static void same_bytes(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    const size_t len = protobuf_c_message_get_packed_size(a);
    uint8_t *bytes = malloc(2 * len + 1);
    assert_non_null(bytes);
    assert_int_equal(protobuf_c_message_get_packed_size(b), len);
    protobuf_c_message_pack(a, bytes);
    protobuf_c_message_pack(b, bytes + len);
    assert_memory_equal(bytes, bytes + len, len);
    free(bytes);
}

/* Every way: into memory of its own, into an arena, and from an arena's piece. */
static sl_err unpack(const ProtobufCMessageDescriptor *type, const char *bytes, size_t len, struct sl_diag *diag)
{
    struct sl_rpc_arena *arena = NULL;
    ProtobufCMessage *message = NULL, *in_arena = NULL;
    sl_err err = sl_rpc_message_unpack(type, (const uint8_t *)bytes, len, &message, diag);
    assert_true((err == SL_OK) == (message != NULL));
    assert_int_equal(sl_rpc_arena_new(&arena), SL_OK);
    assert_int_equal(sl_rpc_message_unpack_in(arena, type, (const uint8_t *)bytes, len, &in_arena, NULL), err);
    assert_true((err == SL_OK) == (in_arena != NULL));
    if (err == SL_OK)
        same_bytes(message, in_arena);
    uint8_t *lent = sl_rpc_arena_take(arena, len);
    assert_non_null(lent);
    memcpy(lent, bytes, len);
    in_arena = NULL;
    assert_int_equal(sl_rpc_message_unpack_lent(arena, type, lent, len, &in_arena, NULL), err);
    if (err == SL_OK)
        same_bytes(message, in_arena);
    sl_rpc_arena_free(arena);
    sl_rpc_message_free(message);
    return err;
}

static void test_untrusted_bytes(void **state)
{
#define B(text) text, sizeof text - 1
    static const struct {
        const ProtobufCMessageDescriptor *type;
        const char *bytes;
        size_t len;
        sl_err err;
        const char *text;
    } T[] = {
        {KINDS, B(""), SL_OK, ""},
        {KINDS, B("\x08\x01"), SL_OK, ""},
        {KINDS, B("\x08"), SL_ERR_INVALID, "not a message"},
        {KINDS, B("\x00\x01"), SL_ERR_INVALID, "not a message"},                                         /* field number 0 */
        {KINDS, B("\x0b"), SL_ERR_INVALID, "not a message"},                                             /* group */
        {KINDS, B("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), SL_ERR_INVALID, "not a message"}, /* varint of 11 bytes */
        {KINDS, B("\x7a\x01"), SL_ERR_INVALID, "not a message"},                                         /* string ends early */
        {KINDS, B("\x7a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), SL_ERR_INVALID, "not a message"},     /* length 2^64 - 1 */
        {KINDS, B("\x59\x00\x00\x00"), SL_ERR_INVALID, "not a message"},                                 /* fixed64 ends early */
        {KINDS, B("\x7a\x02ok"), SL_OK, ""},
        {KINDS, B("\x7a\x03o\x00k"), SL_ERR_INVALID, "field f_string is not UTF-8 text"},
        {KINDS, B("\x7a\x01\x80"), SL_ERR_INVALID, "field f_string"},
        {KINDS, B("\x7a\x01\xc3"), SL_ERR_INVALID, "field f_string"},
        {KINDS, B("\x7a\x02\xc3\x28"), SL_ERR_INVALID, "field f_string"},
        {KINDS, B("\x7a\x02\xc0\x80"), SL_ERR_INVALID, "field f_string"},         /* overlong NUL */
        {KINDS, B("\x7a\x03\xe0\x80\xaf"), SL_ERR_INVALID, "field f_string"},     /* overlong '/' */
        {KINDS, B("\x7a\x03\xed\xa0\x80"), SL_ERR_INVALID, "field f_string"},     /* surrogate */
        {KINDS, B("\x7a\x04\xf4\x90\x80\x80"), SL_ERR_INVALID, "field f_string"}, /* beyond U+10FFFF */
        {KINDS, B("\x7a\x04\xf0\x8f\xbf\xbf"), SL_ERR_INVALID, "field f_string"}, /* overlong */
        {KINDS, B("\x7a\x01\xf8"), SL_ERR_INVALID, "field f_string"},
        {KINDS, B("\x7a\x0b\xc3\xa4\xe2\x82\xac\xf0\x9f\x99\x82\xc3\x9f"), SL_OK, ""},
        {KINDS, B("\x8a\x01\x03\x7a\x01\xff"), SL_ERR_INVALID, "field f_string"},    /* in a sub-message */
        {KINDS, B("\xe2\x01\x01\xff"), SL_ERR_INVALID, "field r_string"},            /* in a list */
        {KINDS, B("\x9a\x03\x05\x0a\x01\xff\x12\x00"), SL_ERR_INVALID, "field key"}, /* in a map */
        {KINDS, B("\x82\x01\x02\x00\xff"), SL_OK, ""},                               /* bytes may be anything */
        {KINDS, B("\xfa\x7f\x01\xff"), SL_OK, ""},                                   /* unknown field */
        {KINDS, B("\x7d\x00\x00\x00\x00"), SL_ERR_INVALID, "not a message"},         /* string with wire type 5 */
        {NEEDY, B(""), SL_ERR_INVALID, "not a message"},                             /* a required field is missing */
    };
    (void)state;
    for (size_t i = 0; i < sizeof T / sizeof T[0]; i++) {
        struct sl_diag diag = {0};
        /* A heap copy without slack, so that the sanitizer sees a read beyond the end. */
        char *exact = malloc(T[i].len > 0 ? T[i].len : 1);
        memcpy(exact, T[i].bytes, T[i].len);
        sl_err err = unpack(T[i].type, exact, T[i].len, &diag);
        if (err != T[i].err || strncmp(diag.text, T[i].text, strlen(T[i].text)) != 0)
            fail_msg("case %zu: %d %s", i, err, diag.text);
        free(exact);
    }
}

/* Sub-messages in sub-messages, from the inside out: tag 17 (0x8a 0x01), length of 3 bytes. */
static char *nested(size_t depth, size_t *len)
{
    size_t size = depth * 5;
    char *bytes = malloc(size + 1);
    for (size_t i = 0; i < depth; i++) {
        size_t rest = size - (i + 1) * 5;
        char header[5] = {(char)0x8a, 0x01, (char)(0x80 | (rest & 0x7f)), (char)(0x80 | ((rest >> 7) & 0x7f)), (char)(rest >> 14)};
        memcpy(bytes + i * 5, header, 5);
    }
    *len = size;
    return bytes;
}

static void test_depth_is_limited(void **state)
{
    static const struct {
        size_t depth;
        sl_err err;
    } T[] = {{1, SL_OK}, {SL_RPC_DEPTH_MAX - 1, SL_OK}, {SL_RPC_DEPTH_MAX, SL_ERR_LIMIT}, {200000, SL_ERR_LIMIT}};
    (void)state;
    for (size_t i = 0; i < sizeof T / sizeof T[0]; i++) {
        size_t len;
        char *bytes = nested(T[i].depth, &len);
        assert_int_equal(unpack(KINDS, bytes, len, NULL), T[i].err);
        free(bytes);
    }
}

static void test_submessages_are_limited(void **state)
{
    /* Field 30 (r_message), empty: 0xf2 0x01 0x00. */
    size_t count = SL_RPC_SUBMESSAGES_MAX + 1;
    char *bytes = malloc(count * 3);
    (void)state;
    for (size_t i = 0; i < count; i++)
        memcpy(bytes + i * 3, "\xf2\x01\x00", 3);
    assert_int_equal(unpack(KINDS, bytes, count * 3, NULL), SL_ERR_LIMIT);
    assert_int_equal(unpack(KINDS, bytes, 3000, NULL), SL_OK);
    free(bytes);
}

/* What is decoded in one pass, and what is left to protobuf-c. Either way the outcome is the same. */
static void test_usual(void **state)
{
    static const struct {
        const ProtobufCMessageDescriptor *type;
        const char *bytes;
        size_t len;
        bool usual;
    } T[] = {
        {KINDS, B(""), true},
        {KINDS, B("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), true}, /* int32 -1 */
        {KINDS, B("\x10\x03\x38\x03"), true},                             /* sint -2 */
        {KINDS, B("\x10\xff\xff\xff\xff\x0f\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), true},
        {KINDS, B("\x1d\x01\x02\x03\x80\x2d\x01\x02\x03\x80\x5d\x00\x00\x80\x3f"), true},
        {KINDS, B("\x41\x01\x02\x03\x04\x05\x06\x07\x80\x51\x01\x02\x03\x04\x05\x06\x07\x80"), true},
        {KINDS, B("\x20\x07\x48\x07\x68\x01\x70\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), true}, /* enum -1 */
        {KINDS, B("\x7a\x00\x82\x01\x00"), true},                                                 /* empty ones */
        {KINDS, B("\x82\x01\x03\x00\xff\x01"), true},
        {KINDS, B("\x08\x01\x08\x02\x7a\x01x\x7a\x01y"), true}, /* twice: the last one counts */
        {KINDS, B("\x7a\x01x\x08\x01"), true},                  /* not in order */
        {KINDS, B("\x8a\x01\x02\x08\x01"), true},
        {KINDS, B("\x8a\x01\x02\x08\x01\x8a\x01\x02\x10\x01"), false}, /* to be merged */
        {KINDS, B("\xf2\x01\x02\x08\x01\xf2\x01\x00\xf2\x01\x02\x08\x03"), true},
        {KINDS, B("\xf2\x01\x02\x08\x01\x08\x01\xf2\x01\x00"), false},     /* not in a row */
        {KINDS, B("\xa8\x01\x01"), false},                                 /* numbers in a row */
        {KINDS, B("\xe2\x01\x01x"), false},                                /* texts in a row */
        {KINDS, B("\xc8\x02\x07"), true},                                  /* a oneof */
        {KINDS, B("\xc8\x02\x07\xd2\x02\x01x"), false},                    /* twice */
        {KINDS, B("\xe2\x02\x02\x08\x01"), true},                          /* a message in it */
        {KINDS, B("\x9a\x03\x06\x0a\x01k\x12\x01v\x9a\x03\x00"), true},    /* a map */
        {KINDS, B("\xfa\x7f\x01x"), false},                                /* unknown */
        {KINDS, B("\x88\x80\x00\x01"), false},                             /* a tag of three bytes */
        {KINDS, B("\x7a\x81\x80\x80\x80\x00x"), false},                    /* a length of five */
        {KINDS, B("\x68\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"), false}, /* a bool beyond 64 bits */
        {KINDS, B("\x0d\x01\x00\x00\x00"), false},                         /* a varint with wire type 5 */
        {KINDS, B("\x0a\x01\x00"), false},                                 /* and 2 */
        {KINDS, B("\x78\x01"), false},                                     /* a text with 0 */
        {KINDS, B("\x8d\x01\x00\x00\x00\x00"), false},                     /* a message with 5 */
        {KINDS, B("\x1d\x01\x02\x03"), false},                             /* cut short */
        {KINDS, B("\x41\x01\x02\x03\x04\x05\x06\x07"), false},
        {KINDS, B("\xf2\x01\x02\x08"), false},
        {KINDS, B("\xf2\x01\x02\x08\x01\xf2"), false},
        {NEEDY, B(""), false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof T / sizeof T[0]; i++) {
        struct sl_rpc_arena *arena = NULL;
        ProtobufCMessage *message = NULL;
        char *exact = malloc(T[i].len > 0 ? T[i].len : 1);
        memcpy(exact, T[i].bytes, T[i].len);
        (void)unpack(T[i].type, exact, T[i].len, NULL);
        assert_int_equal(sl_rpc_arena_new(&arena), SL_OK);
        const bool usual = sl_rpc_decode_usual(arena, T[i].type, (const uint8_t *)exact, T[i].len, false, &message);
        if (usual != T[i].usual || usual != (message != NULL))
            fail_msg("case %zu: %d", i, usual);
        sl_rpc_arena_free(arena);
        free(exact);
    }
}

/* Fields of any kind, some of them broken, in any order and nesting. */
static size_t random_fields(uint8_t *out, size_t room, unsigned depth)
{
    size_t n = 0;
    for (int fields = rand() % 6; fields > 0 && n + 24 < room; fields--) {
        static const uint8_t WIRE[] = {0, 0, 0, 5, 5, 0, 0, 1, 0, 1, 5, 1, 0, 0, 2, 2, 2};
        unsigned number = 1 + (unsigned)rand() % 17, wire = WIRE[number - 1];
        switch (rand() % 8) {
        case 0:
            number = 30; /* r_message */
            wire = 2;
            break;
        case 1:
            number = 41 + (unsigned)rand() % 6; /* choice */
            wire = number >= 42 && number <= 44 ? 2 : 0;
            break;
        case 2:
            number = 51 + (unsigned)rand() % 4; /* maps */
            wire = 2;
            break;
        default:
            break;
        }
        if (rand() % 64 == 0)
            wire = (unsigned)rand() % 8;
        const unsigned tag = number << 3 | wire;
        if (tag >= 0x80)
            out[n++] = (uint8_t)(tag | 0x80);
        out[n++] = (uint8_t)(tag >= 0x80 ? tag >> 7 : tag);
        if (wire == 0) {
            for (int more = rand() % 10; more > 0; more--)
                out[n++] = (uint8_t)(rand() | 0x80);
            out[n++] = (uint8_t)(rand() % 0x80);
        } else if (wire == 1 || wire == 5) {
            for (int left = wire == 1 ? 8 : 4; left > 0; left--)
                out[n++] = (uint8_t)rand();
        } else if (wire == 2) {
            size_t inside = 0;
            uint8_t *length = &out[n++];
            const size_t most = room - n < 100 ? room - n : 100;
            if (number == 17 || number == 30 || number == 44 || number > 50)
                inside = depth < 4 ? random_fields(out + n, most, depth + 1) : 0;
            else
                for (inside = (size_t)rand() % 8; inside > 0 && rand() % 16 != 0; inside--)
                    out[n++] = (uint8_t)(rand() % 32 == 0 ? rand() : 'a' + rand() % 26);
            *length = (uint8_t)(out + n + inside - length - 1 + (rand() % 64 == 0));
            n += inside;
        }
    }
    return n;
}

static void test_random(void **state)
{
    uint8_t bytes[512];
    const char *given = getenv("SLUICE_SEED");
    const unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL) ^ (unsigned)getpid() << 16;
    size_t good = 0;
    (void)state;
    print_message("SLUICE_SEED=%u\n", seed);
    srand(seed);
    for (unsigned i = 0; i < 50000; i++) {
        const size_t len = random_fields(bytes, sizeof bytes, 0);
        good += unpack(KINDS, (const char *)bytes, len, NULL) == SL_OK;
    }
    print_message("%zu of 50000 decode\n", good);
    assert_true(good > 5000);
}

static void test_copy_and_assign(void **state)
{
    Sluice__Test__V1__EchoRequest request = SLUICE__TEST__V1__ECHO_REQUEST__INIT;
    Sluice__Test__V1__EchoResponse other = SLUICE__TEST__V1__ECHO_RESPONSE__INIT;
    ProtobufCMessage *copy = NULL, *target = NULL;
    (void)state;
    request.text = (char *)(uintptr_t) "text";
    request.number = -7;
    assert_int_equal(sl_rpc_message_copy(&request.base, &copy), SL_OK);
    assert_int_equal(sl_rpc_message_new(request.base.descriptor, &target), SL_OK);
    assert_int_equal(sl_rpc_message_assign(target, &other.base), SL_ERR_INVALID);
    assert_int_equal(sl_rpc_message_assign(target, copy), SL_OK);
    sl_rpc_message_free(copy);
    assert_string_equal(((Sluice__Test__V1__EchoRequest *)target)->text, "text");
    assert_int_equal(((Sluice__Test__V1__EchoRequest *)target)->number, -7);
    sl_rpc_message_free(target);
    sl_rpc_message_free(NULL);
}

static void test_arena(void **state)
{
    static const size_t SIZES[] = {0, 1, 15, 16, 17, 4096, 100000, 3, 2000000, 64};
    enum { COUNT = sizeof SIZES / sizeof SIZES[0] };
    static const uint8_t zero[64];
    struct sl_rpc_arena *arena = NULL;
    uint8_t *piece[COUNT];
    (void)state;
    assert_int_equal(sl_rpc_arena_new(&arena), SL_OK);
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            piece[i] = sl_rpc_arena_take(arena, SIZES[i]);
            assert_non_null(piece[i]);
            assert_int_equal((uintptr_t)piece[i] % _Alignof(max_align_t), 0);
            memset(piece[i], (int)(i + 1), SIZES[i]);
        }
        for (size_t i = 0; i < COUNT; i++) /* none overlaps another */
            for (size_t k = 0; k < SIZES[i]; k++)
                assert_int_equal(piece[i][k], i + 1);
        sl_rpc_arena_reset(arena);
    }
    assert_null(sl_rpc_arena_take(arena, SIZE_MAX));
    /* G13: what is taken back is wiped. The block stays, so the same bytes come again. */
    sl_rpc_arena_free(arena);
    assert_int_equal(sl_rpc_arena_new(&arena), SL_OK);
    piece[0] = sl_rpc_arena_take(arena, sizeof zero);
    memset(piece[0], 0xa5, sizeof zero);
    sl_rpc_arena_reset(arena);
    assert_ptr_equal(sl_rpc_arena_take(arena, sizeof zero), piece[0]);
    assert_memory_equal(piece[0], zero, sizeof zero);
    sl_rpc_arena_free(arena);
    sl_rpc_arena_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_untrusted_bytes),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_submessages_are_limited),
        cmocka_unit_test(test_usual),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_copy_and_assign),
        cmocka_unit_test(test_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
