# SPDX-License-Identifier: Apache-2.0
sl_hls_test(fetch LINK sl_hls_transcoder)
