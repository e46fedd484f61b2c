# SPDX-License-Identifier: Apache-2.0
# How every target of Sluice is built: warnings, hardening, sanitizers; and the functions the folders use.
find_package(PkgConfig REQUIRED)

set(SLUICE_SANITIZE "" CACHE STRING "Sanitizers for the whole build, as for -fsanitize=")
option(SLUICE_FUZZ "Build the libFuzzer targets (clang only)" OFF)
option(SLUICE_CCACHE "Compile through ccache where it is installed" ON)

find_program(SLUICE_CCACHE_PROGRAM ccache)
if(SLUICE_CCACHE AND SLUICE_CCACHE_PROGRAM)
  set(CMAKE_C_COMPILER_LAUNCHER ${SLUICE_CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SLUICE_CCACHE_PROGRAM})
endif()

add_library(sluice_flags INTERFACE)
target_include_directories(sluice_flags INTERFACE ${CMAKE_SOURCE_DIR}/host)
target_compile_definitions(sluice_flags INTERFACE _GNU_SOURCE SLUICE_VERSION="${PROJECT_VERSION}")
target_compile_options(sluice_flags INTERFACE -Wall -Wextra -Wconversion -Wshadow -Wvla -Werror
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> -fno-omit-frame-pointer
  -fstack-protector-strong -fstack-clash-protection -fno-common)
if(SLUICE_SANITIZE)
  target_compile_options(sluice_flags INTERFACE -fsanitize=${SLUICE_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(sluice_flags INTERFACE -fsanitize=${SLUICE_SANITIZE})
else()
  target_compile_options(sluice_flags INTERFACE $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
  target_link_options(sluice_flags INTERFACE -Wl,-z,relro,-z,now)
endif()
if(SLUICE_FUZZ)
  target_compile_options(sluice_flags INTERFACE -fsanitize=fuzzer-no-link) # coverage, which guides the fuzzer
  target_link_options(sluice_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# What the narrower test stages build: the tests to run under ThreadSanitizer, and the fuzzers.
add_custom_target(thread_tests)
add_custom_target(fuzzers)

# sl_library(record SOURCES a.c b.c LINK sl_base PkgConfig::X): the static library sl_record.
function(sl_library name)
  cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
  add_library(sl_${name} STATIC ${A_SOURCES})
  target_link_libraries(sl_${name} PUBLIC sluice_flags ${A_LINK})
endfunction()

# sl_unit_test(record gcm LINK sl_record): tests/unit/record/test_gcm.c becomes the CTest unit.record.gcm. The test runs in its
# binary folder and finds the source tree in the macro SLUICE_SOURCE_DIR. THREADS marks a test that starts threads: it also runs
# under ThreadSanitizer (CTest label "threads").
function(sl_unit_test library file)
  cmake_parse_arguments(A "THREADS" "" "LINK" ${ARGN})
  set(target test_${library}_${file})
  add_executable(${target} ${CMAKE_SOURCE_DIR}/tests/unit/${library}/test_${file}.c)
  target_link_libraries(${target} PRIVATE ${A_LINK} cmocka)
  target_compile_definitions(${target} PRIVATE SLUICE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_test(NAME unit.${library}.${file} COMMAND ${target})
  set_tests_properties(unit.${library}.${file} PROPERTIES TIMEOUT 300)
  if(A_THREADS)
    set_tests_properties(unit.${library}.${file} PROPERTIES LABELS threads)
    add_dependencies(thread_tests ${target})
  endif()
endfunction()

# sl_hls_library(packet SOURCES parser.cpp LINK sl_hls_common): the library sl_hls_packet, a block of the card; without SOURCES,
# headers alone. Kernels find <ap_int.h> and its like by include path, in sim/hls, and use no exceptions, as on the card.
function(sl_hls_library name)
  cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
  if(A_SOURCES)
    add_library(sl_hls_${name} STATIC ${A_SOURCES})
    target_link_libraries(sl_hls_${name} PUBLIC sl_hls_sim ${A_LINK})
    target_compile_options(sl_hls_${name} PRIVATE -fno-exceptions)
  else()
    add_library(sl_hls_${name} INTERFACE)
    target_link_libraries(sl_hls_${name} INTERFACE sl_hls_sim ${A_LINK})
  endif()
endfunction()

# sl_hls_test(packet_parser LINK sl_hls_packet): tests/unit/hls/test_packet_parser.cpp becomes the CTest unit.hls.packet_parser.
function(sl_hls_test file)
  cmake_parse_arguments(A "" "" "LINK" ${ARGN})
  set(target test_hls_${file})
  add_executable(${target} ${CMAKE_SOURCE_DIR}/tests/unit/hls/test_${file}.cpp)
  target_link_libraries(${target} PRIVATE sl_hls_sim ${A_LINK} cmocka)
  target_compile_definitions(${target} PRIVATE SLUICE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_test(NAME unit.hls.${file} COMMAND ${target})
  set_tests_properties(unit.hls.${file} PROPERTIES TIMEOUT 300)
endfunction()

# sl_fuzz_target(client_hello LINK sl_tls): tests/fuzz/fuzz_client_hello.c, or .cpp, seeded from tests/fuzz/corpus/client_hello/; a
# short run is the CTest fuzz.client_hello. Without SLUICE_FUZZ nothing is built.
function(sl_fuzz_target name)
  cmake_parse_arguments(A "" "" "LINK" ${ARGN})
  if(NOT SLUICE_FUZZ)
    return()
  endif()
  set(source ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_${name}.c)
  if(NOT EXISTS ${source})
    set(source ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_${name}.cpp)
  endif()
  add_executable(fuzz_${name} ${source})
  target_link_libraries(fuzz_${name} PRIVATE ${A_LINK})
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzzers fuzz_${name})
  set(corpus ${CMAKE_CURRENT_BINARY_DIR}/corpus-${name})
  file(MAKE_DIRECTORY ${corpus})
  file(MAKE_DIRECTORY ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  add_test(NAME fuzz.${name} COMMAND fuzz_${name} -runs=100000 -max_total_time=15 -max_len=20000 -timeout=10 -rss_limit_mb=2048
    ${corpus} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  set_tests_properties(fuzz.${name} PROPERTIES TIMEOUT 120)
endfunction()

# sl_bench(record LINK sl_record): tests/bench/bench_record.c. The program takes no arguments and prints a JSON object a line,
# {"name", "value", "unit", "peer", "ratio"}, the last two null where there is nothing to compare with; scripts/bench collects them.
function(sl_bench name)
  cmake_parse_arguments(A "" "" "LINK" ${ARGN})
  add_executable(bench_${name} ${CMAKE_SOURCE_DIR}/tests/bench/bench_${name}.c)
  target_link_libraries(bench_${name} PRIVATE ${A_LINK})
  target_compile_definitions(bench_${name} PRIVATE SLUICE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
endfunction()
