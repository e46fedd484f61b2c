// SPDX-License-Identifier: Apache-2.0
//
// Between the MAC, which cannot be made to wait, and the FIFO behind it: when the FIFO has no room for a longest frame, whole frames
// are dropped, never parts of one. `almost_full` must leave room for a frame of the MAC's maximum length and for the FIFO's own
// latency. `dropped` counts, and stays at its maximum.

`default_nettype none

module rx_gate (
    (* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF S_AXIS:M_AXIS, ASSOCIATED_RESET aresetn" *)
    input  wire         aclk,
    input  wire         aresetn,
    input  wire         almost_full,
    input  wire [511:0] S_AXIS_tdata,
    input  wire [63:0]  S_AXIS_tkeep,
    input  wire         S_AXIS_tuser,
    input  wire         S_AXIS_tlast,
    input  wire         S_AXIS_tvalid,
    output reg  [511:0] M_AXIS_tdata,
    output reg  [63:0]  M_AXIS_tkeep,
    output reg          M_AXIS_tuser,
    output reg          M_AXIS_tlast,
    output reg          M_AXIS_tvalid,
    output reg  [31:0]  dropped
);

    reg inside; // between the first and the last word of a frame
    reg passing; // this frame's decision, made at its first word

    wire pass = inside ? passing : !almost_full;

    always @(posedge aclk) begin
        M_AXIS_tdata  <= S_AXIS_tdata;
        M_AXIS_tkeep  <= S_AXIS_tkeep;
        M_AXIS_tuser  <= S_AXIS_tuser;
        M_AXIS_tlast  <= S_AXIS_tlast;
        M_AXIS_tvalid <= S_AXIS_tvalid && pass;
        if (S_AXIS_tvalid) begin
            inside  <= !S_AXIS_tlast;
            passing <= pass;
            if (!inside && !pass && dropped != 32'hffff_ffff)
                dropped <= dropped + 1;
        end
        if (!aresetn) begin
            M_AXIS_tvalid <= 1'b0;
            inside        <= 1'b0;
            passing       <= 1'b0;
            dropped       <= 32'd0;
        end
    end

endmodule

`default_nettype wire
