/* SPDX-License-Identifier: Apache-2.0 */
/* The leaves that the processes call as `leaf::`. The kernels are made of the portable ones; a simulation may take equivalents that
 * use the processor's own instructions (sim/hls/native/leaves.hpp, held equal by tests/unit/hls/test_aes_gcm_native.cpp). */
#pragma once

#include "aes_gcm/aes.hpp"
#include "aes_gcm/align.hpp"
#include "aes_gcm/counter.hpp"
#include "aes_gcm/gf128.hpp"
#include "common/bytes.hpp"

namespace card
{
namespace portable
{

using card::keep_bytes;
using card::nonzero_bytes;

} // namespace portable
} // namespace card

#ifdef SLUICE_NATIVE_LEAVES
#include "native/leaves.hpp"
namespace card
{
namespace leaf = native;
}
#else
namespace card
{
namespace leaf = portable;
}
#endif
