/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/replay.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"
#include "base/clock.h"
#include "base/log.h"
#include "card/numbers.h"
#include "card/service/capture.h"
#include "card/service/frame.h"
#include "card/service/waiting.h"

enum { BURST = 64, RESULTS = 64, PATIENCE_S = 5, WAITING_BYTES_MAX = 64 << 20, TCP = 20 };

enum state { WAITING, RUNNING, DONE };

struct sl_replay {
    const struct sl_replay_options *options;
    struct sl_card_loop *loop;
    struct sl_capture *in;
    struct sl_capture_writer *out;
    struct sl_engine_flow_key *keys; /* of the sessions there are at the beginning, sorted */
    size_t key_count, key_room;
    bool out_of_memory;

    /* The burst: frames of one lane, of which `given` were taken by the engine. */
    struct sl_engine_frame burst[BURST];
    uint8_t *copies;                /* BURST frames, for those that are changed */
    struct sl_waiting_frame *again; /* the burst is of these: frames that were punted before. NULL: it is of the capture */
    size_t again_line, again_put;   /* their line; so many of them wait again */
    struct sl_waiting *waiting;     /* a line for each key and lane */
    size_t count, given;
    uint64_t time_ns;
    struct sl_capture_frame ahead; /* read, and of the other lane */
    bool has_ahead;
    uint64_t accepted;           /* frames that the engine has taken */
    uint64_t settled;            /* of them, those whose fate is known: results, and by the engine's counters */
    uint64_t gone_before;        /* dropped and lost before the replay began, by the counters of `engine` */
    uint64_t gone_earlier;       /* dropped, or lost, in an engine that died in the middle, or before a reset */
    uint64_t gone_seen, in_seen; /* by the counters, when they were looked at last: dropped and lost; all that it was given */
    const struct sl_engine *engine;
    uint64_t waiting_since_ns;
    struct sl_replay_totals totals;
    enum state state;

    pthread_mutex_t lock;
    pthread_cond_t done_changed;
    bool done;
    sl_err err;
    struct sl_diag diag;
};

sl_err sl_replay_prefix(const char *text, struct sl_replay_prefix *out, struct sl_diag *diag)
{
    char head[INET6_ADDRSTRLEN], *end = NULL;
    const char *slash = strchr(text, '/');
    size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);
    struct sl_replay_prefix prefix = {.version = 0};

    if (length < sizeof head) {
        memcpy(head, text, length);
        head[length] = '\0';
        prefix.version = inet_pton(AF_INET, head, prefix.address) == 1 ? 4 : inet_pton(AF_INET6, head, prefix.address) == 1 ? 6 : 0;
    }
    unsigned long most = prefix.version == 4 ? 32 : 128, bits = most;
    if (slash != NULL)
        bits = slash[1] >= '0' && slash[1] <= '9' ? strtoul(slash + 1, &end, 10) : most + 1;
    if (prefix.version == 0 || bits > most || (end != NULL && *end != '\0'))
        return sl_fail(diag, SL_ERR_INVALID, "\"%s\" is not a prefix such as 192.0.2.0/24", text);
    prefix.bits = (uint8_t)bits;
    *out = prefix;
    return SL_OK;
}

static bool matches(const struct sl_replay_prefix *p, const uint8_t address[16], uint8_t version)
{
    size_t whole = p->bits / 8, rest = p->bits % 8;
    if (p->version != version || memcmp(p->address, address, whole) != 0)
        return false;
    return rest == 0 || ((p->address[whole] ^ address[whole]) & (0xff00 >> rest) & 0xff) == 0;
}

/* ---- lanes ---- */

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct sl_engine_flow_key));
}
static_assert(sizeof(struct sl_engine_flow_key) == 38, "without padding: keys compare as bytes");

static void add_key(void *arg, struct sl_card_session *session)
{
    struct sl_replay *r = arg;
    if (r->key_count == r->key_room) {
        size_t room = r->key_room == 0 ? 64 : r->key_room * 2;
        void *grown = reallocarray(r->keys, room, sizeof *r->keys);
        if (grown == NULL) {
            r->out_of_memory = true;
            return;
        }
        r->keys = grown;
        r->key_room = room;
    }
    r->keys[r->key_count++] = session->key;
}

static const struct sl_engine_flow_key *session_key(const struct sl_replay *r, const struct sl_engine_flow_key *key)
{
    return r->key_count > 0 ? bsearch(key, r->keys, r->key_count, sizeof *r->keys, by_bytes) : NULL;
}

