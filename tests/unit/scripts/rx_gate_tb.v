// SPDX-License-Identifier: Apache-2.0
//
// rx_gate under random frames, gaps and a FIFO that is emptied now and then: whole frames come out, in order and unchanged; what is
// missing was dropped because the FIFO was almost full at its first word, and is counted; the FIFO never overflows.

`timescale 1ns / 1ns
`default_nettype none

module rx_gate_tb;
    localparam DEPTH = 512, THRESHOLD = 340, LONGEST = 150, FRAMES = 4000;

    reg aclk = 0, aresetn = 0;
    always #1 aclk = !aclk;

    reg [511:0] in_data = 0;
    reg [63:0] in_keep = 0;
    reg in_user = 0, in_last = 0, in_valid = 0;
    wire [511:0] out_data;
    wire [63:0] out_keep;
    wire out_user, out_last, out_valid;
    wire [31:0] dropped;

    // The FIFO: only its fill counts. prog_full comes three cycles late.
    integer fill = 0;
    reg [2:0] late = 0;
    wire almost_full = late[2];

    rx_gate gate (
        .aclk(aclk), .aresetn(aresetn), .almost_full(almost_full),
        .S_AXIS_tdata(in_data), .S_AXIS_tkeep(in_keep), .S_AXIS_tuser(in_user), .S_AXIS_tlast(in_last), .S_AXIS_tvalid(in_valid),
        .M_AXIS_tdata(out_data), .M_AXIS_tkeep(out_keep), .M_AXIS_tuser(out_user), .M_AXIS_tlast(out_last), .M_AXIS_tvalid(out_valid),
        .dropped(dropped)
    );

    // Every word names its frame, its place in it and the frame's length.
    integer seed = 1, frame = 0, word = 0, words = 0, drain = 0;
    integer expected_word = 0, last_frame = -1, passed = 0, errors = 0;

    always @(posedge aclk) begin
        in_valid <= 0;
        if (aresetn && frame < FRAMES && $unsigned($random(seed)) % 8 != 0) begin
            if (word == 0) words = 1 + $unsigned($random(seed)) % ($unsigned($random(seed)) % 4 == 0 ? LONGEST : 4);
            in_valid <= 1;
            in_data  <= {448'd0, frame[31:0], word[15:0], words[15:0]};
            in_last  <= word + 1 == words;
            in_keep  <= word + 1 == words ? 64'd15 : ~64'd0;
            in_user  <= word + 1 == words && frame % 7 == 0;
            if (word + 1 == words) begin word = 0; frame = frame + 1; end
            else word = word + 1;
        end
        // emptied at full speed, not at all, or slowly, for a while each
        if ($unsigned($random(seed)) % 400 == 0) drain = $unsigned($random(seed)) % 3;
        if (fill > 0 && (drain == 2 || drain == 1 && $unsigned($random(seed)) % 4 == 0)) fill = fill - 1;
        if (out_valid) begin
            fill = fill + 1;
            if (fill > DEPTH) begin errors = errors + 1; $display("overflow in frame %0d", out_data[63:32]); end
            if (out_data[31:16] != expected_word || expected_word != 0 && out_data[63:32] != last_frame ||
                expected_word == 0 && $signed(out_data[63:32]) <= last_frame ||
                out_last != (out_data[31:16] + 1 == out_data[15:0]) || out_keep != (out_last ? 64'd15 : ~64'd0) ||
                out_user != (out_last && out_data[63:32] % 7 == 0)) begin
                errors = errors + 1;
                $display("frame %0d word %0d is wrong", out_data[63:32], out_data[31:16]);
            end
            last_frame    = out_data[63:32];
            expected_word = out_last ? 0 : expected_word + 1;
            if (out_last) passed = passed + 1;
        end
        late <= {late[1:0], fill >= THRESHOLD};
    end

    initial begin
        repeat (4) @(posedge aclk);
        aresetn <= 1;
        wait (frame == FRAMES);
        repeat (10) @(posedge aclk);
        if (passed + dropped != FRAMES || expected_word != 0) begin errors = errors + 1; $display("frames are missing"); end
        if (dropped == 0 || passed == 0) begin errors = errors + 1; $display("nothing was dropped, or all"); end
        $display("%0d errors, %0d passed, %0d dropped", errors, passed, dropped);
        $finish;
    end
endmodule

`default_nettype wire
