/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions installed a second over gRPC on a unix socket, and what one costs sluice-card (the process of its own that the cpu
 * engine runs in) in CPU time, and its client. The client runs beside it, on another core where there is one: the sum of both CPU
 * times is what a machine of few cores is bound by.
 *
 *   bench_card_install [stream | openoffload] [rounds]      both, 5 rounds
 *
 *   stream        sluice.card.v1.Card/Program: both lanes of a TLS 1.3 session with their keys, 256 commands a message
 *   openoffload   openoffload.v1.SessionTable/addSession: a session a message, 64 a stream, as its error mask has it
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "card/service/agent.h"
#include "openoffload/v1/openoffload.pb-c.h"
#include "rpc/client.h"
#include "rpc/message.h"
#include "sluice/card/v1/card.pb-c.h"

enum {
    SESSIONS = 100 * 1024,
    PER_MESSAGE = 256,
    PER_STREAM = 64,
    OFFLOAD_THREADS = 2,
    ROUNDS_DEFAULT = 5,
    ROUNDS_MAX = 100,
    KEY_BYTES = 16,
    IV_BYTES = 12
};

static char folder[] = "/tmp/sluice-bench-XXXXXX", socket_path[64], target[80];

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_card_install: %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static double now_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / SL_NS_PER_S;
}

/* ---- sluice-card ---- */

static void serve(void)
{
    struct sl_card_options options = {.service = {.unix_path = socket_path}, .drain_ms = 1000};
    struct sl_card_agent *agent = NULL;
    struct sl_diag diag = {""};
    sigset_t end;
    int number;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing is left behind by a client that fails */
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigprocmask(SIG_BLOCK, &end, NULL);
    sl_log_configure(STDERR_FILENO, SL_LOG_ERROR, SL_LOG_TEXT);
    if (sl_card_agent_start(&options, &agent, &diag) != SL_OK)
        die("sluice-card", diag.text);
    sigwait(&end, &number);
    sl_card_agent_stop(agent);
    exit(EXIT_SUCCESS);
}

static struct sl_rpc_client *connect_client(void)
{
    const struct sl_rpc_client_options options = {.target = target};
    struct sl_rpc_client *client = NULL;
    struct sl_diag diag = {""};
    if (sl_rpc_client_new(&options, &client, &diag) != SL_OK)
        die("client", diag.text);
    return client;
}

/* The socket comes when the engine is open. */
static void await_server(struct sl_rpc_client *client)
{
    Sluice__Card__V1__GetInfoRequest request = SLUICE__CARD__V1__GET_INFO_REQUEST__INIT;
    const struct timespec pause = {.tv_nsec = 20 * SL_NS_PER_MS};
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {""};
    sl_err err = SL_OK;

    for (int tries = 0; tries < 500; tries++) {
        err = sl_rpc_client_call(client, &sluice__card__v1__card__descriptor, "GetInfo", &request.base, 0, &response, &diag);
        if (err != SL_ERR_UNAVAILABLE)
            break;
        nanosleep(&pause, NULL);
    }
    if (err)
        die("sluice-card", diag.text);
    sl_rpc_message_free(response);
}

/* ---- stream ---- */

/* One message of commands, all parts in one place; only flow ids, ports and addresses change between messages. */
struct message {
    Sluice__Card__V1__Commands commands;
    Sluice__Card__V1__Command command[PER_MESSAGE], *list[PER_MESSAGE];
    Sluice__Card__V1__Install install[PER_MESSAGE];
    Sluice__Card__V1__FlowKey key[PER_MESSAGE];
    Sluice__Card__V1__LaneState lane[PER_MESSAGE][2];
    Sluice__Card__V1__KeySet keys[PER_MESSAGE][2];
    char src[PER_MESSAGE][16];
    uint8_t bytes[PER_MESSAGE][2][2 * KEY_BYTES + 2 * IV_BYTES];
};

static char dst[] = "192.0.2.1";

static void make_lane(struct message *m, size_t i, unsigned lane)
{
    Sluice__Card__V1__KeySet *keys = &m->keys[i][lane];
    uint8_t *bytes = m->bytes[i][lane];

    for (size_t k = 0; k < sizeof m->bytes[i][lane]; k++)
        bytes[k] = (uint8_t)rand();
    sluice__card__v1__key_set__init(keys);
    keys->open_key = (ProtobufCBinaryData){KEY_BYTES, bytes};
    keys->seal_key = (ProtobufCBinaryData){KEY_BYTES, bytes + KEY_BYTES};
    keys->open_iv = (ProtobufCBinaryData){IV_BYTES, bytes + 2 * KEY_BYTES};
    keys->seal_iv = (ProtobufCBinaryData){IV_BYTES, bytes + 2 * KEY_BYTES + IV_BYTES};
    sluice__card__v1__lane_state__init(&m->lane[i][lane]);
    m->lane[i][lane].next_seq = (uint32_t)rand();
    m->lane[i][lane].open_record = 5;
    m->lane[i][lane].seal_record = 7;
    m->lane[i][lane].seq_delta = (uint32_t)rand();
    m->lane[i][lane].ack_delta = (uint32_t)rand();
    m->lane[i][lane].tsval_delta = m->lane[i][lane].tsecr_delta = (uint32_t)rand();
    m->lane[i][lane].keys = keys;
}

