/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/options.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { DRAIN_MS_DEFAULT = 5000, SESSIONS_LIMIT = 1 << 24, DEAD_AFTER_MS_LIMIT = 3600 * 1000 };

const char sl_card_usage[] =
    "usage: sluice-card --listen WHERE [--listen WHERE] [OPTION ...]\n"
    "       sluice-card --pcap IN OUT [OPTION ...]\n"
    "       sluice-card --ports INSIDE,OUTSIDE [OPTION ...]\n"
    "\n"
    "Owns a card, or what stands in for one, and serves sluice.card.v1.Card and openoffload.v1.SessionTable over gRPC.\n"
    "\n"
    "Card\n"
    "  --engine cpu|xrt        the card's pipeline on this host's CPU (default), or a card through XRT\n"
    "  --sessions-max N        sessions at a time; default: what the card has room for\n"
    "  --gcm NAME              cpu: which AES-GCM implementation; default: the fastest\n"
    "  --device N              xrt: index of the card; default 0\n"
    "  --dead-after-ms N       xrt: a card that has not moved for so long is dead; default 800\n"
    "  --when-dead close|cpu   xrt: sessions of a dead card are closed (default); or those without keys go on in the cpu engine\n"
    "  --xclbin FILE           xrt: what is loaded; its manifest lies beside it\n"
    "  --public-key FILE       xrt: the manifest must be signed with this PEM key\n"
    "\n"
    "Service\n"
    "  --listen unix:PATH      unix socket: for root, the user sluice-card runs as, and the group\n"
    "  --group NAME            whose members may use the unix socket\n"
    "  --listen tcp:HOST:PORT  TCP, with mutual TLS only:\n"
    "  --tls-cert FILE         certificate (chain) of sluice-card, PEM\n"
    "  --tls-key FILE          its key\n"
    "  --tls-ca FILE           the CA that clients' certificates must come from\n"
    "  --drain-ms N            how long calls may go on after SIGTERM; default 5000\n"
    "\n"
    "Ports, or a capture instead of them\n"
    "  --ports INSIDE,OUTSIDE  two network interfaces: what comes in at one goes through the card and out of the other\n"
    "  --pcap IN OUT           plays the frames of a capture (pcap, pcapng) through the card; what leaves it goes to OUT (pcap)\n"
    "  --sessions FILE         sessions to install first: JSON of sluice.card.v1.Commands; only its owner may read it\n"
    "  --wait-sessions N       begin when N sessions are installed\n"
    "  --inside PREFIX         addresses of the inside, as 192.0.2.0/24; repeatable. Frames of sessions take the session's lane\n"
    "  --punted pass|drop      frames that the host would have to deal with: unchanged into OUT (default), or dropped. Of ports,\n"
    "                          those that belong to a session are always dropped\n"
    "  --fix-checksums         fill in checksums first, for captures taken before the network card did\n"
    "  --mirror FILE           verified plaintext, as TCP segments without TLS (pcap)\n"
    "  --stay                  go on serving when the capture has been played\n"
    "\n"
    "  --log-level error|warn|info|debug   default info        --log-format text|json   default text\n"
    "  --help   --version\n";

