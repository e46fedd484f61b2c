/* SPDX-License-Identifier: Apache-2.0 */
#include "transcoder/spill.hpp"

namespace card
{

void spill(spill_state &s, hls::stream<track_line> &track, hls::stream<finish_line> &finish, hls::stream<state_write> &out)
{
#pragma HLS PIPELINE II = 1
    if (s.broken || track.empty() || finish.empty() || out.full())
        return;
    const track_line position = track.read();
    const finish_line sums = finish.read();
    if (position.index != sums.index)
        s.broken = true;
    else
        out.write(state_write{position.index, position.state, sums.state});
}

} // namespace card
