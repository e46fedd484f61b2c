# SPDX-License-Identifier: Apache-2.0
#
# A lane is bigger than an SLR, so `slr=` cannot place it; its processes are placed instead, by the soft property USER_SLR_ASSIGNMENT
# (UG912). Between processes there are only FIFOs, so an SLR crossing costs cycles and no clock.
#
# The patterns are the names that HLS gives to instances of the process functions. They have not been seen on a real netlist: one that
# matches nothing stops the run, rather than leaving the placement to chance.

# Places the cells of a lane whose name has one of the words in it.
proc place_processes {unit slr words} {
    foreach word $words {
        set cells [get_cells -quiet -hierarchical -filter "IS_PRIMITIVE == 0 && NAME =~ */${unit}/*/${word}*_U0"]
        if {[llength $cells] == 0} {
            error "floorplan: no instance of '$word' in $unit; look with: get_cells -hierarchical -filter {NAME =~ */${unit}/*_U0}"
        }
        set_property USER_SLR_ASSIGNMENT $slr $cells
    }
}

set packet_and_tables {rx parser session_table rule_table session_counters payload_sum emit}
set transcoder {fetch fill tracker keys mix finish spill}
set ciphers {keystream}
set hashes {ghash weights}
