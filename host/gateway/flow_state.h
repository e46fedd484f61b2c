/* SPDX-License-Identifier: Apache-2.0 */
/* A flow's inside, shared by flow.c, decide.c, handshake.c, legs.c, relay.c, report.c and report_tls.c and by nobody else. */
#pragma once

#include <netdb.h>

#include "gateway/flow.h"

#include "base/buf.h"
#include "policy/snapshot.h"
#include "record/transcoder.h"
#include "sluice/v1/event.pb-c.h"
#include "tls/client_hello.h"
#include "tls/client_leg.h"
#include "tls/offer.h"
#include "tls/server_leg.h"

struct sl_leaf;

enum sl_flow_state {
    SL_FLOW_REQUEST,          /* explicit: reading the CONNECT request */
    SL_FLOW_RESOLVE,          /* explicit: looking the host up */
    SL_FLOW_HELLO,            /* reading the ClientHello */
    SL_FLOW_CONNECT,          /* the server's TCP connection is being made */
    SL_FLOW_SERVER_HANDSHAKE, /* Sluice as the client of the server */
    SL_FLOW_RECONNECT,        /* the first server connection is closing, a second one follows */
    SL_FLOW_CLIENT_HANDSHAKE, /* Sluice as the server of the client */
    SL_FLOW_RELAY,
    SL_FLOW_LINGER, /* the event is written; the last bytes go out */
    SL_FLOW_CLOSED  /* waiting for the loop to let go of the sockets */
};

enum sl_flow_plan {
    SL_PLAN_UNDECIDED,
    SL_PLAN_DECRYPT,
    SL_PLAN_CONFIRM_NAME, /* a name is to be bypassed: let the server prove it first (V13), then SL_PLAN_BYPASS */
    SL_PLAN_BYPASS,
    SL_PLAN_NON_TLS
};

enum sl_relay_kind { SL_RELAY_BYTES, SL_RELAY_RECORDS, SL_RELAY_OPENSSL };

enum sl_direction { SL_TO_SERVER, SL_TO_CLIENT, SL_DIRECTIONS };

enum {
    SL_FLOW_LATE_ALERTS = 4,   /* alerts noted while the event is packed away */
    SL_FLOW_ADDRESSES_MAX = 8, /* of one name, tried one after the other: an answer can hold thousands */
    SL_FLOW_SANS_REPORTED = 50 /* names of the server's certificate in an event; its DER has all of them */
};

struct sl_late_alert {
    uint8_t level, code, direction;
};

/* What a transcoder's call-backs are given. */
struct sl_flow_direction {
    struct sl_flow *flow;
    enum sl_direction direction;
};

/* What only a handshake needs; released when the relay begins. */
struct sl_handshake {
    struct sl_hello_reader *reader; /* the client's bytes up to the end of its ClientHello, and what came of them */
    struct sl_offer offer;
    struct sl_server_leg *server_leg;
    struct sl_client_leg *client_leg;
    size_t server_alerts, client_alerts; /* of the legs, noted in the event */
    uint8_t *early;                      /* explicit: the request, then what came behind it */
    size_t early_len;
};

struct sl_flow {
    struct sl_link link; /* in one of the worker's lists */
    struct sl_worker *worker;
    struct sl_runtime *runtime;
    enum sl_flow_state state;
    enum sl_flow_plan plan;
    enum sl_relay_kind relay;
    enum sl_listener_kind kind;
    bool counted;         /* in the limits */
    bool overload;        /* beyond a limit, and policy lets such flows pass undecrypted */
    bool tunnel;          /* explicit: the "200" was sent */
    bool hello_seen;      /* the client speaks TLS */
    bool block_reset;     /* a rule wants a reset rather than an alert */
    bool allowed_by_name; /* the access rule that lets it pass names hosts */
    bool relayed;         /* bytes were passed on */
    bool reported;        /* the event was written */
    uint8_t pending;      /* call-backs that the loop still owes: sockets to close, a name to look up */
    unsigned http_status; /* explicit: the answer to a request that can't be served; 0: by cause */
    uint64_t flow_id, connection_id, rule_id;
    uint64_t start_wall_ns;
    uint64_t step_us;     /* when the last step was finished, monotonic */
    uint64_t deadline_ms; /* loop time */
    struct sl_endpoint client_at, server_at;
    char *host; /* explicit: the CONNECT host; NULL: none */
    struct sl_socket client, server;

    struct sl_handshake *handshake;
    uv_getaddrinfo_t *resolving;
    struct addrinfo *resolved, *next_address;
    unsigned addresses_tried;

