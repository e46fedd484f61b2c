/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/index.h"

#include <stdlib.h>
#include <string.h>

static int compare_items(const void *a, const void *b)
{
    const struct sl_index_item *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

static sl_err begin(size_t count, struct sl_index *out)
{
    out->items = count ? calloc(count, sizeof(*out->items)) : NULL;
    out->count = out->items ? count : 0;
    return count && !out->items ? SL_ERR_NOMEM : SL_OK;
}

#define DEFINE_INDEX(function, list)                                                                                               \
    sl_err function(const Sluice__V1__Config *c, struct sl_index *out)                                                             \
    {                                                                                                                              \
        sl_err err = begin(c->n_##list, out);                                                                                      \
        for (size_t i = 0; i < out->count; i++)                                                                                    \
            out->items[i] = (struct sl_index_item){c->list[i]->name, i};                                                           \
        if (out->count)                                                                                                            \
            qsort(out->items, out->count, sizeof(*out->items), compare_items);                                                     \
        return err;                                                                                                                \
    }

DEFINE_INDEX(sl_index_networks, networks)
DEFINE_INDEX(sl_index_services, services)
DEFINE_INDEX(sl_index_hosts, hosts)
DEFINE_INDEX(sl_index_decryption_rules, decryption_rules)
DEFINE_INDEX(sl_index_access_rules, access_rules)
DEFINE_INDEX(sl_index_certificates, trusted_certificates)

bool sl_index_find(const struct sl_index *x, const char *name, size_t *at)
{
    size_t lo = 0, hi = x->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(x->items[mid].name, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == x->count || strcmp(x->items[lo].name, name) != 0)
        return false;
    *at = x->items[lo].at;
    return true;
}

void sl_index_free(struct sl_index *x)
{
    free(x->items);
    *x = (struct sl_index){0};
}
