# SPDX-License-Identifier: Apache-2.0
# Two SLRs a lane: the one towards the ports (SLR2 has both cages) takes what handles packets and state, the outer one the hashes.
source [file join [file dirname [info script]] .. .. floorplan.tcl]
place_processes sluice_lane_0 SLR1 [concat $packet_and_tables $transcoder]
place_processes sluice_lane_0 SLR0 $hashes
place_processes sluice_lane_1 SLR2 [concat $packet_and_tables $transcoder]
place_processes sluice_lane_1 SLR3 $hashes
# The ciphers lie between the two; the placer divides them.
