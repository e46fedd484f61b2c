# SPDX-License-Identifier: Apache-2.0
add_executable(bench_hls ${CMAKE_CURRENT_LIST_DIR}/bench_hls.cpp)
target_link_libraries(bench_hls PRIVATE sl_lane_bench sl_lane_sender)
