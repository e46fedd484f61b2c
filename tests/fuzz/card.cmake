# SPDX-License-Identifier: Apache-2.0
sl_fuzz_target(card_engine LINK sl_card sl_card_model)
sl_fuzz_target(card_commands LINK sl_card_service)
sl_fuzz_target(card_capture LINK sl_card_service)
sl_fuzz_target(card_manifest LINK sl_card)
sl_fuzz_target(card_mirror LINK sl_card)
