#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The simulated card's description and manifest: what hosts see of it is what hw/ says of the board, and bitstreams/check takes it.

Environment: SLUICE_SIM_CARD, the folder with sluice_sim.xclbin, sluice_sim.json and manifest.json
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILT = pathlib.Path(os.environ["SLUICE_SIM_CARD"])


class Description(unittest.TestCase):
    made = json.loads((BUILT / "sluice_sim.json").read_text(encoding="utf-8"))
    link = (ROOT / "hw/platforms/u55c/link-host.cfg").read_text(encoding="utf-8")

    def test_units(self):
        wanted = dict(re.findall(r"^nk=(\w+):\d+:(\S+)$", self.link, re.MULTILINE))
        made = {kernel["name"]: ".".join(unit["name"] for unit in kernel["units"]) for kernel in self.made["kernels"]}
        self.assertEqual(made, wanted)
        bases = [unit.get("base") for kernel in self.made["kernels"] for unit in kernel["units"]]
        self.assertEqual(len(set(bases)), 6)  # lanes have none
        self.assertEqual([kernel["name"] for kernel in self.made["kernels"] if kernel["free_running"]], ["sluice_lane"])

    def test_banks(self):
        wanted = {tuple(line) for line in re.findall(r"^sp=(\w+)\.(\w+):(\S+)$", self.link, re.MULTILINE)}
        made = {(unit["name"], argument, bank) for kernel in self.made["kernels"] for unit in kernel["units"]
                for argument, bank in unit.get("memory", {}).items()}
        self.assertEqual(made, wanted)
        self.assertEqual([bank["name"] for bank in self.made["memory"]], [f"HBM[{n}]" for n in range(32)] + ["HOST[0]"])

    def test_arguments(self):
        """As the host counts them (sim/card/README.md): pointers, scalars, streams."""
        for name, numbers in {"sluice_control": (4, 4, 10), "sluice_packets": (4, 5, 7), "sluice_state": (12, 2, 6),
                              "sluice_lane": (0, 0, 14)}.items():
            types = [argument["type"] for kernel in self.made["kernels"] if kernel["name"] == name
                     for argument in kernel["arguments"]]
            pointers, scalars, streams = numbers
            self.assertEqual(len(types), sum(numbers), name)
            self.assertEqual(set(types[:pointers]) - {"ulong*"}, set(), name)
            self.assertEqual(set(types[pointers:pointers + scalars]) - {"uchar", "uint", "ulong"}, set(), name)
            self.assertEqual(set(types[pointers + scalars:]), {"stream"}, name)
            self.assertGreater(streams, 0)


class Manifest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for name in ("sluice_sim.xclbin", "manifest.json"):
            shutil.copy(BUILT / name, self.folder / name)
        key = self.folder / "key.pem"
        for command in (["genpkey", "-algorithm", "ed25519", "-out", key],
                        ["pkey", "-in", key, "-pubout", "-out", self.folder / "release.pub"],
                        ["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", self.folder / "manifest.json",
                         "-out", self.folder / "manifest.json.sig"]):
            subprocess.run(["openssl", *command], capture_output=True, check=True)

    def check(self, board="sim"):
        command = [ROOT / "bitstreams/check", "--key", self.folder / "release.pub", "--board", board, self.folder]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_good(self):
        done = self.check()
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn("for sim with sluice_sim, packets from host", done.stdout)

    def test_no_board(self):
        """The simulated card's xclbin is none for a board."""
        self.assertEqual(self.check("u55c").returncode, 1)

    def test_changed(self):
        with open(self.folder / "sluice_sim.xclbin", "r+b") as file:
            file.seek(4096)
            byte = file.read(1)[0]
            file.seek(4096)
            file.write(bytes([byte ^ 1]))
        self.assertEqual(self.check().returncode, 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
