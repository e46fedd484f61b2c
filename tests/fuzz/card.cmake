# SPDX-License-Identifier: Apache-2.0
sl_fuzz_target(card_engine LINK sl_card sl_card_model)
