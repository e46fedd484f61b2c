# SPDX-License-Identifier: Apache-2.0
#
# One port of the card as a kernel: AMD's UltraScale+ Integrated 100G Ethernet Subsystem (PG203), a FIFO each way to the kernels'
# clock, and the gate that drops whole frames. Not run where Sluice is developed: see README.md.
#
#   gt_serial_port ──▶ mac.axis_rx ─▶ rx_gate ─▶ rx_fifo (other clock) ─▶ M_AXIS
#   gt_serial_port ◀── mac.axis_tx ◀─ tx_fifo (other clock, whole frames) ◀─ S_AXIS          S_AXILITE ─▶ mac.s_axi
#
# usage: vivado -mode batch -source hw/cmac/package.tcl -tclargs OUTPUT.xo NAME PART CORE TRANSCEIVERS REFERENCE_MHZ INIT_MHZ
# The last five are those of the board's board.cfg; hw/compile passes them.

if {$argc != 7} {
    puts stderr "package.tcl: wants OUTPUT.xo NAME PART CORE TRANSCEIVERS REFERENCE_MHZ INIT_MHZ"
    exit 2
}
lassign $argv output name part core transceivers reference_mhz init_mhz
set here [file dirname [file normalize [info script]]]
set output [file normalize $output]
set work [file rootname $output].work
file delete -force $work $output
file mkdir $work

create_project -force $name $work/project -part $part
add_files -norecurse $here/rx_gate.v
update_compile_order -fileset sources_1
create_bd_design port

# ---- the MAC: CAUI-4, AXI4-Stream, RS-FEC built in (switched at run time), no flow control, statistics ------------------------
set mac [create_bd_cell -type ip -vlnv xilinx.com:ip:cmac_usplus mac]
set_property -dict [list \
    CONFIG.CMAC_CAUI4_MODE 1 CONFIG.NUM_LANES 4x25 CONFIG.USER_INTERFACE AXIS CONFIG.OPERATING_MODE Duplex \
    CONFIG.CMAC_CORE_SELECT $core CONFIG.GT_GROUP_SELECT $transceivers CONFIG.GT_REF_CLK_FREQ $reference_mhz \
    CONFIG.GT_DRP_CLK $init_mhz CONFIG.INCLUDE_SHARED_LOGIC 2 CONFIG.TX_FLOW_CONTROL 0 CONFIG.RX_FLOW_CONTROL 0 \
    CONFIG.ENABLE_AXI_INTERFACE 1 CONFIG.INCLUDE_STATISTICS_COUNTERS 1 CONFIG.INCLUDE_RS_FEC 1 \
] $mac

# ---- FIFOs. rx: room for a frame of 9,600 bytes (150 words) and the latency of prog_full is kept free. tx: the MAC must not run
# ---- dry inside a frame, and the lane may pause there, so a frame goes when it is whole. ---------------------------------------
set gate [create_bd_cell -type module -reference rx_gate rx_gate]
set rx_fifo [create_bd_cell -type ip -vlnv xilinx.com:ip:axis_data_fifo rx_fifo]
set_property -dict [list CONFIG.TDATA_NUM_BYTES 64 CONFIG.HAS_TKEEP 1 CONFIG.HAS_TLAST 1 CONFIG.TUSER_WIDTH 1 \
    CONFIG.FIFO_DEPTH 512 CONFIG.IS_ACLK_ASYNC 1 CONFIG.HAS_PROG_FULL 1 CONFIG.PROG_FULL_THRESH 340] $rx_fifo
set tx_fifo [create_bd_cell -type ip -vlnv xilinx.com:ip:axis_data_fifo tx_fifo]
set_property -dict [list CONFIG.TDATA_NUM_BYTES 64 CONFIG.HAS_TKEEP 1 CONFIG.HAS_TLAST 1 CONFIG.TUSER_WIDTH 1 \
    CONFIG.FIFO_DEPTH 512 CONFIG.IS_ACLK_ASYNC 1 CONFIG.FIFO_MODE 2] $tx_fifo

# ---- ports ----------------------------------------------------------------------------------------------------------------------
create_bd_port -dir I -type clk -freq_hz 300000000 ap_clk
create_bd_port -dir I -type rst ap_rst_n
set_property CONFIG.POLARITY ACTIVE_LOW [get_bd_ports ap_rst_n]
create_bd_port -dir I -type clk -freq_hz [expr {int($init_mhz * 1000000)}] init_clk
create_bd_intf_port -mode Slave -vlnv xilinx.com:interface:axis_rtl:1.0 S_AXIS
create_bd_intf_port -mode Master -vlnv xilinx.com:interface:axis_rtl:1.0 M_AXIS
create_bd_intf_port -mode Slave -vlnv xilinx.com:interface:aximm_rtl:1.0 S_AXILITE
create_bd_intf_port -mode Slave -vlnv xilinx.com:interface:diff_clock_rtl:1.0 gt_ref_clk
create_bd_intf_port -mode Master -vlnv xilinx.com:interface:gt_rtl:1.0 gt_serial_port
set_property -dict [list CONFIG.TDATA_NUM_BYTES 64 CONFIG.HAS_TKEEP 1 CONFIG.HAS_TLAST 1 CONFIG.HAS_TREADY 1 \
    CONFIG.TUSER_WIDTH 1 CONFIG.FREQ_HZ 300000000] [get_bd_intf_ports S_AXIS]
