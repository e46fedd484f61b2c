# SPDX-License-Identifier: Apache-2.0
sl_fuzz_target(event LINK sl_event)
