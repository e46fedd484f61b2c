/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of keys per mapping; each key has a function that reads its node. Unknown and repeated keys are errors: a misspelt
 * setting must not pass for the default.
 */
#include "gateway/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

enum { CONFIG_BYTES_MAX = 1 << 20, WORKERS_DEFAULT_MAX = 64 };

struct reader {
    const char *name;
    yaml_document_t document;
    struct sl_config *config;
    struct sl_diag *diag;
};

typedef sl_err read_fn(struct reader *r, yaml_node_t *node, void *target);

struct key {
    const char *name;
    read_fn *read;
    void *target;
};

static sl_err fail_at(struct reader *r, const yaml_node_t *node, const char *what)
{
    return sl_fail(r->diag, SL_ERR_INVALID, "%s:%zu: %s", r->name, node->start_mark.line + 1, what);
}

static const char *scalar(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && strlen((const char *)node->data.scalar.value) == node->data.scalar.length
               ? (const char *)node->data.scalar.value
               : NULL;
}

static sl_err read_string(struct reader *r, yaml_node_t *node, void *target)
{
    char **out = target;
    const char *text = scalar(node);
    if (!text)
        return fail_at(r, node, "a text is expected here");
    if (!*text) /* an empty text means: the default */
        return SL_OK;
    *out = strdup(text);
    return *out ? SL_OK : sl_fail(r->diag, SL_ERR_NOMEM, "%s: out of memory", r->name);
}

static sl_err read_u64(struct reader *r, yaml_node_t *node, void *target)
{
    const char *text = scalar(node);
    char *end = NULL;
    errno = 0;
    unsigned long long value = text && *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    if (!end || *end || errno)
        return fail_at(r, node, "a whole number is expected here");
    *(uint64_t *)target = value;
    return SL_OK;
}

static sl_err read_bool(struct reader *r, yaml_node_t *node, void *target)
{
    const char *text = scalar(node);
    if (!text || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0))
        return fail_at(r, node, "true or false is expected here");
    *(bool *)target = text[0] == 't';
    return SL_OK;
}

static sl_err read_workers(struct reader *r, yaml_node_t *node, void *target)
{
    uint64_t value = 0;
    sl_err err = read_u64(r, node, &value);
    if (!err && value > SL_WORKERS_MAX)
        err = fail_at(r, node, "at most 64 workers");
    if (!err)
        *(unsigned *)target = (unsigned)value;
    return err;
}

static sl_err read_level(struct reader *r, yaml_node_t *node, void *target)
{
    static const char *const names[] = {
        [SL_LOG_ERROR] = "error", [SL_LOG_WARN] = "warn", [SL_LOG_INFO] = "info", [SL_LOG_DEBUG] = "debug"};
    const char *text = scalar(node);
    for (size_t i = 0; text && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i]) == 0) {
            *(enum sl_log_level *)target = (enum sl_log_level)i;
            return SL_OK;
        }
    return fail_at(r, node, "error, warn, info or debug is expected here");
}

static sl_err read_format(struct reader *r, yaml_node_t *node, void *target)
{
    const char *text = scalar(node);
    if (!text || (strcmp(text, "text") != 0 && strcmp(text, "json") != 0))
        return fail_at(r, node, "text or json is expected here");
    *(enum sl_log_format *)target = text[0] == 't' ? SL_LOG_TEXT : SL_LOG_JSON;
    return SL_OK;
}

static sl_err read_mapping(struct reader *r, yaml_node_t *node, const struct key *keys, size_t count)
{
    bool seen[32] = {false};
    if (node->type != YAML_MAPPING_NODE)
        return fail_at(r, node, "keys with values are expected here");
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
        yaml_node_t *name = yaml_document_get_node(&r->document, p->key), *value = yaml_document_get_node(&r->document, p->value);
        const char *text = name ? scalar(name) : NULL;
        size_t i = 0;
        while (text && i < count && strcmp(keys[i].name, text) != 0)
            i++;
        if (!text || i == count || !value)
            return sl_fail(r->diag, SL_ERR_INVALID, "%s:%zu: unknown key '%s'; docs/operations.md lists the keys", r->name,
                           node->start_mark.line + 1, text ? text : "?");
        if (seen[i])
            return sl_fail(r->diag, SL_ERR_INVALID, "%s:%zu: '%s' is there twice", r->name, name->start_mark.line + 1, text);
        seen[i] = true;
        sl_err err = keys[i].read(r, value, keys[i].target);
        if (err)
            return err;
    }
    return SL_OK;
}

