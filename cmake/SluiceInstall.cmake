# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where. The prefix is chosen at installation, so paths inside of files are filled in then (*.in).
#
#   PREFIX/sbin/sluiced, PREFIX/bin/sluicectl
#   PREFIX/lib/systemd/system/sluiced.service            from host/gateway/sluiced.service.in
#   /etc/sluice/sluiced.yaml                             from host/gateway/sluiced.yaml; one that is there is kept
#   PREFIX/share/bash-completion/completions/sluicectl   from host/cli/sluicectl.bash
#   PREFIX/share/doc/sluice/, PREFIX/share/sluice/proto/
#
# The settings lie in /etc when the prefix is /usr or /usr/local, else in PREFIX/etc. DESTDIR comes before everything.
include(GNUInstallDirs)

if(TARGET sluiced)
  install(TARGETS sluiced RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
endif()
if(TARGET sluicectl)
  install(TARGETS sluicectl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(FILES host/cli/sluicectl.bash DESTINATION share/bash-completion/completions RENAME sluicectl OPTIONAL)
install(FILES LICENSE README.md DESTINATION share/doc/sluice OPTIONAL)
install(DIRECTORY docs/ DESTINATION share/doc/sluice FILES_MATCHING PATTERN "*.md" PATTERN "*.svg" PATTERN "*.png")
install(DIRECTORY proto/ DESTINATION share/sluice/proto FILES_MATCHING PATTERN "*.proto" PATTERN "sluice/test" EXCLUDE)

install(CODE "
  set(source \"${CMAKE_SOURCE_DIR}\")
  set(work \"${CMAKE_BINARY_DIR}\")")
install(CODE [==[
  set(sysconfdir "${CMAKE_INSTALL_PREFIX}/etc")
  if(CMAKE_INSTALL_PREFIX MATCHES "^/usr(/local)?/?$")
    set(sysconfdir /etc)
  endif()
  set(sbindir "${CMAKE_INSTALL_PREFIX}/sbin")
  set(bindir "${CMAKE_INSTALL_PREFIX}/bin")
  if(EXISTS "${source}/host/gateway/sluiced.service.in")
    configure_file("${source}/host/gateway/sluiced.service.in" "${work}/install/sluiced.service" @ONLY)
    file(INSTALL "${work}/install/sluiced.service" DESTINATION "${CMAKE_INSTALL_PREFIX}/lib/systemd/system")
  endif()
  if(EXISTS "${source}/host/gateway/sluiced.yaml" AND NOT EXISTS "$ENV{DESTDIR}${sysconfdir}/sluice/sluiced.yaml")
    file(INSTALL "${source}/host/gateway/sluiced.yaml" DESTINATION "${sysconfdir}/sluice")
  endif()
]==])
