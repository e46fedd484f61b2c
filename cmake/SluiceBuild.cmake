# SPDX-License-Identifier: Apache-2.0
# How every target of Sluice is built: warnings, hardening, sanitizers; and the three functions the folders use.
find_package(PkgConfig REQUIRED)

set(SLUICE_SANITIZE "" CACHE STRING "Sanitizers for the whole build, as for -fsanitize=")
option(SLUICE_FUZZ "Build the libFuzzer targets (clang only)" OFF)

add_library(sluice_flags INTERFACE)
target_include_directories(sluice_flags INTERFACE ${CMAKE_SOURCE_DIR}/host)
target_compile_definitions(sluice_flags INTERFACE _GNU_SOURCE SLUICE_VERSION="${PROJECT_VERSION}")
target_compile_options(sluice_flags INTERFACE -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wvla -Werror
  -fno-omit-frame-pointer -fstack-protector-strong -fno-common)
if(SLUICE_SANITIZE)
  target_compile_options(sluice_flags INTERFACE -fsanitize=${SLUICE_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(sluice_flags INTERFACE -fsanitize=${SLUICE_SANITIZE})
else()
  target_compile_options(sluice_flags INTERFACE $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
  target_link_options(sluice_flags INTERFACE -Wl,-z,relro,-z,now)
endif()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# sl_library(record SOURCES a.c b.c LINK sl_base PkgConfig::X): the static library sl_record.
function(sl_library name)
  cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
  add_library(sl_${name} STATIC ${A_SOURCES})
  target_link_libraries(sl_${name} PUBLIC sluice_flags ${A_LINK})
endfunction()

# sl_unit_test(record gcm LINK sl_record): tests/unit/record/test_gcm.c becomes the CTest unit.record.gcm. The test runs in its
# binary folder and finds the source tree in the macro SLUICE_SOURCE_DIR.
function(sl_unit_test library file)
  cmake_parse_arguments(A "" "" "LINK" ${ARGN})
  set(target test_${library}_${file})
  add_executable(${target} ${CMAKE_SOURCE_DIR}/tests/unit/${library}/test_${file}.c)
  target_link_libraries(${target} PRIVATE ${A_LINK} cmocka)
  target_compile_definitions(${target} PRIVATE SLUICE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_test(NAME unit.${library}.${file} COMMAND ${target})
  set_tests_properties(unit.${library}.${file} PROPERTIES TIMEOUT 300)
endfunction()

# sl_fuzz_target(client_hello LINK sl_tls): tests/fuzz/fuzz_client_hello.c, seeded from tests/fuzz/corpus/client_hello/; a short run is the
# CTest fuzz.client_hello. Without SLUICE_FUZZ nothing is built.
function(sl_fuzz_target name)
  cmake_parse_arguments(A "" "" "LINK" ${ARGN})
  if(NOT SLUICE_FUZZ)
    return()
  endif()
  add_executable(fuzz_${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_${name}.c)
  target_link_libraries(fuzz_${name} PRIVATE ${A_LINK})
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  set(corpus ${CMAKE_CURRENT_BINARY_DIR}/corpus-${name})
  file(MAKE_DIRECTORY ${corpus})
  file(MAKE_DIRECTORY ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  add_test(NAME fuzz.${name} COMMAND fuzz_${name} -runs=20000 -max_total_time=20 -max_len=20000 -timeout=10 -rss_limit_mb=2048 ${corpus}
    ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  set_tests_properties(fuzz.${name} PROPERTIES TIMEOUT 120)
endfunction()
