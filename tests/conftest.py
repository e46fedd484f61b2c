# SPDX-License-Identifier: Apache-2.0
"""What the levels that run real programs share: the lab, and sluiced in it. SLUICE_BUILD_DIR says which build (default: build/dev)."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "sim"))
sys.dont_write_bytecode = True