static struct message *make_message(void)
{
    struct message *m = calloc(1, sizeof *m);
    if (m == NULL)
        die("client", "out of memory");
    sluice__card__v1__commands__init(&m->commands);
    m->commands.commands = m->list;
    m->commands.n_commands = PER_MESSAGE;
    for (size_t i = 0; i < PER_MESSAGE; i++) {
        sluice__card__v1__command__init(&m->command[i]);
        sluice__card__v1__install__init(&m->install[i]);
        sluice__card__v1__flow_key__init(&m->key[i]);
        m->list[i] = &m->command[i];
        m->command[i].what_case = SLUICE__CARD__V1__COMMAND__WHAT_INSTALL;
        m->command[i].install = &m->install[i];
        m->install[i].key = &m->key[i];
        m->install[i].action = SLUICE__CARD__V1__ACTION__TRANSCODE;
        m->install[i].tls = SLUICE__CARD__V1__TLS_VERSION__TLS_1_3;
        m->install[i].inside = &m->lane[i][0];
        m->install[i].outside = &m->lane[i][1];
        m->key[i].src = m->src[i];
        m->key[i].dst = dst;
        m->key[i].dport = 443;
        m->key[i].proto = 6;
        make_lane(m, i, 0);
        make_lane(m, i, 1);
    }
    return m;
}

static void number_message(struct message *m, uint32_t first)
{
    for (uint32_t i = 0; i < PER_MESSAGE; i++) {
        uint32_t n = first + i;
        m->command[i].flow = n;
        m->command[i].cookie = n;
        m->key[i].sport = 1024 + (n & 0x3fff);
        snprintf(m->src[i], sizeof m->src[i], "10.%u.%u.1", n >> 22 & 255, n >> 14 & 255);
    }
}

struct sender {
    struct sl_rpc_client_stream *stream;
    struct message *message;
};

static void *send_all(void *arg)
{
    const struct sender *s = arg;
    for (uint32_t n = 1; n <= SESSIONS; n += PER_MESSAGE) {
        number_message(s->message, n);
        if (sl_rpc_client_send(s->stream, &s->message->commands.base, 0) != SL_OK)
            die("stream", "broke");
    }
    sl_rpc_client_close_send(s->stream);
    return NULL;
}

/* Sends message after message, numbered through; every command must succeed. */
static void run_stream(struct sl_rpc_client *client, struct message *message)
{
    struct sender sender = {.message = message};
    struct sl_diag diag = {""};
    uint32_t good = 0;
    pthread_t thread;

    if (sl_rpc_client_open(client, &sluice__card__v1__card__descriptor, "Program", 0, &sender.stream, &diag) != SL_OK)
        die("stream", diag.text);
    pthread_create(&thread, NULL, send_all, &sender);
    for (;;) {
        ProtobufCMessage *response = NULL;
        if (sl_rpc_client_recv(sender.stream, &response, &diag) != SL_OK || response == NULL)
            break;
        const Sluice__Card__V1__Results *results = (const Sluice__Card__V1__Results *)response;
        for (size_t i = 0; i < results->n_results; i++)
            good += results->results[i]->code == SLUICE__CARD__V1__CODE__OK;
        sl_rpc_message_free(response);
    }
    pthread_join(thread, NULL);
    if (sl_rpc_client_finish(sender.stream, &diag) != SL_OK || good != SESSIONS)
        die("stream: not every command was obeyed", diag.text);
    sl_rpc_client_stream_free(sender.stream);
    free(message);
}

static void install_stream(struct sl_rpc_client *client)
{
    run_stream(client, make_message());
}

static void remove_all(struct sl_rpc_client *client)
{
    static Sluice__Card__V1__Remove remove;
    struct message *m = make_message();
    sluice__card__v1__remove__init(&remove);
    for (size_t i = 0; i < PER_MESSAGE; i++) {
        m->command[i].what_case = SLUICE__CARD__V1__COMMAND__WHAT_REMOVE;
        m->command[i].remove = &remove;
    }
    run_stream(client, m);
}

/* ---- OpenOffload ---- */

static atomic_uint next_group;

