# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where; what lies beside the programs (service, settings, completion) is in host/cli/CMakeLists.txt.
include(GNUInstallDirs)

if(TARGET sluiced)
  install(TARGETS sluiced RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
endif()
if(TARGET sluicectl)
  install(TARGETS sluicectl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(FILES LICENSE README.md DESTINATION share/doc/sluice OPTIONAL)
install(DIRECTORY docs/ DESTINATION share/doc/sluice FILES_MATCHING PATTERN "*.md" PATTERN "*.svg" PATTERN "*.png")
install(DIRECTORY proto/ DESTINATION share/sluice/proto FILES_MATCHING PATTERN "*.proto" PATTERN "sluice/test" EXCLUDE)
install(PROGRAMS scripts/sluice-tproxy DESTINATION ${CMAKE_INSTALL_SBINDIR})
