/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/sets.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Room for one more item in an array of items of the given size. */
static sl_err grow(void **items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return SL_OK;
    size_t more = *cap ? *cap * 2 : 4;
    void *p = reallocarray(*items, more, size);
    if (!p)
        return SL_ERR_NOMEM;
    *items = p;
    *cap = more;
    return SL_OK;
}

/* ---- addresses ---- */

static int compare_ranges(const void *a, const void *b)
{
    const struct sl_addr_range *x = a, *y = b;
    int order = sl_addr_compare(&x->lo, &y->lo);
    return order ? order : sl_addr_compare(&x->hi, &y->hi);
}

sl_err sl_addr_set_add(struct sl_addr_set *s, const struct sl_addr_range *r)
{
    struct sl_addr_list *l = sl_addr_is_v4(&r->lo) ? &s->v4 : &s->v6;
    void *items = l->ranges;
    sl_err err = grow(&items, l->count, &l->cap, sizeof(*l->ranges));
    if (err)
        return err;
    l->ranges = items;
    l->ranges[l->count++] = *r;
    return SL_OK;
}

/* The address that follows, if there is one. */
static bool next_address(const struct sl_addr *a, struct sl_addr *out)
{
    *out = *a;
    for (size_t i = sizeof(out->b); i-- > 0;)
        if (++out->b[i])
            return true;
    return false;
}

/* Sorted, with overlapping and adjacent ranges made one. */
static void seal_list(struct sl_addr_list *l)
{
    size_t n = 0;

    if (l->count == 0)
        return;
    qsort(l->ranges, l->count, sizeof(*l->ranges), compare_ranges);
    for (size_t i = 1; i < l->count; i++) {
        struct sl_addr_range *last = &l->ranges[n];
        struct sl_addr after;
        bool touches = !next_address(&last->hi, &after) || sl_addr_compare(&l->ranges[i].lo, &after) <= 0;
        if (!touches)
            l->ranges[++n] = l->ranges[i];
        else if (sl_addr_compare(&l->ranges[i].hi, &last->hi) > 0)
            last->hi = l->ranges[i].hi;
    }
    l->count = n + 1;
}

void sl_addr_set_seal(struct sl_addr_set *s)
{
    seal_list(&s->v4);
    seal_list(&s->v6);
}

/* The last range that begins at or before a; NULL: none. */
static const struct sl_addr_range *range_at(const struct sl_addr_list *l, const struct sl_addr *a)
{
    size_t lo = 0, hi = l->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (sl_addr_compare(&l->ranges[mid].lo, a) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? &l->ranges[lo - 1] : NULL;
}

bool sl_addr_set_has(const struct sl_addr_set *s, const struct sl_addr *a)
{
    const struct sl_addr_range *r = range_at(sl_addr_is_v4(a) ? &s->v4 : &s->v6, a);
    return r && sl_addr_compare(a, &r->hi) <= 0;
}

static bool list_covers(const struct sl_addr_list *l, const struct sl_addr_list *part)
{
    for (size_t i = 0; i < part->count; i++) {
        const struct sl_addr_range *r = range_at(l, &part->ranges[i].lo);
        if (!r || sl_addr_compare(&part->ranges[i].hi, &r->hi) > 0)
            return false;
    }
    return true;
}

bool sl_addr_set_covers(const struct sl_addr_set *s, const struct sl_addr_set *part)
{
    return list_covers(&s->v4, &part->v4) && list_covers(&s->v6, &part->v6);
}

void sl_addr_set_free(struct sl_addr_set *s)
{
    free(s->v4.ranges);
    free(s->v6.ranges);
    *s = (struct sl_addr_set){0};
}

/* ---- ports ---- */

/* Decimal digits up to a character that is none; 0: not a port. */
static uint32_t parse_port(const char **at)
{
    uint32_t value = 0;
    const char *p = *at;
    while (*p >= '0' && *p <= '9' && value <= 65535)
        value = value * 10 + (uint32_t)(*p++ - '0');
    *at = p;
    return value <= 65535 ? value : 0;
}

sl_err sl_port_range_parse(const char *text, struct sl_port_range *out, struct sl_diag *diag)
{
    const char *at = text;
    uint32_t lo = parse_port(&at), hi = lo;

    if (lo && *at == '-') {
        at++;
        hi = parse_port(&at);
    }
    if (!lo || !hi || *at)
        return sl_fail(diag, SL_ERR_INVALID,
                       "\"%.80s\" is no TCP port; write a number from 1 to 65535, or a range such as 8000-8099", text);
    if (hi < lo)
        return sl_fail(diag, SL_ERR_INVALID, "\"%.80s\": the last port is before the first; write %u-%u", text, hi, lo);
    out->lo = (uint16_t)lo;
    out->hi = (uint16_t)hi;
    return SL_OK;
}

sl_err sl_port_set_add(struct sl_port_set *s, const struct sl_port_range *r)
{
    void *items = s->ranges;
    sl_err err = grow(&items, s->count, &s->cap, sizeof(*s->ranges));
    if (err)
        return err;
    s->ranges = items;
    s->ranges[s->count++] = *r;
    return SL_OK;
}

static int compare_ports(const void *a, const void *b)
{
    const struct sl_port_range *x = a, *y = b;
    return x->lo != y->lo ? (x->lo < y->lo ? -1 : 1) : (x->hi > y->hi) - (x->hi < y->hi);
}

void sl_port_set_seal(struct sl_port_set *s)
{
    size_t n = 0;

    if (s->count == 0)
        return;
    qsort(s->ranges, s->count, sizeof(*s->ranges), compare_ports);
    for (size_t i = 1; i < s->count; i++)
        if ((uint32_t)s->ranges[i].lo > (uint32_t)s->ranges[n].hi + 1)
            s->ranges[++n] = s->ranges[i];
        else if (s->ranges[i].hi > s->ranges[n].hi)
            s->ranges[n].hi = s->ranges[i].hi;
    s->count = n + 1;
}

static const struct sl_port_range *port_range_at(const struct sl_port_set *s, uint16_t port)
{
    size_t lo = 0, hi = s->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->ranges[mid].lo <= port)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? &s->ranges[lo - 1] : NULL;
}

