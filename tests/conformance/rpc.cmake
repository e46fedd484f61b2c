# SPDX-License-Identifier: Apache-2.0
# Our server against Python's grpcio, our client against a Python server.
add_library(rpc_test_service STATIC ${CMAKE_CURRENT_LIST_DIR}/rpc_test_service.c)
target_include_directories(rpc_test_service PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(rpc_test_service PUBLIC sl_rpc)
add_executable(rpc_test_server ${CMAKE_CURRENT_LIST_DIR}/rpc_test_server.c)
target_link_libraries(rpc_test_server PRIVATE rpc_test_service)
add_executable(rpc_test_client ${CMAKE_CURRENT_LIST_DIR}/rpc_test_client.c)
target_link_libraries(rpc_test_client PRIVATE sl_rpc)

foreach(side server client)
  add_test(NAME conformance.rpc.${side} COMMAND ${SLUICE_PYTEST} ${CMAKE_CURRENT_LIST_DIR}/test_rpc_${side}.py)
  set_tests_properties(conformance.rpc.${side} PROPERTIES TIMEOUT 600 ENVIRONMENT
    "SLUICE_BUILD_DIR=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1")
endforeach()
