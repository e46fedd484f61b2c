# SPDX-License-Identifier: Apache-2.0
# Tables (UltraRAM) and hashes at the two ends, a lane each: 273 of an SLR's 320 UltraRAMs. The ciphers of both fill the middle.
source [file join [file dirname [info script]] .. .. floorplan.tcl]
place_processes sluice_lane_0 SLR0 [concat $packet_and_tables $transcoder $hashes]
place_processes sluice_lane_1 SLR2 [concat $packet_and_tables $transcoder $hashes]
