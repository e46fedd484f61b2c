/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client that foreign servers are tried with.
 *
 *   rpc_test_client TARGET [--tls CERT KEY CA NAME] [--timeout-ms N] [--max-message BYTES] METHOD [REQUEST-JSON]…
 *
 * Sends the requests, prints each response as a line of JSON and then "status ERROR TEXT", where ERROR is the number of the sl_err.
 * With --cancel-after N it cancels after N responses.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/client.h"
#include "rpc/json.h"
#include "rpc/message.h"
#include "sluice/test/v1/conformance.pb-c.h"

static const ProtobufCServiceDescriptor *const SERVICE = &sluice__test__v1__conformance__descriptor;

struct job {
    struct sl_rpc_client_options options;
    struct sl_rpc_tls_files tls;
    uint32_t timeout_ms;
    unsigned cancel_after; /* 0: never */
    const char *method;
    char **requests;
    int request_count;
};

static void print_message(const ProtobufCMessage *message)
{
    char *text = NULL;
    if (sl_json_print(message, 0, &text, NULL) == SL_OK)
        puts(text);
    free(text);
}

static sl_err parse_request(const char *json, ProtobufCMessage **out, struct sl_diag *diag)
{
    return sl_json_parse(&sluice__test__v1__echo_request__descriptor, json, strlen(json), 0, out, diag);
}

static sl_err run_unary(struct sl_rpc_client *client, const struct job *job, struct sl_diag *diag)
{
    ProtobufCMessage *request = NULL, *response = NULL;
    sl_err err = parse_request(job->request_count > 0 ? job->requests[0] : "{}", &request, diag);
    if (err == SL_OK)
        err = sl_rpc_client_call(client, SERVICE, job->method, request, job->timeout_ms, &response, diag);
    if (err == SL_OK)
        print_message(response);
    sl_rpc_message_free(request);
    sl_rpc_message_free(response);
    return err;
}

static sl_err send_all(struct sl_rpc_client_stream *stream, const struct job *job, struct sl_diag *diag)
{
    for (int i = 0; i < job->request_count; i++) {
        ProtobufCMessage *request = NULL;
        sl_err err = parse_request(job->requests[i], &request, diag);
        if (err == SL_OK)
            err = sl_rpc_client_send(stream, request, i + 1 < job->request_count ? SL_RPC_MORE : 0);
        sl_rpc_message_free(request);
        if (err == SL_ERR_CANCELLED)
            return SL_OK; /* finish tells why */
        if (err != SL_OK)
            return err;
    }
    (void)sl_rpc_client_close_send(stream);
    return SL_OK;
}

static sl_err run_stream(struct sl_rpc_client *client, const struct job *job, struct sl_diag *diag)
{
    struct sl_rpc_client_stream *stream = NULL;
    ProtobufCMessage *response = NULL;
    unsigned count = 0;
    sl_err err = sl_rpc_client_open(client, SERVICE, job->method, job->timeout_ms, &stream, diag);
    if (err != SL_OK)
        return err;
    err = send_all(stream, job, diag);
    while (err == SL_OK && (err = sl_rpc_client_recv(stream, &response, diag)) == SL_OK && response != NULL) {
        print_message(response);
        sl_rpc_message_free(response);
        if (++count == job->cancel_after)
            sl_rpc_client_cancel(stream);
    }
    if (err == SL_OK)
        err = sl_rpc_client_finish(stream, diag);
    sl_rpc_client_stream_free(stream);
    return err;
}

int main(int argc, char **argv)
{
    struct job job = {0};
    struct sl_rpc_client *client = NULL;
    struct sl_diag diag = {0};
    int i = 2;
    if (argc < 3)
        return fprintf(stderr, "rpc_test_client: see the head of its source for the arguments\n"), 2;
    job.options.target = argv[1];
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        int left = argc - 1 - i;
        if (strcmp(argv[i], "--tls") == 0 && left >= 4) {
            job.tls = (struct sl_rpc_tls_files){.cert_file = argv[i + 1], .key_file = argv[i + 2], .ca_file = argv[i + 3]};
            job.options.tls = &job.tls;
            job.options.server_name = argv[i + 4];
            i += 4;
        } else if (strcmp(argv[i], "--timeout-ms") == 0 && left >= 1) {
            job.timeout_ms = (uint32_t)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--max-message") == 0 && left >= 1) {
            job.options.max_message_bytes = strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--cancel-after") == 0 && left >= 1) {
            job.cancel_after = (unsigned)strtoul(argv[++i], NULL, 10);
        }
    }
    if (i >= argc)
        return 2;
    job.method = argv[i++];
    job.requests = argv + i;
    job.request_count = argc - i;
    bool unary = strcmp(job.method, "Echo") == 0 || strcmp(job.method, "WhoAmI") == 0 || strcmp(job.method, "GetCounters") == 0;
    sl_err err = sl_rpc_client_new(&job.options, &client, &diag);
    if (err == SL_OK)
        err = unary ? run_unary(client, &job, &diag) : run_stream(client, &job, &diag);
    printf("status %d %s\n", (int)err, err == SL_OK ? "" : diag.text);
    sl_rpc_client_free(client);
    return 0;
}