enum option_id {
    OPT_ENGINE = 256,
    OPT_SESSIONS_MAX,
    OPT_GCM,
    OPT_DEVICE,
    OPT_DEAD_AFTER_MS,
    OPT_WHEN_DEAD,
    OPT_XCLBIN,
    OPT_PUBLIC_KEY,
    OPT_LISTEN,
    OPT_GROUP,
    OPT_TLS_CERT,
    OPT_TLS_KEY,
    OPT_TLS_CA,
    OPT_DRAIN_MS,
    OPT_PORTS,
    OPT_PCAP,
    OPT_SESSIONS,
    OPT_WAIT_SESSIONS,
    OPT_INSIDE,
    OPT_PUNTED,
    OPT_FIX_CHECKSUMS,
    OPT_MIRROR,
    OPT_STAY,
    OPT_LOG_LEVEL,
    OPT_LOG_FORMAT,
    OPT_HELP,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"engine", required_argument, NULL, OPT_ENGINE},
    {"sessions-max", required_argument, NULL, OPT_SESSIONS_MAX},
    {"gcm", required_argument, NULL, OPT_GCM},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"dead-after-ms", required_argument, NULL, OPT_DEAD_AFTER_MS},
    {"when-dead", required_argument, NULL, OPT_WHEN_DEAD},
    {"xclbin", required_argument, NULL, OPT_XCLBIN},
    {"public-key", required_argument, NULL, OPT_PUBLIC_KEY},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"group", required_argument, NULL, OPT_GROUP},
    {"tls-cert", required_argument, NULL, OPT_TLS_CERT},
    {"tls-key", required_argument, NULL, OPT_TLS_KEY},
    {"tls-ca", required_argument, NULL, OPT_TLS_CA},
    {"drain-ms", required_argument, NULL, OPT_DRAIN_MS},
    {"ports", required_argument, NULL, OPT_PORTS},
    {"pcap", required_argument, NULL, OPT_PCAP},
    {"sessions", required_argument, NULL, OPT_SESSIONS},
    {"wait-sessions", required_argument, NULL, OPT_WAIT_SESSIONS},
    {"inside", required_argument, NULL, OPT_INSIDE},
    {"punted", required_argument, NULL, OPT_PUNTED},
    {"fix-checksums", no_argument, NULL, OPT_FIX_CHECKSUMS},
    {"mirror", required_argument, NULL, OPT_MIRROR},
    {"stay", no_argument, NULL, OPT_STAY},
    {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
    {"log-format", required_argument, NULL, OPT_LOG_FORMAT},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static sl_err take_number(const char *name, const char *text, unsigned long max, unsigned long *out, struct sl_diag *diag)
{
    char *end = NULL;
    errno = 0;
    unsigned long value = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
    if (end == NULL || *end != '\0' || errno != 0 || value > max)
        return sl_fail(diag, SL_ERR_INVALID, "%s: \"%s\" is not a number of at most %lu", name, text, max);
    *out = value;
    return SL_OK;
}

/* One of two or more words. */
static sl_err take_word(const char *name, const char *text, const char *const *words, size_t count, unsigned *out,
                        struct sl_diag *diag)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = (unsigned)i;
            return SL_OK;
        }
    }
    return sl_fail(diag, SL_ERR_INVALID, "%s: \"%s\" is not known; see --help", name, text);
}

static sl_err take_listen(const char *text, struct sl_card_service_config *service, struct sl_diag *diag)
{
    const char **out = NULL;
    if (strncmp(text, "unix:", 5) == 0)
        out = &service->unix_path;
    else if (strncmp(text, "tcp:", 4) == 0)
        out = &service->tcp;
    const char *rest = out != NULL ? strchr(text, ':') + 1 : "";
    if (rest[0] == '\0')
        return sl_fail(diag, SL_ERR_INVALID, "--listen: \"%s\" is neither unix:PATH nor tcp:HOST:PORT", text);
    if (*out != NULL)
        return sl_fail(diag, SL_ERR_INVALID, "--listen: one unix socket and one TCP address at most");
    *out = rest;
    return SL_OK;
}

static sl_err take_group(const char *text, struct sl_card_service_config *service, struct sl_diag *diag)
{
    const struct group *group = getgrnam(text);
    if (group == NULL)
        return sl_fail(diag, SL_ERR_NOT_FOUND, "--group: there is no group \"%s\"", text);
    service->has_group = true;
    service->group = group->gr_gid;
    return SL_OK;
}

static sl_err take_inside(const char *text, struct sl_replay_options *replay, struct sl_diag *diag)
{
    if (replay->inside_count == SL_REPLAY_INSIDE_MAX)
        return sl_fail(diag, SL_ERR_LIMIT, "--inside: at most %d prefixes", SL_REPLAY_INSIDE_MAX);
    return sl_replay_prefix(text, &replay->inside[replay->inside_count++], diag);
}

