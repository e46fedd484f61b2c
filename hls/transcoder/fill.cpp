/* SPDX-License-Identifier: Apache-2.0 */
#include "transcoder/fill.hpp"

namespace card
{

void fill(hls::stream<state_read> &in, hls::stream<key_state> &keys, hls::stream<track_state> &track,
          hls::stream<finish_state> &finish)
{
#pragma HLS PIPELINE II = 1
    if (in.empty() || keys.full() || track.full() || finish.full())
        return;
    const state_read read = in.read();
    keys.write(read.state.keys);
    track.write(read.state.track);
    finish.write(read.state.finish);
}

} // namespace card
