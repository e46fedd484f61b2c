# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
sl_hls_test(aes_gcm_leaves LINK sl_hls_aes_gcm_portable PkgConfig::CRYPTO)
sl_hls_test(aes_gcm_native LINK sl_hls_aes_gcm_portable)
