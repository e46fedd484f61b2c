// SPDX-License-Identifier: Apache-2.0
/* The same records through the processes with the leaves that are synthesised. */
#include "test_aes_gcm.cpp"
#ifdef SLUICE_NATIVE_LEAVES
#error "this test is of the portable leaves"
#endif
