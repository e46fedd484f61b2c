/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ap_axiu<D, U, TI, TD>: one transfer on an AXI4-Stream port, as Vitis HLS names it: D data bits, U user bits, TI bits of stream
 * id, TD bits of destination. A side channel of width 0 is not there on the card; here it is a bit that nobody reads.
 */
#pragma once

#include <ap_int.h>

template <int D, int U, int TI, int TD> struct ap_axiu {
    static_assert(D % 8 == 0, "keep and strb count bytes");
    ap_uint<D> data;
    ap_uint<D / 8> keep;
    ap_uint<D / 8> strb;
    ap_uint<(U > 0 ? U : 1)> user;
    ap_uint<1> last;
    ap_uint<(TI > 0 ? TI : 1)> id;
    ap_uint<(TD > 0 ? TD : 1)> dest;
};
