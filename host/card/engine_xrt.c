/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A card through XRT: checks what is to be loaded, starts the worker that loads it (xrt_worker.c), and is the link to it by which
 * the engine of engine_link.c works.
 *
 *   engine_link ─▶ rings in shared memory ◀─▶ sluice-card-xrt: pump ◀─▶ buffers of XRT ◀─▶ card
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"
#include "card/engine.h"
#include "card/manifest.h"
#include "card/xrt_area.h"

enum {
    LOAD_MS = 60000, /* a board takes some seconds */
    CLOSE_MS = 1000, /* until the worker ends; and by force */
    GONE_MS = 100,   /* until one ends that has nothing to say any more */
    LOOK_US = 1000,  /* between two looks at the socket */
    SESSIONS_STEP = 64
};

extern char **environ;

struct xrt_link {
    struct sl_card_link head;
    uint8_t *area;
    size_t bytes;
    int socket;
    pid_t worker; /* leads a group of its own; 0: none */
    uint64_t looked_ns;
};

static struct xrt_link *xrt_link(struct sl_card_link *link)
{
    return (struct xrt_link *)(void *)link;
}

static uint64_t mono_ns(void)
{
    return sl_clock_system()->mono_ns(sl_clock_system()->arg);
}

/* ---- the worker ---- */

