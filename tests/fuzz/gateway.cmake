# SPDX-License-Identifier: Apache-2.0
sl_fuzz_target(connect_request LINK sl_gateway)
sl_fuzz_target(config LINK sl_gateway)
