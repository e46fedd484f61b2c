/* SPDX-License-Identifier: Apache-2.0 */
#include "peer_rte_hash.h"

#include <sched.h>
#include <sys/mman.h>

#include <rte_eal.h>
#include <rte_hash.h>
#include <rte_memory.h>

static struct rte_hash *table;

static int offer_large_pages(const struct rte_memseg_list *list, void *unused)
{
    (void)unused;
    (void)madvise(list->base_va, list->len, MADV_HUGEPAGE);
    return 0;
}

bool peer_init(void)
{
    char *arguments[] = {"bench",          "--no-huge",   "-m",       "1024", "--no-pci", "--no-shconf",
                         "--no-telemetry", "--log-level", "critical", "-l",   "0",        NULL};
    cpu_set_t cpus; /* it ties this thread to a core */
    if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0 || rte_eal_init(11, arguments) < 0 ||
        sched_setaffinity(0, sizeof(cpus), &cpus) != 0)
        return false;
    rte_memseg_list_walk(offer_large_pages, NULL);
    return true;
}

bool peer_fill(const uint8_t *keys, size_t count, size_t key_bytes)
{
    const struct rte_hash_parameters parameters = {
        .name = "peer", .entries = (uint32_t)(count + count / 4), .key_len = (uint32_t)key_bytes};
    table = rte_hash_create(&parameters);
    if (table == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        if (rte_hash_add_key_data(table, keys + i * key_bytes, (void *)(uintptr_t)i) != 0)
            return false;
    return true;
}

void peer_empty(void)
{
    rte_hash_free(table);
    table = NULL;
}

unsigned peer_find(const void *const keys[PEER_BURST], uint64_t *sum)
{
    const void *asked[PEER_BURST];
    void *data[PEER_BURST];
    uint64_t hits = 0;
    for (unsigned i = 0; i < PEER_BURST; i++)
        asked[i] = keys[i];
    rte_hash_lookup_bulk_data(table, asked, PEER_BURST, &hits, data);
    for (unsigned i = 0; i < PEER_BURST; i++)
        if ((hits >> i & 1) != 0)
            *sum += (uintptr_t)data[i];
    return (unsigned)__builtin_popcountll(hits);
}
