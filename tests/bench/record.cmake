# SPDX-License-Identifier: Apache-2.0
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$") # counts cycles of the time-stamp counter
  sl_bench(record LINK sl_record)
endif()
