/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The repair of CpuemShim::alloc_void() in Debian's libxrt_swemu.so.2. As shipped it drops what realloc returns:
 *
 *         mov  %rax,buf(%rbx)       48 89 83 disp32    <- where the jump must go
 *   back: mov  %rbp,%rax            48 89 e8           <- where it goes
 *         ...
 *         call realloc
 *         test %rax,%rax            48 85 c0
 *         jne  back                 75 rel8            <- 7 less
 *         mov  buf(%rbx),%rdi       48 8b bb disp32
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum repair_state {
    REPAIR_NEEDED,     /* *at is the byte to lower by 7 */
    REPAIR_NOT_NEEDED, /* the jump goes where it should */
    REPAIR_UNKNOWN,    /* other code: leave it alone */
};

/* Looks at a function's code; changes nothing. */
enum repair_state repair_find(const uint8_t *code, size_t length, size_t *at);
