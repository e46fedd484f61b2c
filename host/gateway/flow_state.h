/* SPDX-License-Identifier: Apache-2.0 */
/* A flow's inside, shared by flow.c, decide.c, handshake.c, relay.c and report.c and by nobody else. */
#pragma once

#include "gateway/flow.h"

#include "record/transcoder.h"
#include "sluice/v1/event.pb-c.h"
#include "tls/client_hello.h"
#include "tls/client_leg.h"
#include "tls/handover.h"
#include "tls/offer.h"
#include "tls/server_leg.h"

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

/* What only a handshake needs; released when the relay begins. */
struct sl_handshake {
    struct sl_hello_reader *reader; /* the client's bytes up to the end of its ClientHello, and what came of them */
    struct sl_offer offer;
    struct sl_server_leg *server_leg;
    struct sl_client_leg *client_leg;
    uint64_t stage_start_ns; /* monotonic */
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
    bool tunnel;          /* explicit: the "200" was sent */
    bool reported;        /* the event was written */
    uint8_t open_sockets; /* whose close the loop has not confirmed */
    uint64_t flow_id, connection_id;
    uint64_t start_wall_ns, start_mono_ns;
    uint64_t deadline_ms; /* loop time */
    struct sl_endpoint client_at, server_at;
    char *host; /* the name asked for: SNI, else the CONNECT host; NULL: none */
    struct sl_socket client, server;

    struct sl_handshake *handshake;
    uv_getaddrinfo_t *resolving;

    struct sl_transcoder *transcoder[SL_DIRECTIONS]; /* SL_RELAY_RECORDS */
    struct sl_server_leg *server_leg;                /* SL_RELAY_OPENSSL */
    struct sl_client_leg *client_leg;
    uint64_t earlier_sent, earlier_received; /* bytes of a first server connection that was given up */

    Sluice__V1__Event *event;               /* what is known so far; NULL while packed */
    uint8_t *packed;                        /* the event during the relay, when it only costs memory */
    size_t packed_len;
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
/* Starts forwarding bytes as they are, the ClientHello first. */
void sl_flow_start_bytes(struct sl_flow *f);

/* ---- decide.c ---- */
/* By addresses alone. False: the flow was denied and is ended. */
bool sl_decide_addresses(struct sl_flow *f);
/* With the ClientHello, or without one (hello NULL: no TLS). Sets the plan, or ends the flow (false). */
bool sl_decide_hello(struct sl_flow *f, const struct sl_client_hello *hello);

/* ---- handshake.c ---- */
void sl_handshake_free(struct sl_handshake *h);
void sl_handshake_start_server(struct sl_flow *f);
void sl_handshake_server_readable(struct sl_flow *f);
void sl_handshake_client_readable(struct sl_flow *f);

/* ---- relay.c ---- */
void sl_relay_start(struct sl_flow *f); /* sockets are open, the relay's objects are in place */
void sl_relay_client_event(struct sl_flow *f, bool readable, bool writable);
void sl_relay_server_event(struct sl_flow *f, bool readable, bool writable);
/* Gives bytes of one side that were read before the relay began to it. */
void sl_relay_deliver(struct sl_flow *f, enum sl_direction d, const uint8_t *bytes, size_t len);

/* ---- report.c ---- */
sl_err sl_report_begin(struct sl_flow *f);
void sl_report_pack(struct sl_flow *f);
void sl_report_finish(struct sl_flow *f, Sluice__V1__Cause cause, Sluice__V1__Stage stage, const char *error);