/* The line of `waiting` for frames of a lane. False: they are of no session that there was at the beginning. */
static bool line_of(const struct sl_replay *r, const struct sl_frame_view *view, uint8_t lane, size_t *line)
{
    const struct sl_engine_flow_key reversed = sl_frame_key_reversed(&view->key);
    const struct sl_engine_flow_key *key = session_key(r, lane == 0 ? &view->key : &reversed);

    if (key == NULL)
        return false;
    *line = (size_t)(key - r->keys) * SL_ENGINE_LANES + lane;
    return true;
}

static bool is_inside(const struct sl_replay *r, const uint8_t address[16], uint8_t version)
{
    for (size_t i = 0; i < r->options->inside_count; i++) {
        if (matches(&r->options->inside[i], address, version))
            return true;
    }
    return false;
}

static uint8_t lane_of(const struct sl_replay *r, const struct sl_frame_view *view)
{
    size_t line;
    if (line_of(r, view, 0, &line))
        return 0;
    if (line_of(r, view, 1, &line))
        return 1;
    return !is_inside(r, view->key.src, view->key.version) && is_inside(r, view->key.dst, view->key.version);
}

/* ---- input ---- */

static void finish(struct sl_replay *r, sl_err err)
{
    if (!err && (err = sl_capture_finish(r->out)) != SL_OK)
        sl_fail(&r->diag, err, "%s: not everything could be written", r->options->out);
    else if (err)
        sl_capture_finish(r->out);
    r->out = NULL;
    r->state = DONE;
    pthread_mutex_lock(&r->lock);
    r->done = true;
    r->err = err;
    pthread_cond_broadcast(&r->done_changed);
    pthread_mutex_unlock(&r->lock);
}

/* Puts a frame of the capture into the burst, or keeps it for the next one because it is of the other lane. */
static bool put(struct sl_replay *r, const struct sl_capture_frame *frame)
{
    struct sl_frame_view view;
    bool readable = sl_frame_view(frame->bytes, frame->count, &view);
    uint8_t lane = readable ? lane_of(r, &view) : 0;

    if (r->count > 0 && r->burst[0].lane != lane)
        return false;
    const uint8_t *bytes = frame->bytes;
    if (readable && r->options->fix_checksums) {
        uint8_t *copy = r->copies + r->count * SL_ENGINE_FRAME_MAX;
        bytes = memcpy(copy, frame->bytes, frame->count);
        sl_frame_fix_checksums(copy, &view);
    }
    r->burst[r->count++] = (struct sl_engine_frame){.bytes = bytes, .count = frame->count, .lane = lane, .kind = SL_FRAME_RX};
    r->time_ns = frame->time_ns;
    return true;
}

static void free_again(struct sl_replay *r)
{
    for (struct sl_waiting_frame *next; r->again != NULL; r->again = next) {
        next = r->again->next;
        free(r->again);
    }
}

/* The next burst is of frames that wait, if there are any whose turn may have come. Whatever became of one that does not wait any
 * more, those behind it are tried next. */
static bool fill_again(struct sl_replay *r)
{
    if (r->again != NULL && r->again_put < r->count)
        sl_waiting_stir(r->waiting, r->again_line);
    r->count = r->given = r->again_put = 0;
    free_again(r);
    r->again = sl_waiting_take(r->waiting, BURST, &r->again_line);
    for (struct sl_waiting_frame *f = r->again; f != NULL; f = f->next)
        r->burst[r->count++] = (struct sl_engine_frame){
            .bytes = f->bytes, .count = f->count, .lane = (uint8_t)(r->again_line % SL_ENGINE_LANES), .kind = SL_FRAME_INJECT};
    return r->count > 0;
}

/* The next burst; an empty one at the end. */
static sl_err fill_burst(struct sl_replay *r)
{
    struct sl_capture_frame frame;

    if (fill_again(r))
        return SL_OK;
    if (r->has_ahead)
        put(r, &r->ahead);
    r->has_ahead = false;
    while (r->count < BURST) {
        sl_err err = sl_capture_next(r->in, &frame, &r->diag);
        if (err == SL_ERR_NOT_FOUND)
            return SL_OK;
        if (err)
            return sl_fail_prefix(&r->diag, err, "%s", r->options->in);
        r->totals.frames++;
        r->totals.bytes += frame.count;
        if (frame.count != frame.wire || frame.count == 0 || frame.count > SL_ENGINE_FRAME_MAX) {
            r->totals.unreadable++; /* not captured whole, or longer than any frame of a port */
            continue;
        }
        if (!put(r, &frame)) {
            r->ahead = frame;
            r->has_ahead = true;
            return SL_OK;
        }
    }
    return SL_OK;
}

/* ---- output ---- */

