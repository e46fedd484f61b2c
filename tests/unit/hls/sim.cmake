# SPDX-License-Identifier: Apache-2.0
sl_hls_test(sim_ap_uint)
sl_hls_test(sim_stream)
sl_hls_test(sim_harness)
sl_hls_test(sim_memory)