set_property -dict [list CONFIG.PROTOCOL AXI4LITE CONFIG.ADDR_WIDTH 13 CONFIG.DATA_WIDTH 32 CONFIG.FREQ_HZ 300000000] \
    [get_bd_intf_ports S_AXILITE]
set_property CONFIG.FREQ_HZ [expr {int($reference_mhz * 1000000)}] [get_bd_intf_ports gt_ref_clk]
set_property CONFIG.ASSOCIATED_BUSIF {S_AXIS:M_AXIS:S_AXILITE} [get_bd_ports ap_clk]

# ---- wires ----------------------------------------------------------------------------------------------------------------------
proc invert {cell from args} {
    create_bd_cell -type ip -vlnv xilinx.com:ip:util_vector_logic $cell
    set_property -dict [list CONFIG.C_OPERATION not CONFIG.C_SIZE 1] [get_bd_cells $cell]
    connect_bd_net $from [get_bd_pins $cell/Op1]
    foreach pin $args {
        connect_bd_net [get_bd_pins $cell/Res] [get_bd_pins $pin]
    }
}

connect_bd_intf_net [get_bd_intf_ports gt_ref_clk] [get_bd_intf_pins mac/gt_ref_clk]
connect_bd_intf_net [get_bd_intf_ports gt_serial_port] [get_bd_intf_pins mac/gt_serial_port]
connect_bd_intf_net [get_bd_intf_ports S_AXILITE] [get_bd_intf_pins mac/s_axi]
connect_bd_intf_net [get_bd_intf_pins mac/axis_rx] [get_bd_intf_pins rx_gate/S_AXIS]
connect_bd_intf_net [get_bd_intf_pins rx_gate/M_AXIS] [get_bd_intf_pins rx_fifo/S_AXIS]
connect_bd_intf_net [get_bd_intf_pins rx_fifo/M_AXIS] [get_bd_intf_ports M_AXIS]
connect_bd_intf_net [get_bd_intf_ports S_AXIS] [get_bd_intf_pins tx_fifo/S_AXIS]
connect_bd_intf_net [get_bd_intf_pins tx_fifo/M_AXIS] [get_bd_intf_pins mac/axis_tx]
connect_bd_net [get_bd_pins rx_fifo/prog_full] [get_bd_pins rx_gate/almost_full]

connect_bd_net [get_bd_ports init_clk] [get_bd_pins mac/init_clk]
connect_bd_net [get_bd_ports ap_clk] [get_bd_pins mac/s_axi_aclk] [get_bd_pins rx_fifo/m_axis_aclk] [get_bd_pins tx_fifo/s_axis_aclk]
connect_bd_net [get_bd_pins mac/gt_txusrclk2] [get_bd_pins tx_fifo/m_axis_aclk]
connect_bd_net [get_bd_pins mac/gt_rxusrclk2] [get_bd_pins mac/rx_clk] [get_bd_pins rx_gate/aclk] [get_bd_pins rx_fifo/s_axis_aclk]
connect_bd_net [get_bd_ports ap_rst_n] [get_bd_pins tx_fifo/s_axis_aresetn]
invert not_reset [get_bd_ports ap_rst_n] mac/sys_reset mac/s_axi_sreset
invert not_rx_reset [get_bd_pins mac/usr_rx_reset] rx_gate/aresetn rx_fifo/s_axis_aresetn
set zero [create_bd_cell -type ip -vlnv xilinx.com:ip:xlconstant zero]
set_property CONFIG.CONST_VAL 0 $zero
foreach pin {core_rx_reset core_tx_reset core_drp_reset drp_clk gtwiz_reset_tx_datapath gtwiz_reset_rx_datapath pm_tick} {
    connect_bd_net [get_bd_pins zero/dout] [get_bd_pins mac/$pin]
}
assign_bd_address
validate_bd_design
save_bd_design

# ---- package --------------------------------------------------------------------------------------------------------------------
set design [get_files port.bd]
generate_target all $design
add_files -norecurse [make_wrapper -files $design -top]
set_property top port_wrapper [current_fileset]
update_compile_order -fileset sources_1
ipx::package_project -root_dir $work/ip -vendor sluice -library kernel -taxonomy /KernelIP -import_files -set_current true
set ip [ipx::current_core]
set_property name $name $ip
set_property sdx_kernel true $ip
set_property sdx_kernel_type rtl $ip
set_property supported_families {} $ip
set_property auto_family_support_level level_2 $ip
ipx::associate_bus_interfaces -busif S_AXIS -clock ap_clk $ip
ipx::associate_bus_interfaces -busif M_AXIS -clock ap_clk $ip
ipx::associate_bus_interfaces -busif S_AXILITE -clock ap_clk $ip
# v++ must not tie init_clk to a kernel clock: it becomes a plain pin, which link.cfg connects.
ipx::remove_bus_interface CLK.INIT_CLK $ip
ipx::update_checksums $ip
ipx::save_core $ip
close_project

set xml [open $here/kernel.xml]
set text [string map [list @NAME@ $name] [read $xml]]
close $xml
set xml [open $work/kernel.xml w]
puts -nonewline $xml $text
close $xml
package_xo -force -xo_path $output -kernel_name $name -ip_directory $work/ip -kernel_xml $work/kernel.xml