static void write_punted(struct sl_replay *r, unsigned reason, const uint8_t *bytes, uint32_t count)
{
    r->totals.reasons[reason % SL_CARD_REASONS]++;
    if (!r->options->drop_punted)
        sl_capture_write(r->out, r->time_ns, bytes, count);
    r->totals.passed += !r->options->drop_punted;
    r->totals.dropped += r->options->drop_punted;
}

/* What nobody can make use of any more, at the end. */
static void write_waiting(struct sl_replay *r)
{
    size_t line;

    sl_waiting_stir_all(r->waiting);
    for (struct sl_waiting_frame *f; (f = sl_waiting_take(r->waiting, SIZE_MAX, &line)) != NULL;) {
        sl_waiting_stir(r->waiting, line);
        for (struct sl_waiting_frame *next; f != NULL; f = next) {
            next = f->next;
            write_punted(r, f->reason, f->bytes, f->count);
            free(f);
        }
    }
}

/* Whether the punted frame waits for its turn now. */
static bool waits(struct sl_replay *r, const struct sl_engine_result *result)
{
    struct sl_frame_view view;
    size_t line;

    if ((result->punt.reason != SL_PUNT_AHEAD && result->punt.reason != SL_PUNT_KEY_WAIT) ||
        !sl_frame_view(result->bytes, result->count, &view) || !line_of(r, &view, result->lane, &line) || view.end - view.l4 < TCP)
        return false;
    const uint8_t *tcp = result->bytes + view.l4;
    const size_t header = (size_t)(tcp[12] >> 4) * 4, bytes = view.end - view.l4;
    const uint32_t flags = ((tcp[13] & SL_TCP_SYN) != 0 ? 1u : 0u) + ((tcp[13] & SL_TCP_FIN) != 0 ? 1u : 0u);
    struct sl_waiting_frame frame = {.seq = sl_load_be32(tcp + 4), .count = result->count, .reason = result->punt.reason};
    frame.end = frame.seq + (uint32_t)(bytes > header ? bytes - header : 0) + flags;
    if (!sl_waiting_put(r->waiting, line, &frame, result->bytes, r->again == NULL))
        return false;
    r->totals.waited += r->again == NULL;
    r->again_put += r->again != NULL;
    return true;
}

/* Those that wait behind a frame that was sent may follow. */
static void stir(struct sl_replay *r, const struct sl_engine_result *result)
{
    struct sl_frame_view view;
    size_t line;

    if (sl_waiting_count(r->waiting) > 0 && sl_frame_view(result->bytes, result->count, &view) &&
        line_of(r, &view, result->lane, &line))
        sl_waiting_stir(r->waiting, line);
}

static bool take_results(struct sl_replay *r, struct sl_engine *engine)
{
    struct sl_engine_result results[RESULTS];
    size_t n = sl_engine_receive(engine, results, RESULTS);

    for (size_t i = 0; i < n && r->state == RUNNING; i++) {
        r->settled++;
        if (results[i].kind == SL_FRAME_TX) {
            sl_capture_write(r->out, r->time_ns, results[i].bytes, results[i].count);
            r->totals.sent++;
            stir(r, &results[i]);
        } else if (!waits(r, &results[i])) {
            write_punted(r, results[i].punt.reason, results[i].bytes, results[i].count);
        }
    }
    return n > 0;
}

/* Dropped and lost so far. A reset lets the engine count from 0 again: so this is looked at before one can come between, as soon as
 * frames were given. */
static uint64_t lost(struct sl_replay *r, struct sl_engine *engine)
{
    struct sl_engine_counters c;
    sl_engine_counters(engine, &c);
    const uint64_t in = c.frames_in[0] + c.frames_in[1];

    if (in < r->in_seen) {
        r->gone_earlier += r->gone_seen - r->gone_before;
        r->gone_before = 0;
    }
    r->in_seen = in;
    r->gone_seen = c.drops[0] + c.drops[1] + c.lost;
    return r->gone_earlier + (r->gone_seen - r->gone_before);
}

/* From now on the counters of this engine hold. */
static void begin_counting(struct sl_replay *r, struct sl_engine *engine)
{
    r->in_seen = r->gone_before = 0;
    lost(r, engine);
    r->gone_before = r->gone_seen;
    r->engine = engine;
}

/* Whether it is known what became of every frame given so far. */
static bool settled(struct sl_replay *r, struct sl_engine *engine)
{
    return r->settled + lost(r, engine) >= r->accepted;
}

/* Another engine has taken the place of a dead one: what that one had not given back never comes. */
static void move(struct sl_replay *r, struct sl_engine *engine)
{
    r->gone_earlier = r->accepted - r->settled;
    begin_counting(r, engine);
}

