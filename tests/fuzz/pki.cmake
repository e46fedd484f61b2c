# SPDX-License-Identifier: Apache-2.0
sl_fuzz_target(pki_import LINK sl_pki)
sl_fuzz_target(pki_chain LINK sl_pki)
sl_fuzz_target(pki_staple LINK sl_pki)
