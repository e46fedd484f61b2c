# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What hw/compile, hw/link and hw/package share. Sourced; the caller sets `self` to its own name first.
HW=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$HW")
OUTPUT=${SLUICE_HW_BUILD:-$ROOT/build/hw}
# All kernels, in the order in which they are compiled. hw/lint holds this equal to hls/pipeline/kernels.hpp and hw/cmac.
KERNELS=(sluice_lane sluice_state sluice_control sluice_packets cmac_0 cmac_1)
DRY_RUN=

die() {
    echo "$self: $*" >&2
    exit 1
}

usage() { # the caller's comment block, without the interpreter and the licence
    sed -n '3,/^[^#]/{s/^# \{0,1\}//p}' "$HW/$self" >&2
    exit 2
}

# Prints a command, quoted for a shell; runs it unless --dry-run was given.
run() {
    echo "+ ${*@Q}"
    [ -n "$DRY_RUN" ] || "$@"
}

# Writes standard input to a file, and shows it with --dry-run.
write() { # FILE
    if [ -n "$DRY_RUN" ]; then
        echo "+ cat >${1@Q}"
        sed 's/^/  /'
    else
        mkdir -p "$(dirname "$1")"
        cat >"$1"
    fi
}

need() { # PROGRAM WHAT-TO-DO
    [ -n "$DRY_RUN" ] || command -v "$1" >/dev/null || die "$1 is not in PATH. $2"
}

need_vitis() {
    local folder folders
    need v++ "Install AMD Vitis (2023.2 or later) and source its settings64.sh; docs/hardware.md says what else is needed."
    [ -z "$DRY_RUN" ] || return 0
    IFS=: read -ra folders <<<"${PLATFORM_REPO_PATHS:-/opt/xilinx/platforms}"
    for folder in "${folders[@]}"; do
        [ ! -d "$folder/$PLATFORM" ] || return 0
    done
    die "no platform $PLATFORM in ${folders[*]}. Install the development platform of the $TITLE, or set PLATFORM_REPO_PATHS."
}

setting() { # SECTION KEY: from the board's board.cfg
    sed -n "/^\[$1\]/,/^\[/{s/^$2 *= *//p}" "$BOARD_CFG"
}

read_board() { # BOARD
    BOARD=$1
    BOARD_CFG=$HW/platforms/$BOARD/board.cfg
    [ -f "$BOARD_CFG" ] || die "no board '$BOARD'; there are: $(cd "$HW/platforms" && echo */ | tr -d /)"
    TITLE=$(setting board title)
    PLATFORM=$(setting board platform)
    CLOCK_MHZ=$(setting board clock_mhz)
}
