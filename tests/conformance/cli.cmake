# SPDX-License-Identifier: Apache-2.0
# The management service without a gateway; Python's grpcio and sluicectl are its clients.
add_executable(mgmt_host ${CMAKE_CURRENT_LIST_DIR}/mgmt_host.c)
target_link_libraries(mgmt_host PRIVATE sl_management)

foreach(test management sluicectl)
  add_test(NAME conformance.${test} COMMAND ${SLUICE_PYTEST} ${CMAKE_CURRENT_LIST_DIR}/test_${test}.py)
  set_tests_properties(conformance.${test} PROPERTIES TIMEOUT 600 ENVIRONMENT
    "SLUICE_BUILD_DIR=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1")
endforeach()
