# SPDX-License-Identifier: Apache-2.0
sl_fuzz_target(json LINK sl_rpc_json)
sl_fuzz_target(message LINK sl_rpc_json)
