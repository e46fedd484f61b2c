/* SPDX-License-Identifier: Apache-2.0 */
#include "record/tls.h"

static const struct sl_suite suites[] = {
    {0x009c, SL_TLS12, 16, 32, SL_SHA256, "TLS_RSA_WITH_AES_128_GCM_SHA256"},
    {0x009d, SL_TLS12, 32, 48, SL_SHA384, "TLS_RSA_WITH_AES_256_GCM_SHA384"},
    {0x009e, SL_TLS12, 16, 32, SL_SHA256, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"},
    {0x009f, SL_TLS12, 32, 48, SL_SHA384, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"},
    {0x1301, SL_TLS13, 16, 32, SL_SHA256, "TLS_AES_128_GCM_SHA256"},
    {0x1302, SL_TLS13, 32, 48, SL_SHA384, "TLS_AES_256_GCM_SHA384"},
    {0xc02b, SL_TLS12, 16, 32, SL_SHA256, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
    {0xc02c, SL_TLS12, 32, 48, SL_SHA384, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
    {0xc02f, SL_TLS12, 16, 32, SL_SHA256, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
    {0xc030, SL_TLS12, 32, 48, SL_SHA384, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
};

const struct sl_suite *sl_suite_all(size_t *count)
{
    *count = sizeof(suites) / sizeof(suites[0]);
    return suites;
}

const struct sl_suite *sl_suite_find(uint16_t id)
{
    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        if (suites[i].id == id)
            return &suites[i];
    }
    return NULL;
}
