# SPDX-License-Identifier: Apache-2.0
sl_fuzz_target(policy_yaml LINK sl_policy)
sl_fuzz_target(policy_config LINK sl_policy)
