// SPDX-License-Identifier: Apache-2.0
#include "fault.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct word {
    const char *name;
    int value;
};

static const struct word kinds[] = {{"lose", FAULT_LOSE},   {"delay", FAULT_DELAY},   {"crash", FAULT_CRASH},
                                    {"flip", FAULT_FLIP},   {"die", FAULT_DIE},       {"overrun", FAULT_OVERRUN},
                                    {"stray", FAULT_STRAY}, {"refuse", FAULT_REFUSE}, {NULL, 0}};
static const struct word moments[] = {
    {"start", FAULT_START}, {"done", FAULT_DONE}, {"load", FAULT_LOAD}, {"now", FAULT_NOW}, {NULL, 0}};
static const struct word deaths[] = {{"kill", DEATH_KILL}, {"exit", DEATH_EXIT}, {"vanish", DEATH_VANISH}, {NULL, 0}};
static const struct word signals[] = {{"segv", SIGSEGV}, {"abrt", SIGABRT}, {"fpe", SIGFPE}, {NULL, 0}};

static bool word_of(const struct word *words, const char *text, int *value)
{
    for (; words->name; words++) {
        if (strcmp(words->name, text) == 0) {
            *value = words->value;
            return true;
        }
    }
    return false;
}

static bool number(const char *text, uint64_t most, uint64_t *value)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &end, 0);
    return *end == '\0' && errno == 0 && *value <= most;
}

static bool set(struct fault *fault, const char *key, const char *value)
{
    uint64_t n = 0;
    int word = 0;
    bool ok;
    if (strcmp(key, "unit") == 0) {
        ok = value[0] != '\0' && strlen(value) < sizeof fault->unit;
        if (ok)
            memcpy(fault->unit, value, strlen(value) + 1);
    } else if (strcmp(key, "run") == 0) {
        ok = number(value, UINT64_MAX, &fault->run) && fault->run > 0;
    } else if (strcmp(key, "entry") == 0) {
        ok = number(value, UINT32_MAX, &fault->entry) && fault->entry > 0;
    } else if (strcmp(key, "ms") == 0) {
        ok = number(value, 3600000, &fault->delay_ms);
    } else if (strcmp(key, "byte") == 0) {
        ok = number(value, UINT64_MAX, &fault->byte);
    } else if (strcmp(key, "arg") == 0) {
        ok = number(value, 63, &n);
        fault->argument = (uint32_t)n;
    } else if (strcmp(key, "bit") == 0) {
        ok = number(value, 7, &n);
        fault->bit = (uint32_t)n;
    } else if (strcmp(key, "when") == 0) {
        ok = word_of(moments, value, &word);
        fault->when = (enum fault_when)word;
    } else if (strcmp(key, "how") == 0) {
        ok = word_of(deaths, value, &word);
        fault->how = (enum fault_death)word;
    } else {
        ok = strcmp(key, "signal") == 0 && word_of(signals, value, &fault->signal);
    }
    return ok;
}

static bool sensible_own(const struct fault *fault)
{
    const bool wait = fault->delay_ms > 0;
    return fault->unit[0] && fault->run == 0 && fault->when == FAULT_START && wait == (fault->kind == FAULT_DELAY) &&
           fault->kind != FAULT_CRASH && fault->kind != FAULT_DIE;
}

/* A load has no run, so only a death can happen then; nor has "now", when besides a unit's buffer can change. */
static bool sensible(const struct fault *fault)
{
    if (fault->entry > 0)
        return sensible_own(fault);
    if (fault->kind == FAULT_OVERRUN || fault->kind == FAULT_STRAY || fault->kind == FAULT_REFUSE)
        return false;
    if (fault->kind == FAULT_DIE)
        return true;
    if (fault->kind == FAULT_FLIP && fault->when == FAULT_NOW)
        return fault->unit[0] && fault->run == 0;
    return fault->when == FAULT_START || (fault->when == FAULT_DONE && fault->kind == FAULT_FLIP);
}

/* A line, which is changed: words end in zero afterwards. An empty line is no fault and no error. */
static bool parse_line(struct faults *faults, char *line)
{
    char *rest = NULL;
    int kind;
    char *word = strtok_r(line, " \t\r", &rest);
    if (!word || word[0] == '#')
        return true;
    if (faults->count == FAULT_MAX || !word_of(kinds, word, &kind))
        return false;
    struct fault fault = {.kind = (enum fault_kind)kind, .signal = SIGSEGV};
    while ((word = strtok_r(NULL, " \t\r", &rest))) {
        char *value = strchr(word, '=');
        if (!value)
            return false;
        *value++ = '\0';
        if (!set(&fault, word, value))
            return false;
    }
    if (!sensible(&fault))
        return false;
    faults->list[faults->count++] = fault;
    return true;
}

bool faults_parse(struct faults *faults, const char *text, const char **bad)
{
    char line[256];
    faults->count = 0;
    while (*text) {
        size_t length = strcspn(text, ";\n");
        *bad = text;
        if (length >= sizeof line) {
            faults->count = 0;
            return false;
        }
        memcpy(line, text, length);
        line[length] = '\0';
        if (!parse_line(faults, line)) {
            faults->count = 0;
            return false;
        }
        text += length + (text[length] != '\0');
    }
    return true;
}

bool faults_take(struct faults *faults, enum fault_kind kind, enum fault_when when, const char *unit, uint64_t run,
                 struct fault *fault)
{
    for (size_t i = 0; i < faults->count; i++) {
        struct fault *candidate = &faults->list[i];
        if (candidate->used || candidate->entry || candidate->kind != kind || candidate->when != when)
            continue;
        if (unit && ((candidate->unit[0] && strcmp(candidate->unit, unit) != 0) || (candidate->run && candidate->run != run)))
            continue;
        candidate->used = true;
        *fault = *candidate;
        return true;
    }
    return false;
}

bool faults_take_own(struct faults *faults, const char *unit, struct fault *fault)
{
    for (size_t i = 0; i < faults->count; i++) {
        struct fault *candidate = &faults->list[i];
        if (candidate->used || !candidate->entry || strcmp(candidate->unit, unit) != 0)
            continue;
        candidate->used = true;
        *fault = *candidate;
        return true;
    }
    return false;
}

size_t faults_count_own(const struct faults *faults)
{
    size_t count = 0;
    for (size_t i = 0; i < faults->count; i++)
        count += faults->list[i].entry && !faults->list[i].used;
    return count;
}
