# SPDX-License-Identifier: Apache-2.0
foreach(test session_table session_table_counters)
  sl_hls_test(${test} LINK sl_hls_session_table sl_card)
  target_include_directories(test_hls_${test} PRIVATE ${CMAKE_SOURCE_DIR}/tests/bench)
endforeach()
