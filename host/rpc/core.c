/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/core.h"

#include <grpc/compression.h>
#include <grpc/grpc_posix.h>
#include <grpc/support/log.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "rpc/message.h"

/* The probe: what 1.51 (core 29) declares. A release that changes one of these must be looked at, not merely compiled. */
#define SAME_TYPE(function, type)                                                                                                  \
    static_assert(__builtin_types_compatible_p(__typeof__(&(function)), type), #function " has changed")
#include <assert.h>
SAME_TYPE(grpc_server_add_channel_from_fd, void (*)(grpc_server *, int, grpc_server_credentials *));
SAME_TYPE(grpc_server_add_http2_port, int (*)(grpc_server *, const char *, grpc_server_credentials *));
SAME_TYPE(grpc_channel_create, grpc_channel *(*)(const char *, grpc_channel_credentials *, const grpc_channel_args *));
SAME_TYPE(grpc_call_start_batch, grpc_call_error (*)(grpc_call *, const grpc_op *, size_t, void *, void *));
SAME_TYPE(grpc_server_request_call, grpc_call_error (*)(grpc_server *, grpc_call **, grpc_call_details *, grpc_metadata_array *,
                                                        grpc_completion_queue *, grpc_completion_queue *, void *));
SAME_TYPE(grpc_completion_queue_next, grpc_event (*)(grpc_completion_queue *, gpr_timespec, void *));
SAME_TYPE(grpc_completion_queue_pluck, grpc_event (*)(grpc_completion_queue *, void *, gpr_timespec, void *));
static const char CORE_VERSION[] = "29.";

/* gRPC's own log lines become ours; what it calls an error (a handshake that failed, say) is a warning for a daemon. */
static void log_line(gpr_log_func_args *args)
{
    if (args->severity == GPR_LOG_SEVERITY_ERROR)
        sl_log(SL_LOG_WARN, "grpc", args->message);
}

sl_err sl_rpc_core_acquire(struct sl_diag *diag)
{
    sigset_t old;
    if (strncmp(grpc_version_string(), CORE_VERSION, strlen(CORE_VERSION)) != 0)
        return sl_fail(diag, SL_ERR_UNSUPPORTED, "libgrpc core %s found, %sx needed: install libgrpc29", grpc_version_string(),
                       CORE_VERSION);
    gpr_set_log_function(log_line);
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
    sl_rpc_core_block_signals(&old);
    grpc_init();
    sl_rpc_core_restore_signals(&old);
    return SL_OK;
}

void sl_rpc_core_release(void)
{
    grpc_shutdown_blocking();
}

void sl_rpc_core_block_signals(void *old_sigset)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, old_sigset);
}

void sl_rpc_core_restore_signals(const void *old_sigset)
{
    pthread_sigmask(SIG_SETMASK, old_sigset, NULL);
}

grpc_arg sl_rpc_core_no_compression(void)
{
    return sl_rpc_core_int_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE);
}

#ifdef SL_RPC_TSAN
/* Debian's libgrpc and what it stands on aren't built with ThreadSanitizer, which therefore doesn't see their locks: what it
 * reports from inside of them isn't so, nor that their memory is read here. Our own code is judged, in every program that links
 * this. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libgrpc.so\ncalled_from_lib:libgpr.so\nrace:libgrpc.so\nrace:libabsl_\nrace:libupb.so\n"
           "race:libstdc++.so\nrace:libssl.so\nrace:libcrypto.so\nrace:sl_rpc_core_copy_text\n";
}
#endif

size_t sl_rpc_core_copy_text(grpc_slice slice, char *out, size_t size)
{
    size_t len = GRPC_SLICE_LENGTH(slice) < size ? GRPC_SLICE_LENGTH(slice) : size - 1;
    memcpy(out, GRPC_SLICE_START_PTR(slice), len);
    out[len] = '\0';
    return len;
}

sl_err sl_rpc_core_pack(const ProtobufCMessage *message, size_t max_bytes, grpc_byte_buffer **out, size_t *len)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > max_bytes || size > INT_MAX)
        return SL_ERR_LIMIT;
    grpc_slice slice = grpc_slice_malloc(size);
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    *out = grpc_raw_byte_buffer_create(&slice, 1);
    *len = size;
    grpc_slice_unref(slice);
    return SL_OK;
}

static sl_err unpack(struct sl_rpc_arena *arena, uint8_t *bytes, size_t len, const ProtobufCMessageDescriptor *type,
                     ProtobufCMessage **out, struct sl_diag *diag)
{
    return arena != NULL ? sl_rpc_message_unpack_lent(arena, type, bytes, len, out, diag)
                         : sl_rpc_message_unpack(type, bytes, len, out, diag);
}

/* With an arena, the pieces are put together in it, and parts of the message stay there. Otherwise what came in one piece is
 * decoded where it lies. */
static sl_err unpack_pieces(grpc_byte_buffer_reader *reader, size_t len, struct sl_rpc_arena *arena,
                            const ProtobufCMessageDescriptor *type, ProtobufCMessage **out, struct sl_diag *diag)
{
    grpc_slice *piece = NULL;
    uint8_t *whole = NULL;
    size_t filled = 0;
    while (grpc_byte_buffer_reader_peek(reader, &piece) != 0) {
        const size_t count = GRPC_SLICE_LENGTH(*piece);
        if (arena == NULL && whole == NULL && count == len)
            return unpack(NULL, GRPC_SLICE_START_PTR(*piece), len, type, out, diag);
        if (whole == NULL && (whole = arena != NULL ? sl_rpc_arena_take(arena, len) : malloc(len)) == NULL)
            return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
        if (count > len - filled) /* longer than it said: cannot be */
            break;
        memcpy(whole + filled, GRPC_SLICE_START_PTR(*piece), count);
        filled += count;
    }
    sl_err err =
        filled == len ? unpack(arena, whole, len, type, out, diag) : sl_fail(diag, SL_ERR_INVALID, "the message is cut short");
    if (arena == NULL)
        free(whole);
    return err;
}

sl_err sl_rpc_core_unpack(grpc_byte_buffer *bytes, struct sl_rpc_arena *arena, const ProtobufCMessageDescriptor *type,
                          ProtobufCMessage **out, struct sl_diag *diag)
{
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, bytes))
        return sl_fail(diag, SL_ERR_INVALID, "the message can't be decompressed");
    sl_err err = unpack_pieces(&reader, grpc_byte_buffer_length(bytes), arena, type, out, diag);
    grpc_byte_buffer_reader_destroy(&reader);
    return err;
}