static bool begin(struct sl_replay *r, struct sl_engine *engine)
{
    struct sl_card_sessions *table = sl_card_loop_lock(r->loop);
    bool ready = sl_card_sessions_count(table) >= r->options->wait_sessions;
    if (ready)
        sl_card_sessions_visit(table, add_key, r);
    sl_card_loop_unlock(r->loop);
    if (!ready)
        return false;
    if (r->out_of_memory) {
        finish(r, sl_fail(&r->diag, SL_ERR_NOMEM, "out of memory"));
        return true;
    }
    if (r->key_count > 0)
        qsort(r->keys, r->key_count, sizeof *r->keys, by_bytes);
    if (sl_waiting_new(r->key_count * SL_ENGINE_LANES, WAITING_BYTES_MAX, &r->waiting) != SL_OK) {
        finish(r, sl_fail(&r->diag, SL_ERR_NOMEM, "out of memory"));
        return true;
    }
    begin_counting(r, engine);
    r->state = RUNNING;
    sl_log(SL_LOG_INFO, "card", "replay begins", SL_STR("capture", r->options->in), SL_U64("sessions", r->key_count));
    return true;
}

/* The next frames, when those before are settled. */
static bool give(struct sl_replay *r, struct sl_engine *engine)
{
    const struct sl_clock *clock = sl_clock_system();
    uint64_t now = clock->mono_ns(clock->arg);

    if (r->given < r->count) {
        size_t n = sl_engine_send(engine, r->burst + r->given, r->count - r->given);
        r->given += n;
        r->accepted += n;
        lost(r, engine);
        r->waiting_since_ns = now;
        return n > 0;
    }
    if (!settled(r, engine)) {
        if (now - r->waiting_since_ns > (uint64_t)PATIENCE_S * SL_NS_PER_S)
            finish(r, sl_fail(&r->diag, SL_ERR_TIMEOUT, "the card does not tell what became of its frames"));
        return true; /* to be looked at again at once */
    }
    r->totals.lost = lost(r, engine);
    sl_err err = fill_burst(r);
    r->waiting_since_ns = now;
    if (err || r->count == 0) {
        write_waiting(r);
        finish(r, err);
    }
    return true;
}

bool sl_replay_poll(void *replay, struct sl_engine *engine)
{
    struct sl_replay *r = replay;
    if (r->state == RUNNING && r->engine != engine)
        move(r, engine);
    bool busy = take_results(r, engine);

    switch (r->state) {
    case WAITING:
        return (__atomic_load_n(&r->loop, __ATOMIC_ACQUIRE) != NULL && begin(r, engine)) || busy;
    case RUNNING:
        return give(r, engine) || busy;
    default:
        return busy;
    }
}

/* ---- life ---- */

sl_err sl_replay_new(const struct sl_replay_options *options, struct sl_replay **out, struct sl_diag *diag)
{
    struct sl_replay *r = calloc(1, sizeof *r);
    sl_err err;

    if (r == NULL || (r->copies = malloc((size_t)BURST * SL_ENGINE_FRAME_MAX)) == NULL) {
        free(r);
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    }
    r->options = options;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->done_changed, NULL);
    if ((err = sl_capture_open(options->in, &r->in, diag)) != SL_OK ||
        (err = sl_capture_create(options->out, &r->out, diag)) != SL_OK)
        sl_replay_free(r);
    else
        *out = r;
    return err;
}

void sl_replay_set_loop(struct sl_replay *replay, struct sl_card_loop *loop)
{
    __atomic_store_n(&replay->loop, loop, __ATOMIC_RELEASE);
}

bool sl_replay_wait(struct sl_replay *replay, uint32_t timeout_ms, struct sl_replay_totals *totals, sl_err *err,
                    struct sl_diag *diag)
{
    struct timespec until;
    int late = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(timeout_ms % 1000) * SL_NS_PER_MS;
    until.tv_sec += timeout_ms / 1000 + until.tv_nsec / SL_NS_PER_S;
    until.tv_nsec %= SL_NS_PER_S;
    pthread_mutex_lock(&replay->lock);
    while (!replay->done && late != ETIMEDOUT)
        late = pthread_cond_clockwait(&replay->done_changed, &replay->lock, CLOCK_MONOTONIC, &until);
    bool done = replay->done;
    if (done) {
        *totals = replay->totals;
        *err = replay->err;
        *diag = replay->diag;
    }
    pthread_mutex_unlock(&replay->lock);
    return done;
}

void sl_replay_free(struct sl_replay *replay)
{
    if (replay == NULL)
        return;
    sl_capture_close(replay->in);
    sl_capture_finish(replay->out);
    pthread_cond_destroy(&replay->done_changed);
    pthread_mutex_destroy(&replay->lock);
    free_again(replay);
    sl_waiting_free(replay->waiting);
    free(replay->keys);
    free(replay->copies);
    free(replay);
}
