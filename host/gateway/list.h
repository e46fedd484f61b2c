/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive doubly linked list; the head is a link of its own, an unlinked link points at itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct sl_link {
    struct sl_link *prev, *next;
};

static inline void sl_list_init(struct sl_link *l)
{
    l->prev = l->next = l;
}

static inline bool sl_list_empty(const struct sl_link *head)
{
    return head->next == head;
}

static inline void sl_list_remove(struct sl_link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    sl_list_init(l);
}

static inline void sl_list_append(struct sl_link *head, struct sl_link *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}

#define sl_container_of(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))
