// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_HLS_HARNESS_HPP
#define SIM_HLS_HARNESS_HPP
#endif
