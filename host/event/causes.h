/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one list of causes: X(name, side, clause). The clause completes "… because …" and stands alone in tables. Numbers are those
 * of event.proto. Private to event/.
 */
#pragma once

#define SL_CAUSES(X)                                                                                                               \
    X(CAUSE_NONE, UNSPECIFIED, "nothing failed")                                                                                   \
    X(SRV_ALERT_HANDSHAKE_FAILURE, SERVER, "the server refused every cipher suite or parameter that was offered")                  \
    X(SRV_ALERT_PROTOCOL_VERSION, SERVER, "the server speaks none of the offered TLS versions")                                    \
    X(SRV_ALERT_INSUFFICIENT_SECURITY, SERVER, "the server demands stronger parameters than were offered")                         \
    X(SRV_UNRECOGNIZED_NAME, SERVER, "the server does not know the requested name")                                                \
    X(SRV_NO_ALPN, SERVER, "the server speaks none of the offered application protocols")                                          \
    X(SRV_CLIENT_CERT_REQUIRED, SERVER, "the server asks for a client certificate")                                                \
    X(SRV_ALERT_OTHER, SERVER, "the server sent a fatal alert")                                                                    \
    X(SRV_EOF, SERVER, "the server closed the connection during the handshake")                                                    \
    X(SRV_RESET, SERVER, "the server reset the connection")                                                                        \
    X(SRV_UNSUPPORTED_PROTOCOL, SERVER, "the server chose a TLS version that is not allowed")                                      \
    X(SRV_BAD_HANDSHAKE, SERVER, "the server's handshake is malformed or inconsistent")                                            \
    X(SRV_WEAK_PARAMETERS, SERVER, "the server chose parameters that are too weak")                                                \
    X(SRV_NOT_TLS, SERVER, "the server does not speak TLS")                                                                        \
    X(SRV_CONNECT_REFUSED, SERVER, "the server refused the TCP connection")                                                        \
    X(SRV_UNREACHABLE, SERVER, "the server can't be reached")                                                                      \
    X(SRV_CERT_SELF_SIGNED, SERVER, "the server's certificate is self-signed")                                                     \
    X(SRV_CERT_SELF_SIGNED_CHAIN, SERVER, "the server's chain ends at a root that is not trusted")                                 \
    X(SRV_CERT_NO_ISSUER, SERVER, "the issuer of the server's certificate is not known")                                           \
    X(SRV_CERT_EXPIRED, SERVER, "the server's certificate has expired")                                                            \
    X(SRV_CERT_NOT_YET, SERVER, "the server's certificate is not valid yet")                                                       \
    X(SRV_CERT_REVOKED, SERVER, "the server's certificate was revoked")                                                            \
    X(SRV_CERT_REVOCATION_UNKNOWN, SERVER, "whether the server's certificate was revoked can't be told")                           \
    X(SRV_CERT_HOST_MISMATCH, SERVER, "the server's certificate is for another name")                                              \
    X(SRV_CERT_IP_MISMATCH, SERVER, "the server's certificate is not for the requested address")                                   \
    X(SRV_CERT_BAD_CA, SERVER, "a certificate in the server's chain is no valid CA")                                               \
    X(SRV_CERT_PURPOSE, SERVER, "the server's certificate is not meant for servers")                                               \
    X(SRV_CERT_BAD_SIGNATURE, SERVER, "a signature in the server's chain is wrong")                                                \
    X(SRV_CERT_WEAK_KEY, SERVER, "the key of the server's certificate is too weak")                                                \
    X(SRV_CERT_WEAK_CA_KEY, SERVER, "a CA key in the server's chain is too weak")                                                  \
    X(SRV_CERT_WEAK_MD, SERVER, "a signature in the server's chain uses a broken digest")                                          \
    X(SRV_CERT_DISTRUSTED, SERVER, "a CA in the server's chain is distrusted")                                                     \
    X(SRV_CERT_NAME_CONSTRAINT, SERVER, "a CA in the server's chain may not sign for this name")                                   \
    X(SRV_CERT_PATH_LENGTH, SERVER, "the server's chain is longer than a CA in it allows")                                         \
    X(SRV_CERT_CRITICAL_EXTENSION, SERVER, "a certificate has a critical extension that is not known")                             \
    X(SRV_CERT_OWN_CA, SERVER, "the server's certificate was signed by our own decryption CA")                                     \
    X(SRV_CERT_TOO_LARGE, SERVER, "the server's chain is beyond the limits")                                                       \
    X(SRV_CERT_OTHER, SERVER, "the server's certificate is not acceptable")                                                        \
    X(CLI_ALERT_UNKNOWN_CA, CLIENT, "the client does not trust the decryption CA")                                                 \
    X(CLI_ALERT_BAD_CERT, CLIENT, "the client refused the certificate it was shown")                                               \
    X(CLI_ALERT_OTHER, CLIENT, "the client sent a fatal alert")                                                                    \
    X(CLI_NO_SHARED_CIPHER, CLIENT, "the client offers no cipher suite that is allowed")                                           \
    X(CLI_UNSUPPORTED_VERSION, CLIENT, "the client offers no TLS version that is allowed")                                         \
    X(CLI_BAD_HELLO, CLIENT, "the client's first message can't be understood")                                                     \
    X(CLI_BAD_HANDSHAKE, CLIENT, "the client's handshake is malformed or inconsistent")                                            \
    X(CLI_EOF, CLIENT, "the client closed the connection during the handshake")                                                    \
    X(CLI_RESET, CLIENT, "the client reset the connection")                                                                        \
    X(CLI_ECH_ONLY, CLIENT, "the client insists on an encrypted ClientHello")                                                      \
    X(REC_BAD_MAC, UNSPECIFIED, "a record was damaged or forged on its way")                                                       \
    X(REC_KEY_LIMIT, GATEWAY, "a key was used as often as it may be")                                                              \
    X(REC_PROTOCOL, UNSPECIFIED, "a record broke the rules of TLS")                                                                \
    X(RES_TABLE_FULL, GATEWAY, "the session table is full")                                                                        \
    X(RES_OVERLOAD, GATEWAY, "the gateway has as many connections as it may have")                                                 \
    X(RES_CLIENT_LIMIT, GATEWAY, "this client has as many connections as one may have")                                            \
    X(RES_MEMORY, GATEWAY, "the gateway ran out of memory")                                                                        \
    X(TIMEOUT_CLIENT_HELLO, CLIENT, "the client did not complete its first message in time")                                       \
    X(TIMEOUT_CONNECT, SERVER, "the server did not accept the TCP connection in time")                                             \
    X(TIMEOUT_SERVER_HANDSHAKE, SERVER, "the server did not complete the handshake in time")                                       \
    X(TIMEOUT_CLIENT_HANDSHAKE, CLIENT, "the client did not complete the handshake in time")                                       \
    X(TIMEOUT_IDLE, UNSPECIFIED, "nothing was sent for as long as the idle limit")                                                 \
    X(POLICY_BLOCK, GATEWAY, "a decryption rule blocks it")                                                                        \
    X(POLICY_DENY, GATEWAY, "an access rule denies it")                                                                            \
    X(POLICY_NON_TLS, GATEWAY, "the settings block what is not TLS")                                                               \
    X(LOOP_DETECTED, GATEWAY, "the destination is the gateway itself or must not be proxied to")                                   \
    X(SHUTDOWN, GATEWAY, "the gateway was stopped")                                                                                \
    X(INTERNAL_ERROR, GATEWAY, "the gateway could not do its part")
