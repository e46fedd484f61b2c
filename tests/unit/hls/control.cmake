# SPDX-License-Identifier: Apache-2.0
sl_hls_test(control LINK sl_hls_control)