/* How it ended, as a sentence's end. */
static void say_end(int status, char *text, size_t room)
{
    if (WIFSIGNALED(status))
        snprintf(text, room, "was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, room, "ended with status %d", WEXITSTATUS(status));
}

static bool has_ended(pid_t worker)
{
    siginfo_t info = {.si_pid = 0};
    return waitid(P_PID, (id_t)worker, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

static void await_end(pid_t worker, uint64_t limit_ms)
{
    const uint64_t end = mono_ns() + limit_ms * SL_NS_PER_MS;
    while (!has_ended(worker) && mono_ns() < end)
        nanosleep(&(struct timespec){.tv_nsec = SL_NS_PER_MS / 5}, NULL);
}

/* Waits for its end, if need be after a while by force, with all that it has started. One that not even that ends (a device that
 * holds it in the kernel) is left behind. */
static int end_worker(struct xrt_link *x, uint64_t limit_ms)
{
    int status = 0;
    if (x->worker <= 0)
        return 0;
    await_end(x->worker, limit_ms);
    kill(-x->worker, SIGKILL); /* an emulated device, or what of the worker would not end; its group is there until it is reaped */
    await_end(x->worker, CLOSE_MS);
    (void)waitpid(x->worker, &status, WNOHANG);
    x->worker = 0;
    return status;
}

/* What the worker says, or how it ended. True: it is ready, or has said nothing yet. */
static bool hear(struct xrt_link *x, int flags, struct sl_diag *diag)
{
    char text[400];
    const ssize_t n = recv(x->socket, text, sizeof(text) - 1, flags);
    if (n == 1 && text[0] == '\0')
        return true;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n > 0) {
        text[n] = '\0';
        for (ssize_t i = 0; i < n; i++)
            if (text[i] < ' ' || text[i] > '~')
                text[i] = '?';
        sl_fail(diag, SL_ERR_UNAVAILABLE, "%s", text);
        return false;
    }
    char how[96];
    say_end(end_worker(x, GONE_MS), how, sizeof(how));
    sl_fail(diag, SL_ERR_UNAVAILABLE, "the card's worker %s: the card, or XRT, has failed", how);
    return false;
}

static bool xrt_alive(struct sl_card_link *link, struct sl_diag *diag)
{
    struct xrt_link *x = xrt_link(link);
    const uint64_t now = mono_ns();
    if (now - x->looked_ns < (uint64_t)LOOK_US * 1000)
        return true;
    x->looked_ns = now;
    return hear(x, MSG_DONTWAIT, diag);
}

static void xrt_close(struct sl_card_link *link, enum sl_card_end end)
{
    struct xrt_link *x = xrt_link(link);
    if (x->socket >= 0 && end == SL_CARD_END_CLEAN)
        (void)!send(x->socket, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (x->socket >= 0)
        close(x->socket); /* the worker sees it */
    end_worker(x, end == SL_CARD_END_WIPE ? sl_xrt_wipe_ms(link->rings.sessions) + CLOSE_MS : CLOSE_MS);
    if (x->area != NULL) {
        sl_wipe(x->area, x->bytes);
        munmap(x->area, x->bytes);
    }
    free(x);
}

static const struct sl_card_link_operations operations = {.turn = NULL, .alive = xrt_alive, .close = xrt_close};

/* ---- open ---- */

static sl_err worker_path(const struct sl_engine_options *options, char *path, size_t room, struct sl_diag *diag)
{
    static const char name[] = "sluice-card-xrt";
    if (options->worker != NULL) {
        if (strlen(options->worker) >= room)
            return sl_fail(diag, SL_ERR_INVALID, "the worker's path is too long");
        memcpy(path, options->worker, strlen(options->worker) + 1);
    } else {
        const ssize_t n = readlink("/proc/self/exe", path, room - sizeof(name) - 1);
        if (n <= 0)
            return sl_fail(diag, SL_ERR_IO, "where this program lies cannot be found out: %s", strerror(errno));
        path[n] = '\0';
        memcpy(strrchr(path, '/') + 1, name, sizeof(name));
    }
    if (access(path, X_OK) != 0)
        return sl_fail(diag, SL_ERR_UNSUPPORTED,
                       "%s: %s: it comes with Sluice where XRT was there when it was built; the cpu engine works without", path,
                       strerror(errno));
    return SL_OK;
}

/* Shared with the worker, and with nobody else. */
static sl_err make_area(struct xrt_link *x, int *area)
{
    x->bytes = sl_xrt_layout().bytes;
    *area = memfd_create("sluice-card", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*area < 0 || ftruncate(*area, (off_t)x->bytes) != 0 ||
        fcntl(*area, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return SL_ERR_IO;
    void *memory = mmap(NULL, x->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *area, 0);
    if (memory == MAP_FAILED)
        return SL_ERR_IO;
    x->area = memory;
    (void)madvise(memory, x->bytes, MADV_DONTDUMP);
    (void)mlock(x->area + sl_xrt_layout().commands,
                (size_t)SL_XRT_COMMANDS * card_command_bytes); /* it has keys; as far as allowed */
    return SL_OK;
}

/* fds: what becomes 3, 4, 5 there. They are moved out of each other's way first. */
static sl_err spawn_worker(struct xrt_link *x, const char *path, const int fds[3], unsigned device, uint32_t sessions)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    char number[2][16];
    int high[3] = {-1, -1, -1}, error = 0;
    snprintf(number[0], sizeof(number[0]), "%u", device);
    snprintf(number[1], sizeof(number[1]), "%u", sessions);
    char *argv[] = {(char *)(uintptr_t)path, number[0], number[1], NULL};
    for (unsigned i = 0; i < 3; i++)
        if ((high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 10)) < 0)
            error = errno;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    for (int i = 0; i < 3 && error == 0; i++)
        error = posix_spawn_file_actions_adddup2(&actions, high[i], 3 + i);
    if (error == 0)
        error = posix_spawn_file_actions_addclosefrom_np(&actions, 6);
    if (error == 0)
        error = posix_spawn(&x->worker, path, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    for (unsigned i = 0; i < 3; i++)
        if (high[i] >= 0)
            close(high[i]);
    if (error == 0)
        return SL_OK;
    x->worker = 0;
    errno = error;
    return SL_ERR_IO;
}

static sl_err await_ready(struct xrt_link *x, struct sl_diag *diag)
{
    const uint64_t end = mono_ns() + (uint64_t)LOAD_MS * SL_NS_PER_MS;
    struct pollfd p = {.fd = x->socket, .events = POLLIN};
    int n = -1;
    for (uint64_t now; n < 0 && (now = mono_ns()) < end;)
        n = poll(&p, 1, (int)((end - now) / SL_NS_PER_MS) + 1);
    if (n <= 0)
        return sl_fail(diag, SL_ERR_UNAVAILABLE, "the card was not ready within %d s", LOAD_MS / 1000);
    return hear(x, 0, diag) ? SL_OK : SL_ERR_UNAVAILABLE;
}

static sl_err open_worker(struct xrt_link *x, const struct sl_engine_options *options, const char *path, int xclbin,
                          struct sl_diag *diag)
{
    const uint32_t wanted = options->sessions != 0 ? options->sessions : SL_ENGINE_SESSIONS_MAX;
    const uint32_t sessions = (wanted + SESSIONS_STEP - 1) / SESSIONS_STEP * SESSIONS_STEP;
    int area = -1, pair[2] = {-1, -1};
    sl_err err = make_area(x, &area);
    if (err == SL_OK && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        err = SL_ERR_IO;
    x->socket = pair[0];
    const int fds[3] = {area, pair[1], xclbin}; /* SL_XRT_FD_AREA .. */
    if (err == SL_OK)
        err = spawn_worker(x, path, fds, options->device, sessions);
    if (err != SL_OK)
        sl_fail(diag, err, "%s cannot be started: %s", path, strerror(errno));
    if (area >= 0)
        close(area);
    if (pair[1] >= 0)
        close(pair[1]);
    if (err == SL_OK)
        err = await_ready(x, diag);
    if (err == SL_OK)
        x->head.rings = sl_xrt_rings(x->area, sessions);
    return err;
}

/* XRT compares an xclbin with the shell of a card; emulation takes anything, and so might it do with what is only a simulation's.
 */
static sl_err check_board(const struct sl_card_manifest *manifest, struct sl_diag *diag)
{
    const bool simulated = strcmp(manifest->board, "sim") == 0, emulates = getenv("XCL_EMULATION_MODE") != NULL;
    if (simulated == emulates)
        return SL_OK;
    return sl_fail(diag, SL_ERR_UNSUPPORTED,
                   simulated ? "this xclbin is the simulated card's: XRT would look for a real one; start this with sluice-xrt-run"
                             : "this xclbin is made for a %s, and XRT is told to emulate a card: unset XCL_EMULATION_MODE",
                   manifest->board);
}

sl_err sl_engine_open_xrt(const struct sl_engine_options *options, struct sl_engine **out, struct sl_diag *diag)
{
    struct sl_card_manifest manifest;
    char path[4096];
    int xclbin = -1;
    size_t bytes;
    if (options->xclbin == NULL)
        return sl_fail(diag, SL_ERR_INVALID, "a card needs an xclbin");
    if (options->sessions > SL_ENGINE_SESSIONS_MAX)
        return sl_fail(diag, SL_ERR_INVALID, "%u sessions are more than the %d that a card has room for", options->sessions,
                       SL_ENGINE_SESSIONS_MAX);
    sl_err err = worker_path(options, path, sizeof(path), diag);
    if (err == SL_OK)
        err = sl_card_manifest_load(options->xclbin, options->public_key, &manifest, &xclbin, &bytes, diag);
    if (err != SL_OK)
        return err;
    err = check_board(&manifest, diag);
    if (err != SL_OK) {
        close(xclbin);
        return err;
    }
    struct xrt_link *x = calloc(1, sizeof(*x));
    if (x == NULL) {
        close(xclbin);
        return sl_fail(diag, SL_ERR_NOMEM, "no memory for the link to a card");
    }
    x->head.operations = &operations;
    x->head.kind = "xrt";
    x->head.clock_mhz = manifest.clock_mhz;
    x->socket = -1;
    snprintf(x->head.device, sizeof(x->head.device), "%.*s", (int)sizeof(x->head.device) - 1, manifest.shell);
    err = open_worker(x, options, path, xclbin, diag);
    close(xclbin);
    if (err != SL_OK) {
        xrt_close(&x->head, SL_CARD_END_DEAD);
        return err;
    }
    return sl_engine_open_link(&x->head, options, out, diag);
}