static sl_err take_ports(const char *text, struct sl_card_options *o, struct sl_diag *diag)
{
    const size_t first = strcspn(text, ","), second = text[first] != '\0' ? strlen(text + first + 1) : 0;

    if (o->has_ports || first == 0 || second == 0 || strchr(text + first + 1, ',') != NULL)
        return sl_fail(diag, SL_ERR_INVALID, "--ports: \"%s\" is not INSIDE,OUTSIDE, two network interfaces; once", text);
    if (first >= SL_RING_NAME || second >= SL_RING_NAME)
        return sl_fail(diag, SL_ERR_INVALID, "--ports: \"%s\": a name is longer than any interface's", text);
    memcpy(o->wire.name[0], text, first);
    memcpy(o->wire.name[1], text + first + 1, second);
    if (strcmp(o->wire.name[0], o->wire.name[1]) == 0)
        return sl_fail(diag, SL_ERR_INVALID, "--ports: \"%s\" is one interface; a wire has two ends", text);
    o->has_ports = true;
    return SL_OK;
}

static sl_err take_card_option(int id, struct sl_card_options *o, struct sl_diag *diag)
{
    static const char *const engines[] = {"cpu", "xrt"}, *const fates[] = {"close", "cpu"};
    unsigned long number = 0;
    unsigned word = 0;
    sl_err err = SL_OK;

    switch (id) {
    case OPT_ENGINE:
        err = take_word("--engine", optarg, engines, 2, &word, diag);
        o->xrt = word == 1;
        break;
    case OPT_SESSIONS_MAX:
        err = take_number("--sessions-max", optarg, SESSIONS_LIMIT, &number, diag);
        o->engine.sessions = (uint32_t)number;
        break;
    case OPT_GCM:
        o->engine.gcm = optarg;
        break;
    case OPT_DEVICE:
        err = take_number("--device", optarg, UINT_MAX, &number, diag);
        o->engine.device = (unsigned)number;
        break;
    case OPT_DEAD_AFTER_MS:
        err = take_number("--dead-after-ms", optarg, DEAD_AFTER_MS_LIMIT, &number, diag);
        o->engine.dead_after_ms = (uint32_t)number;
        break;
    case OPT_WHEN_DEAD:
        err = take_word("--when-dead", optarg, fates, 2, &word, diag);
        o->cpu_when_dead = word == 1;
        break;
    case OPT_XCLBIN:
        o->engine.xclbin = optarg;
        break;
    default:
        o->engine.public_key = optarg;
        break;
    }
    return err;
}

static sl_err take_service_option(int id, struct sl_card_options *o, struct sl_diag *diag)
{
    unsigned long number = 0;
    sl_err err = SL_OK;

    switch (id) {
    case OPT_LISTEN:
        return take_listen(optarg, &o->service, diag);
    case OPT_GROUP:
        return take_group(optarg, &o->service, diag);
    case OPT_TLS_CERT:
        o->service.tls.cert_file = optarg;
        break;
    case OPT_TLS_KEY:
        o->service.tls.key_file = optarg;
        break;
    case OPT_TLS_CA:
        o->service.tls.ca_file = optarg;
        break;
    default:
        err = take_number("--drain-ms", optarg, UINT_MAX, &number, diag);
        o->drain_ms = (uint32_t)number;
        break;
    }
    return err;
}

static sl_err take_replay_option(int id, int argc, char **argv, struct sl_card_options *o, struct sl_diag *diag)
{
    static const char *const punted[] = {"pass", "drop"};
    unsigned long number = 0;
    unsigned word = 0;
    sl_err err = SL_OK;

    switch (id) {
    case OPT_PORTS:
        return take_ports(optarg, o, diag);
    case OPT_PCAP:
        if (o->has_replay || optind >= argc || argv[optind][0] == '-')
            return sl_fail(diag, SL_ERR_INVALID, "--pcap: two files, IN and OUT, once");
        o->has_replay = true;
        o->replay.in = optarg;
        o->replay.out = argv[optind++];
        break;
    case OPT_SESSIONS:
        o->sessions = optarg;
        break;
    case OPT_WAIT_SESSIONS:
        err = take_number("--wait-sessions", optarg, SESSIONS_LIMIT, &number, diag);
        o->replay.wait_sessions = number;
        break;
    case OPT_INSIDE:
        return take_inside(optarg, &o->replay, diag);
    case OPT_PUNTED:
        err = take_word("--punted", optarg, punted, 2, &word, diag);
        o->replay.drop_punted = o->wire.drop_punted = word == 1;
        break;
    case OPT_FIX_CHECKSUMS:
        o->replay.fix_checksums = true;
        break;
    case OPT_MIRROR:
        o->mirror = optarg;
        break;
    default:
        o->stay = true;
        break;
    }
    return err;
}

