/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the service, shared by the files with its handlers. */
#pragma once

#include <pthread.h>

#include "card/service/convert.h"
#include "card/service/pipe.h"
#include "card/service/service.h"
#include "rpc/service.h"

enum { SL_CARD_WATCHERS_MAX = 32, SL_CARD_PROGRAMS_MAX = 64, SL_CARD_PAGE_MAX = 4096, SL_CARD_PAGE_DEFAULT = 1000 };

struct sl_card_watcher {
    struct sl_rpc_call *call;
    uint64_t lost; /* not yet told */
    struct sl_card_watcher *next;
};

struct sl_card_service {
    struct sl_card_loop *loop;
    struct sl_rpc_server *server;
    struct sl_rpc_service card, offload;
    bool has_group;
    gid_t group;
    int tcp_port;
    uint64_t start_wall_ns;

    pthread_mutex_t watch_lock;
    struct sl_card_watcher *watchers;
    size_t watcher_count;

    pthread_mutex_t rules_lock;                        /* held while rules are written, and during a reset */
    Sluice__Card__V1__RuleSet *rules[SL_ENGINE_LANES]; /* as they were set; NULL: none */

    pthread_mutex_t programs_lock;
    size_t programs; /* streams of commands in progress */
};

#define SL_CARD_HANDLER(name)                                                                                                      \
    sl_err name(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,                  \
                struct sl_diag *diag)

/* ---- service.c ---- */
/* SL_ERR_DENIED unless the caller may call. First thing in every handler. */
sl_err sl_card_authorise(const struct sl_card_service *s, const struct sl_rpc_call *call, struct sl_diag *diag);
/* Counts a stream of commands; SL_ERR_LIMIT: there are too many. */
sl_err sl_card_program_begin(struct sl_card_service *s, struct sl_diag *diag);
void sl_card_program_end(struct sl_card_service *s);
/* One command, and its completion. The loop's error is in the completion. SL_ERR_NOMEM. */
sl_err sl_card_run(struct sl_card_service *s, const struct sl_engine_command *command, struct sl_engine_completion *out);

/* ---- program.c ---- */
SL_CARD_HANDLER(sl_card_program);

/* ---- inspect.c ---- */
SL_CARD_HANDLER(sl_card_get_info);
SL_CARD_HANDLER(sl_card_get_counters);
SL_CARD_HANDLER(sl_card_get_session);
SL_CARD_HANDLER(sl_card_list_sessions);
/* A page of sessions with their counters, from the engine. sessions: max of them, copies; a session that went away meanwhile is
 * left out. */
struct sl_card_row {
    struct sl_card_session session;
    struct sl_engine_lane_counters lane[SL_ENGINE_LANES];
    bool valid;
};
sl_err sl_card_read_page(struct sl_card_service *s, uint64_t from, size_t max, struct sl_card_row *rows, size_t *count,
                         uint64_t *next);
/* One session with its counters. SL_ERR_NOT_FOUND, SL_ERR_UNAVAILABLE, SL_ERR_NOMEM. */
sl_err sl_card_read_session(struct sl_card_service *s, uint64_t flow, struct sl_card_row *out, struct sl_diag *diag);

/* ---- rules.c ---- */
SL_CARD_HANDLER(sl_card_set_rules);
SL_CARD_HANDLER(sl_card_get_rules);
SL_CARD_HANDLER(sl_card_reset);

/* ---- watch.c ---- */
SL_CARD_HANDLER(sl_card_watch_events);

/* ---- openoffload.c ---- */
extern const struct sl_rpc_method sl_card_offload_methods[];
extern const size_t sl_card_offload_method_count;
