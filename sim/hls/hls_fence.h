/* SPDX-License-Identifier: Apache-2.0 */
/* hls::fence: what was done with these ports and streams before is done before what comes after. Natively it always is. */
#pragma once

namespace hls
{

template <typename... Ports> void fence(Ports &...)
{
}

} // namespace hls
