/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of sluice-card. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "card/engine.h"
#include "card/service/replay.h"
#include "card/service/service.h"
#include "card/service/wire.h"

enum sl_card_start { SL_CARD_START_RUN, SL_CARD_START_HELP, SL_CARD_START_VERSION };

struct sl_card_options {
    bool xrt;
    bool cpu_when_dead; /* xrt: the cpu engine takes the place of a dead card */
    struct sl_engine_options engine;
    struct sl_card_service_config service; /* unix_path, tcp, tls, group */
    bool has_replay;
    struct sl_replay_options replay;
    bool has_ports;
    struct sl_wire_options wire;
    const char *sessions; /* JSON file; NULL: none */
    const char *mirror;   /* capture that verified plaintext goes to; NULL: nowhere */
    bool stay;            /* go on serving when the capture has been played */
    uint32_t drain_ms;
    enum sl_log_level log_level;
    enum sl_log_format log_format;
};

/* Strings are those of argv. SL_ERR_INVALID with a sentence in diag. */
sl_err sl_card_options_parse(int argc, char **argv, struct sl_card_options *out, enum sl_card_start *start, struct sl_diag *diag);
extern const char sl_card_usage[];
