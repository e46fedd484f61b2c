/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of a server's certificate: RFC 5280 path, RFC 9525 name, strength, revocation (V1 to V9, V12, V15).
 *
 * The verifier is thread-safe and long-lived: it remembers good results, and intermediates of chains that were valid. It never goes
 * to the network: a missing intermediate is taken from what was seen before, AIA is not followed; a revocation status comes from
 * the staple or from CRL files.
 *
 * What a pin does. The operator has vouched for exactly this certificate at that host and port: it replaces trust, path, name and
 * (if the pin has an end of its own) dates. It never excuses a bad signature, a weak key, a weak digest of a certificate that is
 * not its own issuer, unknown critical extensions, a wrong purpose, an own or known-bad CA, revocation, or a limit.
 *
 * Remembered results: only good ones; bound to the exact presented chain, name, address, port, trust store, revocation mode and
 * staple; used only inside the time in which nothing that was looked at begins or ends. The handshake still checks on every
 * connection that the server holds the key (V1).
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "pki/chain.h"
#include "pki/trust.h"
#include "sluice/v1/event.pb-c.h"

struct sl_verifier;

struct sl_verifier_options {
    const struct sl_clock *clock; /* NULL: the system's */
    size_t remembered;            /* good results; 0: 4,096 */
    uint64_t remember_ns;         /* at most so long; 0: one hour */
    size_t intermediates;         /* 0: 512 */
};
sl_err sl_verifier_new(const struct sl_verifier_options *options, struct sl_verifier **out); /* options may be NULL */
void sl_verifier_free(struct sl_verifier *verifier);                                         /* NULL is allowed */

enum sl_revocation_mode {
    SL_REVOCATION_OFF,
    SL_REVOCATION_SOFT, /* revoked refuses; unknown passes and is noted */
    SL_REVOCATION_HARD  /* anything but good refuses */
};
enum sl_revocation_method { SL_REVOCATION_BY_NONE, SL_REVOCATION_BY_STAPLE, SL_REVOCATION_BY_CRL };
enum sl_revocation_result { SL_REVOCATION_UNKNOWN, SL_REVOCATION_GOOD, SL_REVOCATION_REVOKED };

/* Everything is borrowed for the call. */
struct sl_verify_request {
    struct sl_trust *trust;
    X509 *leaf;
    const STACK_OF(X509) * presented; /* any order, extra certificates and the leaf itself allowed; NULL: none */
    const char *host;                 /* the name the client asked for (SNI, CONNECT) or an address; must be proved by the leaf */
    const char *address;              /* the server's address, for pins on addresses; NULL: none */
    uint16_t port;
    const uint8_t *staple; /* OCSP response of the handshake (DER); NULL: none */
    size_t staple_len;
    enum sl_revocation_mode revocation;
};

struct sl_verdict {
    Sluice__V1__Cause cause; /* CAUSE_NONE: accepted */
    uint64_t causes;         /* everything that was found: bit (cause - SRV_CERT_SELF_SIGNED) */
    int code, depth;         /* X509_V_ERR_*, for support; 0, 0 if accepted */
    const char *name;        /* "X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT", "X509_V_OK"; static */
    const char *text;        /* "self-signed certificate"; static */
    bool pinned;             /* accepted because of a pin (also if nothing had to be excused) */
    bool pinnable;           /* refused, and a pin on this certificate would have been enough */
    bool repaired;           /* a missing intermediate was known */
    bool remembered;
    bool must_staple;
    struct {
        enum sl_revocation_method method;
        enum sl_revocation_result result;
        uint64_t age_s; /* since the status was produced */
    } revocation;
    int security_bits; /* of the weakest key or digest relied upon; 0 if refused */
    uint8_t leaf_sha256[SL_SHA256_LEN];
    uint8_t binding[SL_SHA256_LEN]; /* digest of all inputs (V11): equal means verified in the same way */
    uint64_t trust_version;
    uint64_t valid_until_ns; /* accepted: when to verify again, also before a resumption */
    struct sl_chain *chain;  /* a reference of its own; NULL if it could not be described */
};

/* SL_OK whenever there is a verdict, good or bad; *out must be released. Any other result means that no judgement was possible
 * (SL_ERR_NOMEM, SL_ERR_INVALID for a missing leaf or trust store): *out is then zeroed with cause INTERNAL_ERROR, and the
 * connection must be refused. */
sl_err sl_verify(struct sl_verifier *verifier, const struct sl_verify_request *request, struct sl_verdict *out);
void sl_verdict_release(struct sl_verdict *verdict);
void sl_verdict_copy(struct sl_verdict *to, const struct sl_verdict *from); /* takes a reference of the chain */

/* False for an empty verdict, too. */
static inline bool sl_verdict_good(const struct sl_verdict *v)
{
    return v->cause == SLUICE__V1__CAUSE__CAUSE_NONE && v->valid_until_ns > 0;
}

/* The words of events: "staple", "crl", "none"; "good", "revoked", "unknown". Static. */
const char *sl_revocation_method_text(enum sl_revocation_method method);
const char *sl_revocation_result_text(enum sl_revocation_result result);

/* "X509_V_ERR_CERT_HAS_EXPIRED" for a code; static, never NULL. Codes move between versions of the library, names do not. */
const char *sl_verify_code_name(int code);
/* The cause for a code of the library; SRV_CERT_OTHER for what is not in the table. */
Sluice__V1__Cause sl_verify_code_cause(int code);
/* The TLS alert that tells the server about a refusal: 42 bad_certificate, 44, 45, 46, 48 … (RFC 8446 section 6.2) */
uint8_t sl_verify_cause_alert(Sluice__V1__Cause cause);

struct sl_verifier_stats {
    uint64_t verified, remembered_hits, repaired;
    size_t entries, intermediates;
};
void sl_verifier_stats(struct sl_verifier *verifier, struct sl_verifier_stats *out);
