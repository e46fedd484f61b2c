/* SPDX-License-Identifier: Apache-2.0 */
/* Without descriptors. A program of its own, since this leaves none for a sanitizer's reports either. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run.h"

static const char plain[] = "default_decryption: do-not-decrypt\non_non_tls: bypass\n";

/* Without descriptors clients wait; with them again they are served. */
static void no_descriptors(void **state)
{
    (void)state;
    static int held[4096]; /* more than may be open: what the machine allows may be a million */
    const struct rlimit few = {.rlim_cur = 1024, .rlim_max = 1024};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct run *r = run_start(plain);
    size_t count = 0;
    char request[128], answer[13];
    int client = run_client(r);

    run_send(client, "GET / HTTP/1.1\r\n\r\n", 18);
    run_receive(client, answer, sizeof answer);
    close(client);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(r->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (count < sizeof held / sizeof held[0] && (held[count] = fcntl(r->origin, F_DUPFD_CLOEXEC, 0)) >= 0)
        count++;
    assert_int_equal(errno, EMFILE);
    assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof at), 0);
    usleep(300000);
    while (count > 0)
        close(held[--count]);
    snprintf(request, sizeof request, "CONNECT 127.0.0.1:%u HTTP/1.1\r\n\r\nx", (unsigned)r->origin_port);
    run_send(client, request, strlen(request));
    int server = run_accept(r);
    run_receive(server, answer, 1);
    close(client);
    close(server);
    run_stop(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