static sl_err read_sequence(struct reader *r, yaml_node_t *node, read_fn *read_item, void *target)
{
    if (node->type != YAML_SEQUENCE_NODE)
        return fail_at(r, node, "a list is expected here");
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++) {
        yaml_node_t *item = yaml_document_get_node(&r->document, *i);
        sl_err err = item ? read_item(r, item, target) : SL_ERR_INVALID;
        if (err)
            return err;
    }
    return SL_OK;
}

static sl_err read_listener(struct reader *r, yaml_node_t *node, void *target)
{
    struct sl_config *c = target;
    char *kind = NULL, *address = NULL;
    uint64_t port = 0;
    const struct key keys[] = {{"kind", read_string, &kind}, {"address", read_string, &address}, {"port", read_u64, &port}};
    struct sl_listener_config *l = &c->listeners[c->listener_count];

    sl_err err = c->listener_count == SL_LISTENERS_MAX ? fail_at(r, node, "at most 16 listeners")
                                                       : read_mapping(r, node, keys, sizeof keys / sizeof keys[0]);
    if (err)
        goto Exit;
    if (!kind || (strcmp(kind, "transparent") != 0 && strcmp(kind, "explicit") != 0))
        err = fail_at(r, node, "a listener needs 'kind: transparent' or 'kind: explicit'");
    else if (port == 0 || port > UINT16_MAX)
        err = fail_at(r, node, "a listener needs a 'port' from 1 to 65535");
    else if (!address || sl_endpoint_parse(address, (uint16_t)port, &l->at))
        err = fail_at(r, node, "a listener needs an IPv4 or IPv6 'address', for example \"0.0.0.0\"");
    if (err)
        goto Exit;
    l->kind = kind[0] == 't' ? SL_LISTEN_TRANSPARENT : SL_LISTEN_EXPLICIT;
    c->listener_count++;
Exit:
    free(kind);
    free(address);
    return err;
}

static sl_err read_listeners(struct reader *r, yaml_node_t *node, void *target)
{
    return read_sequence(r, node, read_listener, target);
}

static sl_err read_crl(struct reader *r, yaml_node_t *node, void *target)
{
    struct sl_config *c = target;
    if (c->trust.crl_count == SL_CONFIG_FILES_MAX)
        return fail_at(r, node, "at most 64 CRL files");
    sl_err err = read_string(r, node, &c->trust.crls[c->trust.crl_count]);
    if (!err && c->trust.crls[c->trust.crl_count])
        c->trust.crl_count++;
    return err;
}

static sl_err read_crls(struct reader *r, yaml_node_t *node, void *target)
{
    return read_sequence(r, node, read_crl, target);
}

static sl_err read_management(struct reader *r, yaml_node_t *node, void *target)
{
    struct sl_config *c = target;
    const struct key keys[] = {{"unix", read_string, &c->management.unix_path},
                               {"tcp", read_string, &c->management.tcp},
                               {"tls_cert", read_string, &c->management.tls_cert},
                               {"tls_key", read_string, &c->management.tls_key},
                               {"tls_ca", read_string, &c->management.tls_ca}};
    return read_mapping(r, node, keys, sizeof keys / sizeof keys[0]);
}

static sl_err read_trust(struct reader *r, yaml_node_t *node, void *target)
{
    struct sl_config *c = target;
    const struct key keys[] = {{"bundle", read_string, &c->trust.bundle}, {"crls", read_crls, c}};
    return read_mapping(r, node, keys, sizeof keys / sizeof keys[0]);
}

static sl_err read_log(struct reader *r, yaml_node_t *node, void *target)
{
    struct sl_config *c = target;
    const struct key keys[] = {{"level", read_level, &c->log.level}, {"format", read_format, &c->log.format}};
    return read_mapping(r, node, keys, sizeof keys / sizeof keys[0]);
}

static sl_err read_ca(struct reader *r, yaml_node_t *node, void *target)
{
    struct sl_config *c = target;
    const struct key keys[] = {{"passphrase_file", read_string, &c->ca.passphrase_file}};
    return read_mapping(r, node, keys, sizeof keys / sizeof keys[0]);
}

static sl_err read_events(struct reader *r, yaml_node_t *node, void *target)
{
    struct sl_config *c = target;
    const struct key keys[] = {{"max_events", read_u64, &c->events.max_events}};
    return read_mapping(r, node, keys, sizeof keys / sizeof keys[0]);
}

