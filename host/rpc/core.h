/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gRPC core C API, as far as server and client share it. Private to rpc/. The API is not stable between minor releases: only
 * the files that include this header call grpc_*, core.c checks the signatures at compile time and the library's version at run
 * time.
 */
#pragma once

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "rpc/arena.h"
#include "rpc/server.h"

enum {
    SL_RPC_MESSAGE_BYTES_DEFAULT = 4 << 20,
    SL_RPC_KEEPALIVE_TIME_MS_DEFAULT = 30000,
    SL_RPC_KEEPALIVE_TIMEOUT_MS_DEFAULT = 10000
};

/* The library is initialised while anybody holds it. SL_ERR_UNSUPPORTED: the library found at run time isn't the one built for. */
sl_err sl_rpc_core_acquire(struct sl_diag *diag);
void sl_rpc_core_release(void);

/* The core's text as a string, truncated to size - 1 characters. Returns its length. */
size_t sl_rpc_core_copy_text(grpc_slice slice, char *out, size_t size);

/* A message as gRPC's bytes. SL_ERR_LIMIT, SL_ERR_NOMEM; then *out is unchanged. */
sl_err sl_rpc_core_pack(const ProtobufCMessage *message, size_t max_bytes, grpc_byte_buffer **out, size_t *len);
/* gRPC's bytes as a message; see sl_rpc_message_unpack, or with an arena that isn't NULL sl_rpc_message_unpack_in. The bytes remain
 * the caller's. */
sl_err sl_rpc_core_unpack(grpc_byte_buffer *bytes, struct sl_rpc_arena *arena, const ProtobufCMessageDescriptor *type,
                          ProtobufCMessage **out, struct sl_diag *diag);

/* Blocks every signal in the calling thread and returns what was blocked before; threads made meanwhile inherit it. */
void sl_rpc_core_block_signals(void *old_sigset);
void sl_rpc_core_restore_signals(const void *old_sigset);

static inline grpc_op sl_rpc_core_op(grpc_op_type type)
{
    grpc_op op;
    memset(&op, 0, sizeof op);
    op.op = type;
    return op;
}

static inline grpc_arg sl_rpc_core_int_arg(const char *key, int value)
{
    grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key};
    arg.value.integer = value;
    return arg;
}

/*
 * ThreadSanitizer can't see that the core, which isn't built with it, hands a tag from the thread that starts an operation to the
 * one that takes its completion. These two say so.
 */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SL_RPC_TSAN 1
#endif
#endif
#ifdef SL_RPC_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
static inline void sl_rpc_core_hand_over(void *tag)
{
    __tsan_release(tag);
}
static inline void sl_rpc_core_take_over(void *tag)
{
    __tsan_acquire(tag);
}
#else
static inline void sl_rpc_core_hand_over(void *tag)
{
    (void)tag;
}
static inline void sl_rpc_core_take_over(void *tag)
{
    (void)tag;
}
#endif

/* No compression: a few kilobytes could otherwise become gigabytes behind the message limit. */
grpc_arg sl_rpc_core_no_compression(void);

/* PEM files in memory; checked: readable, PEM, key belongs to certificate. The key is wiped when freed. */
struct sl_rpc_pem {
    char *cert, *key, *ca;
};
sl_err sl_rpc_pem_load(const struct sl_rpc_tls_files *files, struct sl_rpc_pem *out, struct sl_diag *diag);
void sl_rpc_pem_free(struct sl_rpc_pem *pem);
