# SPDX-License-Identifier: Apache-2.0
# sluice-card against Python's grpcio: its own service, OpenOffload's public one, captures through the card.
foreach(part service openoffload replay)
  if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/test_card_${part}.py)
    add_test(NAME conformance.card.${part} COMMAND ${SLUICE_PYTEST} ${CMAKE_CURRENT_LIST_DIR}/test_card_${part}.py)
    set_tests_properties(conformance.card.${part} PROPERTIES TIMEOUT 600 ENVIRONMENT
      "SLUICE_BUILD_DIR=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1")
  endif()
endforeach()
if(SLUICE_XRT)
  # On the simulated card, which dies.
  add_test(NAME conformance.card.death COMMAND ${SLUICE_PYTEST} ${CMAKE_CURRENT_LIST_DIR}/test_card_death.py)
  set_tests_properties(conformance.card.death PROPERTIES TIMEOUT 600 ENVIRONMENT
    "SLUICE_BUILD_DIR=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1")
endif()
