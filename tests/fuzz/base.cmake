# SPDX-License-Identifier: Apache-2.0
sl_fuzz_target(log LINK sl_base)