bool sl_port_set_has(const struct sl_port_set *s, uint16_t port)
{
    const struct sl_port_range *r = port_range_at(s, port);
    return r && port <= r->hi;
}

bool sl_port_set_covers(const struct sl_port_set *s, const struct sl_port_set *part)
{
    for (size_t i = 0; i < part->count; i++) {
        const struct sl_port_range *r = port_range_at(s, part->ranges[i].lo);
        if (!r || part->ranges[i].hi > r->hi)
            return false;
    }
    return true;
}

void sl_port_set_free(struct sl_port_set *s)
{
    free(s->ranges);
    *s = (struct sl_port_set){0};
}

/* ---- names ---- */

/* Lower case without a final dot; the length, or 0 if the name is empty or too long. */
static size_t normalise(const char *text, char out[static SL_NAME_BYTES])
{
    size_t len = strnlen(text, SL_NAME_BYTES);
    struct sl_addr address;

    if (len && text[len - 1] == '.')
        len--;
    if (len == 0 || len >= SL_NAME_BYTES)
        return 0;
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + ('a' - 'A') : text[i]);
    out[len] = '\0';
    if ((isdigit((unsigned char)out[len - 1]) || strchr(out, ':')) && sl_addr_parse(out, &address) == SL_OK)
        len = strlen(sl_addr_text(&address, out));
    return len;
}

static bool label_ok(const char *label, size_t len)
{
    if (len == 0 || len > 63 || label[0] == '-' || label[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)label[i]) && label[i] != '-' && label[i] != '_')
            return false;
    return true;
}

static bool name_ok(const char *name)
{
    if (strlen(name) > 253)
        return false;
    for (;;) {
        size_t len = strcspn(name, ".");
        if (!label_ok(name, len))
            return false;
        if (!name[len])
            return true;
        name += len + 1;
    }
}

sl_err sl_name_pattern_parse(const char *text, struct sl_name_pattern *out, struct sl_diag *diag)
{
    struct sl_name_pattern p = {.below = strncmp(text, "*.", 2) == 0 || strcmp(text, "*") == 0};
    const char *name = p.below ? text + (text[1] ? 2 : 1) : text;
    struct sl_addr address;

    for (const char *c = text; *c; c++)
        if ((unsigned char)*c >= 0x80)
            return sl_fail(diag, SL_ERR_INVALID,
                           "\"%.80s\": write international names as they are on the wire, beginning with xn--", text);
    if (strcmp(text, "*") != 0) {
        size_t len = normalise(name, p.name);
        bool literal = len && sl_addr_parse(p.name, &address) == SL_OK;
        if (strchr(name, '*'))
            return sl_fail(diag, SL_ERR_INVALID,
                           "\"%.80s\": '*' stands only for whole labels at the beginning, as in *.example.com", text);
        if (!len || (literal && p.below) || (!literal && !name_ok(p.name)))
            return sl_fail(diag, SL_ERR_INVALID,
                           "\"%.80s\" is no server name; write example.com, or *.example.com for every name below it", text);
    }
    *out = p;
    return SL_OK;
}

