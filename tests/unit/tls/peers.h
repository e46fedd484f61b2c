/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of the legs: a PKI made afresh, unmodified OpenSSL peers over memory, and one whole flow between them. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "pki/ca.h"
#include "pki/mint.h"
#include "pki/verify.h"
#include "record/transcoder.h"
#include "tls/client_hello.h"
#include "tls/client_leg.h"
#include "tls/handover.h"
#include "tls/offer.h"
#include "tls/server_leg.h"

#define TEST_HOST "www.example.com"

enum test_key { TEST_EC, TEST_RSA };
enum test_cert { CERT_GOOD, CERT_EXPIRED, CERT_SELF_SIGNED, CERT_OTHER_HOST, CERT_UNKNOWN_ROOT, CERT_COUNT };

/* Everything that several flows share. */
struct test_world {
    EVP_PKEY *root_key, *keys[2];
    X509 *root, *certs[CERT_COUNT][2];
    struct sl_trust *trust;
    struct sl_verifier *verifier;
    struct sl_ca *ca;
    struct sl_minter *minter;
    struct sl_clock_manual clock; /* of the tls objects */
    struct sl_tls_shared *shared;
    struct sl_tls_context *context;
};

struct test_world *test_world_new(void);
void test_world_free(struct test_world *w);

/* A real endpoint over memory. */
struct test_peer {
    SSL *ssl;
    BIO *in, *out; /* what it reads, what it writes */
    size_t bytes_out;
};
struct test_peer test_peer_new(SSL_CTX *ctx, bool server);
void test_peer_free(struct test_peer *p);

/* A server's context with that certificate; suites NULL: the default. */
SSL_CTX *test_origin_ctx(const struct test_world *w, enum test_cert cert, enum test_key key, uint16_t version, const char *suites);
/* A client's context that trusts the decryption CA. */
SSL_CTX *test_client_ctx(const struct test_world *w, uint16_t version, const char *suites);

/* One flow through both legs. */
struct test_flow {
    struct test_world *world;
    struct test_peer client, origin;
    struct sl_hello_reader *reader;
    struct sl_offer offer;
    struct sl_server_leg *server_leg;
    struct sl_client_leg *client_leg;
    struct sl_leaf *leaf;
    struct sl_transcoder *to_server, *to_client; /* after the hand-over */
    enum sl_crypto_profile profile;
    uint64_t rule_id;
    size_t chunk; /* bytes a move; 0: all */
    bool present_untrusted;
    bool eager_client; /* the client writes in the flight of its Finished */
    const char *host;  /* to be proved; NULL: the SNI */
};

struct test_flow *test_flow_new(struct test_world *w, SSL_CTX *client, SSL_CTX *origin, const char *sni);
void test_flow_free(struct test_flow *f);

/* The parts of a flow, each until nothing moves any more. */
sl_err test_flow_hello(struct test_flow *f); /* the client's hello, read, and the offer */
enum sl_leg_state test_flow_server_leg(struct test_flow *f);
enum sl_leg_state test_flow_client_leg(struct test_flow *f);
void test_flow_hand_over(struct test_flow *f);
/* All of them; then `text` goes both ways, by transcoder or through OpenSSL, and is compared. */
void test_flow_run(struct test_flow *f);
void test_flow_exchange(struct test_flow *f, const char *text);
