# SPDX-License-Identifier: Apache-2.0
sl_fuzz_target(record_bytes LINK sl_record)
sl_fuzz_target(record_stream LINK sl_record)