static void add_group(struct sl_rpc_client *client, uint32_t first)
{
    Openoffload__V1__ActionParameters action = OPENOFFLOAD__V1__ACTION_PARAMETERS__INIT;
    Openoffload__V1__SessionRequest request = OPENOFFLOAD__V1__SESSION_REQUEST__INIT;
    struct sl_rpc_client_stream *stream = NULL;
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {""};

    if (sl_rpc_client_open(client, &openoffload__v1__session_table__descriptor, "addSession", 0, &stream, &diag) != SL_OK)
        die("addSession", diag.text);
    action.actiontype = OPENOFFLOAD__V1__ACTION__TYPE___FORWARD;
    request.action = &action;
    request.inlif = 1;
    request.outlif = 2;
    request.protocolid = OPENOFFLOAD__V1__PROTOCOL__ID___TCP;
    request.destinationip = 0x010200c0;
    request.destinationport = 443;
    request.cachetimeout = 3600;
    for (uint32_t n = first; n < first + PER_STREAM; n++) {
        request.sessionid = n;
        request.sourceip = 10 | (n >> 14) << 16;
        request.sourceport = 1024 + (n & 0x3fff);
        sl_rpc_client_send(stream, &request.base, n + 1 < first + PER_STREAM ? SL_RPC_MORE : 0);
    }
    sl_rpc_client_close_send(stream);
    if (sl_rpc_client_recv(stream, &response, &diag) != SL_OK || response == NULL ||
        ((const Openoffload__V1__AddSessionResponse *)response)->errorstatus != 0 || sl_rpc_client_finish(stream, &diag) != SL_OK)
        die("addSession: not every session was installed", diag.text);
    sl_rpc_message_free(response);
    sl_rpc_client_stream_free(stream);
}

static void *add_groups(void *arg)
{
    uint32_t group;
    while ((group = atomic_fetch_add(&next_group, 1)) < SESSIONS / PER_STREAM)
        add_group(arg, 1 + group * PER_STREAM);
    return NULL;
}

static void install_openoffload(struct sl_rpc_client *client)
{
    pthread_t threads[OFFLOAD_THREADS];
    atomic_store(&next_group, 0);
    for (size_t i = 0; i < OFFLOAD_THREADS; i++)
        pthread_create(&threads[i], NULL, add_groups, client);
    for (size_t i = 0; i < OFFLOAD_THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* ---- measuring ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof values[0], by_value);
    return values[count / 2];
}

static void report(const char *what, const char *name, const char *unit, double value)
{
    printf("{\"name\": \"card.%s.%s\", \"value\": %.3f, \"unit\": \"%s\", \"peer\": null, \"ratio\": null}\n", what, name, value,
           unit);
}

struct load {
    const char *name;
    void (*install)(struct sl_rpc_client *client);
};
static const struct load loads[] = {{"openoffload", install_openoffload}, {"stream", install_stream}};

/* The medians of several rounds. Each begins with an empty table, and all but the first with memory that was used before. */
static void measure(struct sl_rpc_client *client, const struct load *load, clockid_t server, size_t rounds)
{
    double rate[ROUNDS_MAX], server_us[ROUNDS_MAX], client_us[ROUNDS_MAX];
    for (size_t i = 0; i < rounds; i++) {
        const double server_used = now_s(server), client_used = now_s(CLOCK_PROCESS_CPUTIME_ID), start = now_s(CLOCK_MONOTONIC);
        load->install(client);
        rate[i] = SESSIONS / (now_s(CLOCK_MONOTONIC) - start);
        client_us[i] = (now_s(CLOCK_PROCESS_CPUTIME_ID) - client_used) * 1e6 / SESSIONS;
        server_us[i] = (now_s(server) - server_used) * 1e6 / SESSIONS;
        remove_all(client);
    }
    report("install_per_s", load->name, "sessions/s", median(rate, rounds));
    report("install_cpu_us", load->name, "us", median(server_us, rounds));
    report("install_client_cpu_us", load->name, "us", median(client_us, rounds));
    fprintf(stderr, "%s: %.0f .. %.0f sessions/s in %zu rounds of %d; CPU: server %.2f .. %.2f us, client %.2f .. %.2f us\n",
            load->name, rate[0], rate[rounds - 1], rounds, SESSIONS, server_us[0], server_us[rounds - 1], client_us[0],
            client_us[rounds - 1]);
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : NULL;
    const size_t wanted = argc > 2 ? strtoul(argv[2], NULL, 10) : ROUNDS_DEFAULT;
    const size_t rounds = wanted == 0 ? 1 : wanted < ROUNDS_MAX ? wanted : ROUNDS_MAX;
    clockid_t clock;
    int status;

    if (mkdtemp(folder) == NULL)
        die(folder, strerror(errno));
    snprintf(socket_path, sizeof socket_path, "%s/s", folder);
    snprintf(target, sizeof target, "unix:%s", socket_path);
    pid_t server = fork(); /* before gRPC has threads */
    if (server == 0)
        serve();
    if (server < 0)
        die("fork", strerror(errno));
    const int error = clock_getcpuclockid(server, &clock);
    if (error != 0)
        die("clock_getcpuclockid", strerror(error));
    struct sl_rpc_client *client = connect_client();
    await_server(client);
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++)
        if (only == NULL || strcmp(only, loads[i].name) == 0)
            measure(client, &loads[i], clock, rounds);
    sl_rpc_client_free(client);
    kill(server, SIGTERM);
    if (waitpid(server, &status, 0) != server || status != 0)
        die("sluice-card", "did not end well");
    rmdir(folder);
    return 0;
}
