# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
sl_hls_test(aes_gcm_leaves LINK sl_hls_aes_gcm_portable PkgConfig::CRYPTO)
sl_hls_test(aes_gcm_native LINK sl_hls_aes_gcm_portable)
sl_hls_test(aes_gcm_layout LINK sl_hls_aes_gcm)
sl_hls_test(aes_gcm LINK sl_hls_aes_gcm PkgConfig::CRYPTO PkgConfig::JANSSON)
sl_hls_test(aes_gcm_portable LINK sl_hls_aes_gcm_portable PkgConfig::CRYPTO PkgConfig::JANSSON)
sl_hls_test(aes_gcm_cycles LINK sl_hls_aes_gcm PkgConfig::CRYPTO)
