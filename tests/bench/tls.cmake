# SPDX-License-Identifier: Apache-2.0
sl_bench(tls LINK sl_tls)
