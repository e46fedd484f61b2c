# SPDX-License-Identifier: Apache-2.0
sl_fuzz_target(client_hello LINK sl_tls)
sl_fuzz_target(server_leg LINK sl_tls)