static sl_err take_log_option(int id, struct sl_card_options *o, struct sl_diag *diag)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"}, *const formats[] = {"text", "json"};
    unsigned word = 0;
    sl_err err = id == OPT_LOG_LEVEL ? take_word("--log-level", optarg, levels, 4, &word, diag)
                                     : take_word("--log-format", optarg, formats, 2, &word, diag);
    if (!err && id == OPT_LOG_LEVEL)
        o->log_level = (enum sl_log_level)word;
    else if (!err)
        o->log_format = (enum sl_log_format)word;
    return err;
}

/* What no option alone can tell. */
static sl_err check(const struct sl_card_options *o, struct sl_diag *diag)
{
    const struct sl_card_service_config *s = &o->service;
    bool any_tls = s->tls.cert_file != NULL || s->tls.key_file != NULL || s->tls.ca_file != NULL;

    if (s->unix_path == NULL && s->tcp == NULL && !o->has_replay && !o->has_ports)
        return sl_fail(diag, SL_ERR_INVALID, "nothing to do: --listen, --ports or --pcap is needed; see --help");
    if (o->has_replay && o->has_ports)
        return sl_fail(diag, SL_ERR_INVALID, "--ports and --pcap: one of them");
    if (s->tcp != NULL && (s->tls.cert_file == NULL || s->tls.key_file == NULL || s->tls.ca_file == NULL))
        return sl_fail(diag, SL_ERR_INVALID,
                       "--listen tcp: needs --tls-cert, --tls-key and --tls-ca: there is no TCP without mutual TLS");
    if (s->tcp == NULL && any_tls)
        return sl_fail(diag, SL_ERR_INVALID, "--tls-...: there is no --listen tcp: to use it");
    if (s->has_group && s->unix_path == NULL)
        return sl_fail(diag, SL_ERR_INVALID, "--group: there is no --listen unix: to use it");
    if (!o->has_replay && (o->stay || o->replay.wait_sessions > 0 || o->replay.inside_count > 0 || o->replay.fix_checksums))
        return sl_fail(diag, SL_ERR_INVALID, "--stay, --wait-sessions, --inside, --fix-checksums go with --pcap");
    if (!o->has_replay && !o->has_ports && (o->mirror != NULL || o->replay.drop_punted))
        return sl_fail(diag, SL_ERR_INVALID, "--mirror, --punted go with --ports or --pcap");
    if (o->xrt && o->engine.xclbin == NULL)
        return sl_fail(diag, SL_ERR_INVALID, "--engine xrt needs --xclbin");
    return SL_OK;
}

sl_err sl_card_options_parse(int argc, char **argv, struct sl_card_options *out, enum sl_card_start *start, struct sl_diag *diag)
{
    sl_err err = SL_OK;
    int id;

    *out = (struct sl_card_options){.drain_ms = DRAIN_MS_DEFAULT, .log_level = SL_LOG_INFO};
    *start = SL_CARD_START_RUN;
    opterr = 0;
    while (!err && (id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (id >= OPT_ENGINE && id <= OPT_PUBLIC_KEY) {
            err = take_card_option(id, out, diag);
        } else if (id >= OPT_LISTEN && id <= OPT_DRAIN_MS) {
            err = take_service_option(id, out, diag);
        } else if (id >= OPT_PORTS && id <= OPT_STAY) {
            err = take_replay_option(id, argc, argv, out, diag);
        } else if (id == OPT_LOG_LEVEL || id == OPT_LOG_FORMAT) {
            err = take_log_option(id, out, diag);
        } else if (id == OPT_HELP || id == OPT_VERSION) {
            *start = id == OPT_HELP ? SL_CARD_START_HELP : SL_CARD_START_VERSION;
            return SL_OK;
        } else {
            err = sl_fail(diag, SL_ERR_INVALID, "%s: not known, or its argument is missing; see --help", argv[optind - 1]);
        }
    }
    if (!err && optind != argc)
        err = sl_fail(diag, SL_ERR_INVALID, "%s: not an option; see --help", argv[optind]);
    return err ? err : check(out, diag);
}
