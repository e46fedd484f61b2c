# SPDX-License-Identifier: Apache-2.0
sl_hls_test(control LINK sl_hls_control)
sl_hls_test(control_lane LINK sl_hls_control sl_hls_pipeline)
