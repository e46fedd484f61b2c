# SPDX-License-Identifier: Apache-2.0
sl_bench(pki LINK sl_pki)