/* Hashed from the end, so that one pass gives the hash of every suffix (FNV-1a with a final mix). */
static uint64_t hash_step(uint64_t h, char c)
{
    return (h ^ (uint8_t)c) * UINT64_C(0x100000001b3);
}

static uint64_t hash_end(uint64_t h)
{
    h ^= h >> 32;
    h *= UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 29);
}

static const uint64_t HASH_START = UINT64_C(0xcbf29ce484222325);

static uint64_t hash_name(const char *name, size_t len)
{
    uint64_t h = HASH_START;
    for (size_t i = len; i-- > 0;)
        h = hash_step(h, name[i]);
    return hash_end(h);
}

sl_err sl_name_key_make(const char *name, struct sl_name_key *out)
{
    uint64_t h = HASH_START;

    out->label_count = 0;
    out->hash = 0;
    out->len = normalise(name, out->name);
    if (!out->len)
        return SL_ERR_INVALID;
    for (size_t i = out->len; i-- > 0;) {
        if (out->name[i] == '.' && i + 1 < out->len && out->label_count < SL_NAME_LABELS_MAX) {
            out->labels[out->label_count].at = i + 1;
            out->labels[out->label_count++].hash = hash_end(h);
        }
        h = hash_step(h, out->name[i]);
    }
    out->hash = hash_end(h);
    return SL_OK;
}

static struct sl_name_entry *find_slot(struct sl_name_entry *slots, size_t cap, uint64_t hash, const char *name, bool below)
{
    for (size_t i = (size_t)hash & (cap - 1);; i = (i + 1) & (cap - 1)) {
        struct sl_name_entry *e = &slots[i];
        if (!e->name || (e->hash == hash && e->below == below && strcmp(e->name, name) == 0))
            return e;
    }
}

static sl_err grow_names(struct sl_name_set *s)
{
    size_t cap = s->cap ? s->cap * 2 : 8;
    struct sl_name_entry *slots;

    if (s->count + 1 <= s->cap / 4 * 3)
        return SL_OK;
    slots = calloc(cap, sizeof(*slots));
    if (!slots)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < s->cap; i++)
        if (s->slots[i].name)
            *find_slot(slots, cap, s->slots[i].hash, s->slots[i].name, s->slots[i].below) = s->slots[i];
    free(s->slots);
    s->slots = slots;
    s->cap = cap;
    return SL_OK;
}

sl_err sl_name_set_add(struct sl_name_set *s, const struct sl_name_pattern *p)
{
    uint64_t hash = hash_name(p->name, strlen(p->name));
    struct sl_name_entry *slot;
    char *copy;

    if (p->below && !p->name[0]) {
        s->every = true;
        return SL_OK;
    }
    sl_err err = grow_names(s);
    if (err)
        return err;
    slot = find_slot(s->slots, s->cap, hash, p->name, p->below);
    if (slot->name)
        return SL_OK;
    copy = strdup(p->name);
    if (!copy)
        return SL_ERR_NOMEM;
    *slot = (struct sl_name_entry){.hash = hash, .name = copy, .below = p->below};
    s->count++;
    return SL_OK;
}

static bool holds(const struct sl_name_set *s, uint64_t hash, const char *name, bool below)
{
    return find_slot(s->slots, s->cap, hash, name, below)->name != NULL;
}

static bool has_name_above(const struct sl_name_set *s, const struct sl_name_key *k)
{
    for (size_t i = 0; i < k->label_count; i++)
        if (holds(s, k->labels[i].hash, k->name + k->labels[i].at, true))
            return true;
    return false;
}

bool sl_name_set_has(const struct sl_name_set *s, const struct sl_name_key *k)
{
    if (s->every)
        return true;
    if (!s->count || !k->len)
        return false;
    return holds(s, k->hash, k->name, false) || has_name_above(s, k);
}

bool sl_name_set_covers(const struct sl_name_set *s, const struct sl_name_set *part)
{
    struct sl_name_key k;

    if (s->every)
        return true;
    if (part->every || (part->count && !s->count))
        return false;
    for (size_t i = 0; i < part->cap; i++) {
        const struct sl_name_entry *e = &part->slots[i];
        if (!e->name)
            continue;
        if (sl_name_key_make(e->name, &k) || !(holds(s, k.hash, k.name, e->below) || has_name_above(s, &k)))
            return false;
    }
    return true;
}

void sl_name_set_free(struct sl_name_set *s)
{
    for (size_t i = 0; i < s->cap; i++)
        free(s->slots[i].name);
    free(s->slots);
    *s = (struct sl_name_set){0};
}
