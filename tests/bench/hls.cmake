# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(BENCH_CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
add_executable(bench_hls ${CMAKE_CURRENT_LIST_DIR}/bench_hls.cpp)
target_link_libraries(bench_hls PRIVATE sl_lane_bench PkgConfig::BENCH_CRYPTO)
