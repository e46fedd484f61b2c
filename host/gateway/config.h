/* SPDX-License-Identifier: Apache-2.0 */
/* The system settings of sluiced: what a restart is needed for. Policy is not here; it is committed through management.
 * docs/operations.md shows every key. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "gateway/gateway.h"

enum { SL_CONFIG_FILES_MAX = 64 };

struct sl_config {
    char *device_name; /* default: the host's name */
    char *state_dir;   /* default: /var/lib/sluice */
    unsigned workers;  /* default: one a CPU */
    struct sl_listener_config listeners[SL_LISTENERS_MAX];
    size_t listener_count;
    bool allow_local_servers;
    struct {
        char *unix_path; /* default: /run/sluice/sluiced.sock */
        char *tcp;       /* "address:port"; NULL: not served */
        char *tls_cert, *tls_key, *tls_ca;
    } management;
    struct {
        char *bundle; /* required: PEM file of the anchors for servers */
        char *crls[SL_CONFIG_FILES_MAX];
        size_t crl_count;
    } trust;
    struct {
        enum sl_log_level level;
        enum sl_log_format format;
    } log;
    char *tls_log; /* NULL: none */
    struct {
        char *passphrase_file; /* NULL: state_dir/ca/passphrase */
    } ca;
    struct {
        uint64_t max_events; /* 0: the store's default */
    } events;
    uint64_t drain_ms; /* default: 30,000 */
};

/* Reads a YAML file. On failure *out is empty and diag names the file, the line and what is expected there. */
sl_err sl_config_load(const char *path, struct sl_config *out, struct sl_diag *diag);
/* The same from memory; name stands for the file in messages. */
sl_err sl_config_parse(const char *name, const void *bytes, size_t len, struct sl_config *out, struct sl_diag *diag);
void sl_config_free(struct sl_config *c);