static sl_err read_root(struct reader *r, yaml_node_t *root)
{
    struct sl_config *c = r->config;
    const struct key keys[] = {{"device_name", read_string, &c->device_name},
                               {"state_dir", read_string, &c->state_dir},
                               {"workers", read_workers, &c->workers},
                               {"listeners", read_listeners, c},
                               {"allow_local_servers", read_bool, &c->allow_local_servers},
                               {"management", read_management, c},
                               {"trust", read_trust, c},
                               {"log", read_log, c},
                               {"tls_log", read_string, &c->tls_log},
                               {"ca", read_ca, c},
                               {"events", read_events, c},
                               {"drain_ms", read_u64, &c->drain_ms}};
    return read_mapping(r, root, keys, sizeof keys / sizeof keys[0]);
}

static sl_err default_string(char **field, const char *value)
{
    if (!*field)
        *field = strdup(value);
    return *field ? SL_OK : SL_ERR_NOMEM;
}

static sl_err fill_defaults(struct reader *r)
{
    struct sl_config *c = r->config;
    char host[256] = "sluice";
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    gethostname(host, sizeof host - 1);
    if (c->workers == 0)
        c->workers = cpus < 1 ? 1 : cpus > WORKERS_DEFAULT_MAX ? WORKERS_DEFAULT_MAX : (unsigned)cpus;
    if (default_string(&c->device_name, host) || default_string(&c->state_dir, "/var/lib/sluice") ||
        default_string(&c->management.unix_path, "/run/sluice/sluiced.sock"))
        return sl_fail(r->diag, SL_ERR_NOMEM, "%s: out of memory", r->name);
    if (c->listener_count == 0)
        return sl_fail(r->diag, SL_ERR_INVALID, "%s: no 'listeners': nothing would be inspected", r->name);
    if (!c->trust.bundle)
        return sl_fail(r->diag, SL_ERR_INVALID,
                       "%s: 'trust: { bundle: FILE }' is missing; on Debian it is /etc/ssl/certs/ca-certificates.crt", r->name);
    if (c->management.tcp && (!c->management.tls_cert || !c->management.tls_key || !c->management.tls_ca))
        return sl_fail(r->diag, SL_ERR_INVALID,
                       "%s: 'management: tcp' needs tls_cert, tls_key and tls_ca: over TCP only mutual TLS is served", r->name);
    return SL_OK;
}

sl_err sl_config_parse(const char *name, const void *bytes, size_t len, struct sl_config *out, struct sl_diag *diag)
{
    struct reader r = {.name = name, .config = out, .diag = diag};
    yaml_parser_t parser;
    sl_err err;

    memset(out, 0, sizeof *out);
    out->log.level = SL_LOG_INFO;
    out->drain_ms = 30000;
    if (!yaml_parser_initialize(&parser))
        return sl_fail(diag, SL_ERR_NOMEM, "%s: out of memory", name);
    yaml_parser_set_input_string(&parser, bytes, len);
    if (!yaml_parser_load(&parser, &r.document)) {
        err = sl_fail(diag, SL_ERR_INVALID, "%s:%zu: not YAML: %s", name, parser.problem_mark.line + 1,
                      parser.problem ? parser.problem : "?");
        yaml_parser_delete(&parser);
        return err;
    }
    yaml_node_t *root = yaml_document_get_root_node(&r.document);
    err = root ? read_root(&r, root) : sl_fail(diag, SL_ERR_INVALID, "%s: the file is empty", name);
    if (!err)
        err = fill_defaults(&r);
    yaml_document_delete(&r.document);
    yaml_parser_delete(&parser);
    if (err)
        sl_config_free(out);
    return err;
}

sl_err sl_config_load(const char *path, struct sl_config *out, struct sl_diag *diag)
{
    FILE *f = fopen(path, "re");
    memset(out, 0, sizeof *out);
    if (!f)
        return sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno));
    char *bytes = malloc(CONFIG_BYTES_MAX);
    sl_err err;
    if (!bytes) {
        err = sl_fail(diag, SL_ERR_NOMEM, "%s: out of memory", path);
    } else {
        size_t len = fread(bytes, 1, CONFIG_BYTES_MAX, f);
        if (ferror(f) || len == CONFIG_BYTES_MAX)
            err = sl_fail(diag, SL_ERR_IO, "%s: can't be read, or is longer than 1 MiB", path);
        else
            err = sl_config_parse(path, bytes, len, out, diag);
    }
    free(bytes);
    fclose(f);
    return err;
}

void sl_config_free(struct sl_config *c)
{
    free(c->device_name);
    free(c->state_dir);
    free(c->management.unix_path);
    free(c->management.tcp);
    free(c->management.tls_cert);
    free(c->management.tls_key);
    free(c->management.tls_ca);
    free(c->trust.bundle);
    for (size_t i = 0; i < c->trust.crl_count; i++)
        free(c->trust.crls[i]);
    free(c->tls_log);
    free(c->ca.passphrase_file);
    memset(c, 0, sizeof *c);
}
