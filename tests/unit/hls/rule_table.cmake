# SPDX-License-Identifier: Apache-2.0
sl_hls_test(rule_table LINK sl_hls_rule_table)
