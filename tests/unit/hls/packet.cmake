# SPDX-License-Identifier: Apache-2.0
sl_hls_test(packet_axis LINK sl_hls_packet)
sl_hls_test(packet_parser LINK sl_hls_packet sl_card_model)
sl_hls_test(packet_rewrite LINK sl_hls_packet)
