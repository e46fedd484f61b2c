# SPDX-License-Identifier: Apache-2.0
if(TARGET sl_card_model)
  sl_hls_test(lane LINK sl_lane_check)
endif()
sl_hls_test(pipeline_ports LINK sl_hls_card)
sl_hls_test(pipeline_packets LINK sl_hls_card)
sl_hls_test(pipeline_card LINK sl_hls_card sl_lane_sender)
pkg_check_modules(LANE_CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
sl_hls_test(lane_attacks LINK sl_lane_bench PkgConfig::LANE_CRYPTO)
