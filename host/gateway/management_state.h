/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the management service, shared by management*.c. */
#pragma once

#include <pthread.h>

#include "gateway/management.h"
#include "policy/store.h"

enum { SL_MGMT_AUTHOR_MAX = 272 };

struct sl_mgmt {
    struct sl_mgmt_deps deps;
    struct sl_rpc_server *server;
    struct sl_rpc_service service;
    int tcp_port;
    uint32_t watch_patience_ms;
    pthread_mutex_t
        change; /* held from a commit to the end of apply_snapshot, and while the CA is replaced: changes take effect in order */
};

/* ---- management.c ---- */
/* SL_ERR_DENIED with what to do, unless the caller may change things. First thing in every handler that does. */
sl_err sl_mgmt_authorise(const struct sl_rpc_call *call, struct sl_diag *diag);
/* The caller's name for history and events: a user's name, or that in the certificate. */
void sl_mgmt_author(const struct sl_rpc_call *call, char out[static SL_MGMT_AUTHOR_MAX]);
/* A log line and a SYSTEM event: "<author> <what>". */
void sl_mgmt_record(struct sl_mgmt *m, const char *author, uint64_t version, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Puts a copy into a field of a response that is still at its initial value. */
sl_err sl_mgmt_set(char **field, const char *value);
uint64_t sl_mgmt_now(const struct sl_mgmt *m);

/* ---- management_config.c ---- */
sl_err sl_mgmt_get_config(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
sl_err sl_mgmt_set_candidate(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
sl_err sl_mgmt_discard_candidate(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
sl_err sl_mgmt_validate_candidate(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
sl_err sl_mgmt_diff_config(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
sl_err sl_mgmt_commit(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
sl_err sl_mgmt_list_versions(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
sl_err sl_mgmt_rollback(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
/* Moves a candidate into a response. */
void sl_mgmt_give_candidate(struct sl_policy_candidate *candidate, Sluice__V1__ConfigSnapshot *out);
/* Lets the running gateway know of a commit; call it with the change lock held. A failure becomes a warning of the commit. */
void sl_mgmt_apply(struct sl_mgmt *m, struct sl_policy_commit *commit);

/* ---- management_trust.c ---- */
sl_err sl_mgmt_init_ca(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
sl_err sl_mgmt_get_ca(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
sl_err sl_mgmt_import_certificate(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
sl_err sl_mgmt_remove_certificate(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
/* The SHA-256 of the decryption CA's certificate. SL_ERR_NOT_FOUND: there is none. */
sl_err sl_mgmt_ca_sha256(struct sl_mgmt *m, char out[static 65], struct sl_diag *diag);

/* ---- management_event.c ---- */
sl_err sl_mgmt_list_events(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
sl_err sl_mgmt_get_event(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
sl_err sl_mgmt_watch_events(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
sl_err sl_mgmt_apply_remedy(void *, struct sl_rpc_call *, const ProtobufCMessage *, ProtobufCMessage *, struct sl_diag *);
