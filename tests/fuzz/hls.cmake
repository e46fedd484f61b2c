# SPDX-License-Identifier: Apache-2.0
sl_fuzz_target(hls_parser LINK sl_hls_packet sl_card_model)