    struct sl_flow_direction direction[SL_DIRECTIONS];
    struct sl_transcoder *transcoder[SL_DIRECTIONS]; /* SL_RELAY_RECORDS */
    struct sl_server_leg *server_leg;                /* SL_RELAY_OPENSSL */
    struct sl_client_leg *client_leg;
    bool closed[SL_DIRECTIONS];              /* SL_RELAY_OPENSSL: the sender has sent close_notify */
    uint64_t earlier_sent, earlier_received; /* bytes of a first server connection that was given up */

    Sluice__V1__Event *event; /* what is known so far; NULL while packed */
    uint8_t *packed;          /* the event during the relay, when it only costs memory */
    size_t packed_len;
    struct sl_late_alert late_alerts[SL_FLOW_LATE_ALERTS];
    uint8_t late_alert_count;
};

/* ---- flow.c ---- */
void sl_flow_set_state(struct sl_flow *f, enum sl_flow_state state); /* also restarts the state's time limit */
void sl_flow_touch(struct sl_flow *f);                               /* activity in the relay */
/* The end of a flow: its event with this cause and stage, then the last bytes to both sides, or resets. */
void sl_flow_fail(struct sl_flow *f, Sluice__V1__Cause cause, Sluice__V1__Stage stage, const char *error);
void sl_flow_end(struct sl_flow *f, bool reset);
/* Makes the connection to the server (again), then goes on by the flow's plan. */
void sl_flow_connect(struct sl_flow *f);
/* Gives the first server connection up and bypasses on a second one. */
void sl_flow_bypass_late(struct sl_flow *f, const char *reason);

/* ---- decide.c ---- */
/* By addresses, and the CONNECT host. False: the flow was denied and is ended. */
bool sl_decide_addresses(struct sl_flow *f);
/* With the ClientHello, or without one (hello NULL: no TLS). Sets the plan, or ends the flow (false). */
bool sl_decide_hello(struct sl_flow *f, const struct sl_client_hello *hello);

/* ---- handshake.c ---- */
void sl_handshake_free(struct sl_handshake *h); /* NULL is allowed */
void sl_handshake_drop_legs(struct sl_handshake *h);
void sl_handshake_start_server(struct sl_flow *f);
void sl_handshake_server_readable(struct sl_flow *f);
void sl_handshake_client_readable(struct sl_flow *f);
/* The server leg can't be completed: what follows is policy's. */
void sl_handshake_server_failed(struct sl_flow *f, Sluice__V1__Cause cause, Sluice__V1__Stage stage, const char *error);

/* ---- legs.c ---- */
sl_err sl_handshake_new_server_leg(struct sl_flow *f);
/* On failure *cause is set where it is more than an internal error. */
sl_err sl_handshake_new_client_leg(struct sl_flow *f, Sluice__V1__Cause *cause);

/* ---- relay.c ---- */
/* Sockets are open, the relay's objects are in place. What was read of each side before goes out first. */
void sl_relay_start(struct sl_flow *f, struct sl_buf *from_client, struct sl_buf *from_server);
void sl_relay_event(struct sl_flow *f, struct sl_socket *s, bool readable, bool writable);
void sl_relay_on_record(void *arg, const struct sl_transcoder_record *record, enum sl_transcoder_verdict *verdict);

/* ---- report.c ---- */
sl_err sl_report_begin(struct sl_flow *f);
uint64_t sl_report_lap(struct sl_flow *f); /* microseconds since the last step was finished */
void sl_report_connected(struct sl_flow *f);
void sl_report_access(struct sl_flow *f, const struct sl_policy_access *access);
void sl_report_decryption(struct sl_flow *f, const struct sl_policy_decryption *d);
void sl_report_decision(struct sl_flow *f, const char *action, const char *reason);
void sl_flow_note_alert(struct sl_flow *f, uint8_t level, uint8_t code, Sluice__V1__AlertDirection direction);
void sl_report_pack(struct sl_flow *f);
void sl_report_finish(struct sl_flow *f, Sluice__V1__Cause cause, Sluice__V1__Stage stage, const char *error);
void sl_report_free(struct sl_flow *f);

/* ---- report_tls.c ---- */
void sl_report_hello(struct sl_flow *f, const struct sl_client_hello *hello);
void sl_report_offer(struct sl_flow *f);
void sl_report_server_leg(struct sl_flow *f);
void sl_report_client_leg(struct sl_flow *f);
void sl_report_leaf(struct sl_flow *f, const struct sl_leaf *leaf, bool cached);
