#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""hw/ and bitstreams/: the lint finds what is broken, the scripts say what they would run, the budget is up to date, and no
bitstream passes that was tampered with."""
import contextlib
import copy
import hashlib
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.dont_write_bytecode = True


def load(path):
    loader = importlib.machinery.SourceFileLoader(path.replace("/", "_"), str(ROOT / path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def run(*command, **environment):
    command = [str(part) for part in command]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)


class Lint(Folder):
    lint = load("hw/lint")

    def setUp(self):
        super().setUp()
        for path in ("hw", "bitstreams"):
            shutil.copytree(ROOT / path, self.folder / path)
        (self.folder / "hls/pipeline").mkdir(parents=True)
        for path in ("hls/pipeline/kernels.hpp", "hls/pipeline/kernels.cpp"):
            shutil.copy(ROOT / path, self.folder / path)

    def test_tree_is_clean(self):
        self.assertEqual(self.lint.check(ROOT), [])

    def broken(self, path, old, new, count=1):
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        self.assertIn(old, text, "the test looks for something that is gone")
        file.write_text(text.replace(old, new, count), encoding="utf-8")
        try:
            return self.lint.check(self.folder)
        finally:
            file.write_text(text, encoding="utf-8")

    def test_broken_link_files(self):
        ports, host = "hw/platforms/u55c/link.cfg", "hw/platforms/u250/link-host.cfg"
        cases = [
            (ports, "stream_connect=cmac_0.M_AXIS:sluice_lane_0.rx:64\n", "", "sluice_lane_0.rx is not connected"),
            (ports, "cmac_0.M_AXIS:sluice_lane_0.rx", "cmac_0.M_AXIS:sluice_lane_1.rx", "connected already"),
            (ports, "cmac_0.M_AXIS:sluice_lane_0.rx", "sluice_lane_0.rx:cmac_0.M_AXIS", "is an input"),
            (ports, "cmac_0.M_AXIS:sluice_lane_0.rx", "sluice_lane_0.tx:sluice_lane_0.rx", "drives itself"),
            (ports, ":sluice_lane_0.rx:64", ":sluice_lane_0.rx", "a depth from"),
            (ports, ":sluice_lane_0.rx:64", ":sluice_lane_0.rx:8", "a depth from"),
            (ports, ":sluice_lane_0.rx:", ":sluice_lane_0.receive:", "has no stream receive"),
            (ports, ":sluice_lane_0.rx:", ":sluice_lane_2.rx:", "no compute unit sluice_lane_2"),
            (ports, "sluice_lane_0.rx:64", "sluice_lane_0.rx:64:64", "not UNIT.PORT"),
            (ports, "stream_connect=", "stream_conect=", "unknown key 'stream_conect'"),
            (ports, "[connectivity]", "[conectivity]", "unknown section"),
            (ports, "save-temps=1", "save-temps", "neither section nor"),
            (ports, "nk=sluice_lane:2:", "nk=sluice_lane:3:", "3 units of sluice_lane"),
            (ports, "nk=sluice_lane:2:", "nk=sluice_line:2:", "no kernel sluice_line"),
            (ports, "nk=sluice_lane:2:", "nk=sluice_lane:two:", "not KERNEL:NUMBER"),
            (ports, "sluice_state_0.sluice_state_1\n", "sluice_state_0.sluice_state_0\n", "made twice"),
            (ports, "slr=cmac_0:SLR1", "slr=cmac_0:SLR3", "Alveo U55C has no SLR3"),
            (ports, "slr=cmac_0:SLR1", "slr=cmac_2:SLR1", "no compute unit cmac_2"),
            (ports, "slr=cmac_1:SLR1", "slr=cmac_0:SLR1", "placed twice"),
            (ports, "sp=sluice_state_0.line_3:HBM[6]\n", "", "sluice_state_0.line_3 is in no memory"),
            (ports, "sp=sluice_state_0.line_3:HBM[6]", "sp=sluice_state_0.line_3:HBM[32]", "has no HBM[32]"),
            (ports, "sp=sluice_state_0.line_3:HBM[6]", "sp=sluice_state_0.line_3:HBM[4]", "holds another line already"),
            (ports, "sp=sluice_state_0.line_3:HBM[6]", "sp=sluice_state_0.line_3:DDR[0]", "has no DDR[0]"),
            (ports, "sp=sluice_state_0.write_3:HBM[6]", "sp=sluice_state_0.write_3:HBM[7]", "line 3 of sluice_state_0 is in"),
            (ports, "sp=sluice_state_0.line_3", "sp=sluice_state_0.line_9", "no memory port line_9"),
            (ports, "sp=sluice_state_0.line_3", "sp=sluice_state_0.line_2", "mapped already"),
            (ports, "sp=sluice_state_0.line_3:HBM[6]", "sp=sluice_state_0.line_3=HBM[6]", "not UNIT.PORT:BANK"),
            (ports, "/gt_ref_clk", "/gt_refclk", "no pin cmac_0/gt_refclk"),
            (ports, "connect=io_clk_qsfp0_refclka_00:cmac_0/gt_ref_clk\n", "", "cmac_0/gt_ref_clk is not connected"),
            (ports, "kernel_frequency=300", "kernel_frequency=200", "kernel_frequency is not 300"),
            (host, "DDR[3]", "DDR[4]", "Alveo U250 has no DDR[4]"),
            (host, "nk=sluice_control:1:sluice_control_0\n", "", "makes no sluice_control"),
            (host, "nk=sluice_control:", "nk=cmac_0:1:cmac_0\nnk=sluice_control:", "do not belong here"),
            (host, "sluice_packets_0.sluice_packets_1", "sluice_packets_0.sluice_packets_9", "different compute units"),
        ]
        for path, old, new, expected in cases:
            with self.subTest(old=old, new=new):
                self.assertIn(expected, "\n".join(self.broken(path, old, new)))

    def test_broken_neighbours(self):
        cases = [
            ("hw/common.bash", "sluice_state ", "", "KERNELS are"),
            ("hw/platforms/u55c/board.cfg", "bank_gb_s", "bank_gbs", "has not the keys"),
            ("hw/platforms/u55c/board.cfg", "banks = HBM:32", "banks = HBM", "board.cfg"),
            ("hw/platforms/u55c/board.cfg", "[resources]", "[resource]", "board.cfg"),
            ("hw/platforms/u55c/board.cfg", "xdma_3_202210_1", "xdma_4_202210_1", "boards and shells"),
            ("hw/cmac/kernel.xml", 'name="M_AXIS" mode="write_only"', 'name="M_AXIS" mode="read_only"', "is an input"),
            ("hw/cmac/kernel.xml", 'port name="S_AXIS"', 'port name="T_AXIS"', "has no stream S_AXIS"),
            ("hw/cmac/package.tcl", "init_clk", "start_clk", "makes no init_clk"),
            ("bitstreams/release.json", '"sluice_lane": "', '"sluice_line": "', "kernels are"),
            ("bitstreams/release.json", '"sluice_lane": "', '"sluice_lane": "v', "is not one"),
            ("bitstreams/release.json", '"format": 1', '"format": 2', "another format"),
            ("bitstreams/release.json", '"kernels"', '"kernel"', "not format, boards and kernels"),
            ("bitstreams/manifest.schema.json", '"sluice_lane", ', "", "kernels are"),
            ("bitstreams/manifest.schema.json", '"enum": ["sim", "u250", "u55c"]', '"enum": ["u250", "u55c"]', "boards are"),
            ("bitstreams/release.json", '"sim": "sluice_sim"', '"sim": "sluice_simulated"', "boards and shells"),
            ("hls/pipeline/kernels.hpp", "void sluice_state(", "void sluice_states(", "no kernel sluice_state"),
            ("hls/pipeline/kernels.cpp", "void sluice_state(", "void sluice_states(", "declared and not defined"),
        ]
        for path, old, new, expected in cases:
            with self.subTest(path=path, old=old):
                every = path == "hw/cmac/package.tcl"
                self.assertIn(expected, "\n".join(self.broken(path, old, new, -1 if every else 1)))

    def test_missing_link_file(self):
        (self.folder / "hw/platforms/u250/link.cfg").unlink()
        self.assertIn("hw/platforms/u250/link.cfg: is missing", self.lint.check(self.folder))

    def test_unreadable(self):
        for path in ("bitstreams/release.json", "hw/cmac/kernel.xml"):
            self.assertIn("cannot go on", self.broken(path, "<" if path.endswith("xml") else "{", "")[0])
        (self.folder / "hls/pipeline/kernels.hpp").unlink()
        self.assertIn("kernels.hpp", self.lint.check(self.folder)[0])

    def test_pragmas(self):
        """Both ways to write one; a port without one, and one without a port."""
        for line, expected in (("m_axi port = a bundle = g0", {"mode": "m_axi", "port": "a", "bundle": "g0"}),
                               ("mode=axis port=b", {"mode": "axis", "port": "b"})):
            self.assertEqual(self.lint.read_pragma(line), expected)
        header = "void sluice_x(hls::stream<word> &b, hls::stream<word> &c, ap_uint<512> *a, uint32_t n);\n"
        body = ("#pragma HLS INTERFACE mode=axis port=b\n#pragma HLS interface m_axi port = a bundle = g0\n"
                "%s b.read(); c.%s;\n#pragma HLS INTERFACE s_axilite port=n\n")
        axis_c, free = "#pragma HLS INTERFACE axis port=c\n", "#pragma HLS INTERFACE ap_ctrl_none port=return\n"
        cases = [
            (axis_c, "write(1)", []),
            ("", "write(1)", ["mode=axis port=c"]),
            (axis_c, "size()", ["is c an input or an output?"]),
            (axis_c + "#pragma HLS INTERFACE axis port=d\n", "write(1)", ["pragma for d"]),
            (axis_c + free, "write(1)", ["needs s_axilite control"]),
            (axis_c + "#pragma HLS INTERFACE m_axi port=n bundle=g1\n", "write(1)", ["mode=s_axilite port=n"]),
        ]
        for pragma, use, expected in cases:
            with self.subTest(pragma=pragma, use=use):
                (self.folder / "hls/pipeline/kernels.hpp").write_text(header, encoding="utf-8")
                text = header.replace(";\n", "\n{\n") + body % (pragma, use) + "}\n"
                (self.folder / "hls/pipeline/kernels.cpp").write_text(text, encoding="utf-8")
                findings = []
                kernels = self.lint.read_kernels(self.folder, findings)
                self.assertEqual(len(findings), len(expected), findings)
                for finding, part in zip(findings, expected):
                    self.assertIn(part, finding)
                self.assertEqual((list(kernels["sluice_x"].streams), kernels["sluice_x"].masters), (["b", "c"], {"a": "g0"}))


class Scripts(Folder):
    """The tools are not there; what would be run is printed."""

    def test_compile(self):
        done = run(ROOT / "hw/compile", "--dry-run", "sluice_lane", "u55c")
        self.assertEqual(done.returncode, 0, done.stderr)
        last = done.stdout.splitlines()[-1]
        for part in ("'v++' '-c' '--mode' 'hls'", "'--platform' 'xilinx_u55c_gen3x16_xdma_3_202210_1'", "'--freqhz' '300MHz'"):
            self.assertIn(part, last)
        source = f"syn.file={ROOT}/hls/pipeline/kernels.cpp"
        for line in ("syn.top=sluice_lane", source, "package.output.format=xo", "flow_target=vitis"):
            self.assertIn(f"  {line}\n", done.stdout)
        self.assertNotIn("card.cpp", done.stdout)

    def test_compile_all(self):
        done = run(ROOT / "hw/compile", "--dry-run", "all", "u250")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("+ 'v++' '-c'"), 4)
        self.assertEqual(done.stdout.count("+ 'vivado' '-mode' 'batch'"), 2)
        self.assertIn("'cmac_1' 'xcu250-figd2104-2L-e' 'CMACE4_X0Y6' 'X1Y40~X1Y43' '156.25' '100'", done.stdout)

    def test_link(self):
        cases = [
            (["u55c"], "link.cfg", "sluice-ports.xclbin", 6),
            (["u55c", "host"], "link-host.cfg", "sluice-host.xclbin", 4),
            (["u250", "ports"], "link.cfg", "sluice-ports.xclbin", 6),
        ]
        for arguments, config, output, objects in cases:
            with self.subTest(arguments=arguments):
                done = run(ROOT / "hw/link", "--dry-run", "--over-budget", *arguments)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(f"'--config' '{ROOT}/hw/platforms/{arguments[0]}/{config}'", done.stdout)
                self.assertIn("floorplan.tcl", done.stdout)
                self.assertIn(f"{output}'", done.stdout)
                self.assertEqual(done.stdout.count(".xo'"), objects)
        done = run(ROOT / "hw/link", "--dry-run", "--emulation", "u250", "host")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("'-t' 'hw_emu'", done.stdout)

    def test_package(self):
        done = run(ROOT / "hw/package", "--dry-run", "--key", "k.pem", "--builder", "A. B.", "u55c", "host")
        self.assertEqual(done.returncode, 0, done.stderr)
        signing = "'pkeyutl' '-sign' '-rawin' '-inkey' 'k.pem'"
        for part in ("'xclbinutil'", "'--builder' 'A. B.'", signing, "bitstreams/check --key"):
            self.assertIn(part, done.stdout)

    def test_refusals(self):
        empty = self.folder / "bin"
        empty.mkdir()
        for tool in ("bash", "dirname", "readlink", "sed", "grep", "env"):
            (empty / tool).symlink_to(shutil.which(tool))
        cases = [
            (["hw/compile", "sluice_lane", "u55c"], 1, "v++ is not in PATH"),
            (["hw/compile", "cmac_0", "u55c"], 1, "vivado is not in PATH"),
            (["hw/compile", "sluice_line", "u55c"], 1, "no kernel 'sluice_line'"),
            (["hw/compile", "sluice_lane", "u999"], 1, "no board 'u999'"),
            (["hw/compile"], 2, "usage: hw/compile"),
            (["hw/link", "u250", "host"], 1, "over budget"),
            (["hw/link", "--over-budget", "u250", "host"], 1, "v++ is not in PATH"),
            (["hw/link", "--emulation", "u250", "ports"], 1, "cannot be emulated"),
            (["hw/link", "u250", "wires"], 1, "no attachment 'wires'"),
            (["hw/link", "--fast", "u250"], 2, "usage: hw/link"),
            (["hw/package", "u250"], 2, "usage: hw/package"),
            (["hw/package", "--builder", "x", "u250"], 1, "is missing: hw/link u250 ports"),
        ]
        for (script, *arguments), code, expected in cases:
            with self.subTest(script=script, arguments=arguments):
                done = run(ROOT / script, *arguments, PATH=str(empty), SLUICE_HW_BUILD=str(self.folder / "build"))
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(expected, done.stderr)

    def test_shellcheck(self):
        for script in ("compile", "link", "package"):
            done = subprocess.run(["shellcheck", "-x", f"hw/{script}"], cwd=ROOT, capture_output=True, text=True, check=False)
            self.assertEqual(done.stdout, "", script)


class Gate(Folder):
    def test_whole_frames_only(self):
        program = self.folder / "gate"
        bench = pathlib.Path(__file__).with_name("rx_gate_tb.v")
        built = run("iverilog", "-g2005", "-o", program, ROOT / "hw/cmac/rx_gate.v", bench)
        self.assertEqual((built.returncode, built.stderr), (0, ""))
        done = run("vvp", program)
        self.assertRegex(done.stdout, r"^0 errors, \d+ passed, \d+ dropped\n$")


class Budget(Folder):
    budget = load("hw/budget.py")

    def test_document_is_up_to_date(self):
        document = self.budget.DOCUMENT.read_text(encoding="utf-8")
        text = self.budget.render(self.budget.boards())
        self.assertEqual(self.budget.document_with(text, document), document, "run hw/budget.py --update")

    def test_no_findings(self):
        self.assertEqual([*self.budget.findings(self.budget.boards()), *self.budget.size_findings()], [])

    def test_undeclared_overflow_fails(self):
        for board in self.budget.boards():
            bare = self.budget.dataclasses.replace(board, over=())
            roomy = self.budget.dataclasses.replace(
                board, slrs={"SLR0": self.budget.Use(10**9, 10**9, 10**6, 10**6)})
            self.assertEqual(len(list(self.budget.findings([bare]))), len(self.budget.over_limit(board)))
            self.assertEqual(len(list(self.budget.findings([roomy]))), len(board.over), "declared over and is not")

    def test_changed_size_fails(self):
        for path in self.budget.SIZES:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, self.folder / path)
        self.assertEqual(list(self.budget.size_findings(self.folder)), [])
        file = self.folder / "hls/common/limits.hpp"
        file.write_text(file.read_text(encoding="utf-8").replace("rules_max = 256", "rules_max = 512"), encoding="utf-8")
        self.assertEqual(len(list(self.budget.size_findings(self.folder))), 1)

    def test_units(self):
        """Against figures that can be counted by hand."""
        self.assertEqual(self.budget.carryless_leaf(1), 1)
        self.assertEqual(self.budget.carryless_leaf(2), 3)
        self.assertEqual(self.budget.uram(360, 36864).uram, 5 * 9)
        self.assertEqual(self.budget.bram(512, 1024).bram, 15)
        self.assertEqual(self.budget.bram(512, 512).bram, 8)
        self.assertEqual(self.budget.aes(14, False).lut, 14 * 512 + 13 * 176 + 64 + 64 * 15)
        one = self.budget.build_total(self.budget.build(lanes=1))
        two = self.budget.build_total(self.budget.build(lanes=2))
        self.assertAlmostEqual(two.uram, 2 * one.uram)


class Manifest(Folder):
    """A signed bitstream as hw/manifest and openssl make it, and what becomes of it."""

    check = load("bitstreams/check")
    maker = load("hw/manifest")

    def setUp(self):
        super().setUp()
        self.key, self.public = self.folder / "key.pem", self.folder / "public.pem"
        self.openssl("genpkey", "-algorithm", "ed25519", "-out", self.key)
        self.openssl("pkey", "-in", self.key, "-pubout", "-out", self.public)
        self.bits = self.folder / "bits"
        self.bits.mkdir()
        (self.bits / "sluice-ports.xclbin").write_bytes(b"xclbin2\0" + bytes(range(256)) * 300)
        info = self.folder / "info"
        info.write_text("   Generated by:           v++ (2023.2) on Mon\n"
                        "   UUID (xclbin):          d081de98-3fd3-4e9b-bab3-108b42c73101\n"
                        "   Name:      DATA_CLK\n   Index:     0\n   Type:      DATA\n   Frequency: 298.6 MHz\n", encoding="utf-8")
        done = run(ROOT / "hw/manifest", "--board", "u55c", "--attachment", "ports", "--builder", "A. Builder", "--info", info,
                   self.bits)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.manifest = json.loads((self.bits / "manifest.json").read_text(encoding="utf-8"))
        self.sign()

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def sign(self, key=None):
        manifest = self.bits / "manifest.json"
        self.openssl("pkeyutl", "-sign", "-rawin", "-inkey", key or self.key, "-in", manifest, "-out", f"{manifest}.sig")

    def write(self, manifest, sign=True):
        (self.bits / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        if sign:
            self.sign()

    def verdict(self, **options):
        try:
            self.check.check(self.bits, self.public, **options)
        except self.check.Refused as refusal:
            return str(refusal)
        return "passes"

    def test_good(self):
        self.assertEqual(self.verdict(), "passes")
        self.assertEqual(self.verdict(board="u55c", shell=self.manifest["shell"]), "passes")
        self.assertEqual(self.manifest["clock_mhz"], 299)
        names = [kernel["name"] for kernel in self.manifest["kernels"]]
        self.assertEqual(names, sorted(self.maker.units_of(ROOT, "u55c", "ports")))
        done = run(ROOT / "bitstreams/check", "--key", self.public, "--board", "u55c", self.bits)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("299 MHz, 153.1 Gb/s a lane", done.stdout)

    def test_program_refuses(self):
        done = run(ROOT / "bitstreams/check", "--key", self.public, "--board", "u250", self.bits)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "refused: made for the board u55c, not u250\n")
        self.assertEqual(run(ROOT / "bitstreams/check", self.bits).returncode, 2)

    def leaves(self, value, path=()):
        if isinstance(value, dict):
            for name in value:
                yield from self.leaves(value[name], (*path, name))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from self.leaves(item, (*path, index))
        else:
            yield path

    def test_tampering_with_any_field_breaks_the_signature(self):
        paths = list(self.leaves(self.manifest))
        self.assertGreater(len(paths), 30)
        for path in paths:
            changed = copy.deepcopy(self.manifest)
            parent = changed
            for step in path[:-1]:
                parent = parent[step]
            value = parent[path[-1]]
            parent[path[-1]] = value + 1 if isinstance(value, int) else value[:-1] + ("0" if value[-1] != "0" else "1")
            with self.subTest(path=path):
                self.write(changed, sign=False)
                self.assertIn("signature is not", self.verdict())

    def test_any_bit_of_signature_and_manifest(self):
        for name in ("manifest.json", "manifest.json.sig"):
            file = self.bits / name
            content = file.read_bytes()
            for position in range(0, len(content), max(1, len(content) // 24)):
                file.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1:])
                self.assertIn("signature is not", self.verdict())
            file.write_bytes(content)
        self.assertEqual(self.verdict(), "passes")

    def test_signed_but_unfit(self):
        """A signature makes nobody load what does not fit."""
        def with_kernel(index, **change):
            changed = copy.deepcopy(self.manifest)
            changed["kernels"][index].update(change)
            return changed

        good = self.manifest
        other = "xilinx_u250_gen3x16_xdma_4_1_202210_1"
        cases = [
            (good | {"format": 2}, "manifest.format is not 1"),
            (good | {"format": True}, "manifest.format is not 1"),
            (good | {"board": "u280"}, "manifest.board is none of"),
            (good | {"board": "u250"}, "made for the shell"),
            (good | {"shell": other}, "made for the shell"),
            (good | {"attachment": "host"}, "needed are"),
            (good | {"attachment": "air"}, "manifest.attachment is none of"),
            (good | {"clock_mhz": 50}, "manifest.clock_mhz is not from"),
            (good | {"clock_mhz": "300"}, "manifest.clock_mhz is no integer"),
            (good | {"kernels": good["kernels"][1:]}, "needed are"),
            (good | {"kernels": good["kernels"] + good["kernels"][:1]}, "needed are"),
            (good | {"kernels": []}, "manifest.kernels is empty"),
            (with_kernel(0, version="9.9"), "has version 9.9"),
            (with_kernel(0, version="new"), "has not the form"),
            (with_kernel(0, name="sluice_spy"), "is none of"),
            (with_kernel(0, units=["sluice_lane_0"]), "compute unit is named twice"),
            (with_kernel(0, source_sha256="00"), "has not the form"),
            (with_kernel(0, extra=1), "unknown 'extra'"),
            (good | {"note": "hello"}, "unknown 'note'"),
            (good | {"built": "yesterday"}, "manifest.built has not the form"),
            (good | {"builder": ""}, "manifest.builder has not the form"),
            (good | {"xclbin": good["xclbin"] | {"file": "../sluice.xclbin"}}, "manifest.xclbin.file has not the form"),
            (good | {"xclbin": good["xclbin"] | {"file": "/etc/passwd"}}, "manifest.xclbin.file has not the form"),
            (good | {"xclbin": good["xclbin"] | {"file": "other.xclbin"}}, "the xclbin"),
            (good | {"xclbin": good["xclbin"] | {"bytes": good["xclbin"]["bytes"] + 1}}, "has less than"),
            (good | {"xclbin": good["xclbin"] | {"bytes": good["xclbin"]["bytes"] - 1}}, "has more than"),
            (good | {"xclbin": good["xclbin"] | {"sha256": "0" * 64}}, "has the SHA-256"),
            ([good], "manifest is no object"),
        ]
        for manifest, expected in cases:
            with self.subTest(expected=expected):
                self.write(manifest)
                self.assertIn(expected, self.verdict())
        for name in good:
            with self.subTest(missing=name):
                self.write({key: value for key, value in good.items() if key != name})
                self.assertEqual(self.verdict(), f"manifest has no '{name}'")

    def test_options(self):
        self.assertIn("not u250", self.verdict(board="u250"))
        self.assertIn("the card has", self.verdict(shell="xilinx_u55c_gen3x16_xdma_2_202110_1"))

    def test_odd_json(self):
        text = json.dumps(self.manifest)
        cases = [
            ("{", "no JSON"),
            ("[" * 50000, "no JSON"),
            (text.replace('"board"', '"format": 1, "board"', 1), "says something twice: format"),
            (text.replace("299", "NaN"), "says NaN"),
            (text.replace("299", "299.0"), "is no integer"),
            (text + "x", "no JSON"),
            (text + " " * 65536, "longer than"),
        ]
        for content, expected in cases:
            with self.subTest(expected=expected, content=content[:40]):
                (self.bits / "manifest.json").write_text(content, encoding="utf-8")
                self.sign()
                self.assertIn(expected, self.verdict())

    def test_keys(self):
        other, rsa = self.folder / "other.pem", self.folder / "rsa.pem"
        self.openssl("genpkey", "-algorithm", "ed25519", "-out", other)
        self.openssl("genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", rsa)
        self.sign(other)
        self.assertIn("signature is not", self.verdict())
        self.sign()
        der = self.folder / "public.der"
        self.openssl("pkey", "-in", self.key, "-pubout", "-outform", "DER", "-out", der)
        for content in (b"", b"no key", self.key.read_bytes(), der.read_bytes()):
            self.public.write_bytes(content)
            self.assertIn("no Ed25519 public key", self.verdict())
        self.openssl("pkey", "-in", rsa, "-pubout", "-out", self.public)
        self.assertIn("no Ed25519 public key", self.verdict())
        self.public.unlink()
        self.assertIn("the key", self.verdict())

    def test_files(self):
        """Missing, short, linked, and no file at all."""
        signature, xclbin = self.bits / "manifest.json.sig", self.bits / "sluice-ports.xclbin"
        whole = signature.read_bytes()
        for content in (whole[:-1], whole + b"\0", b""):
            signature.write_bytes(content)
            self.assertIn("the signature has", self.verdict())
        signature.unlink()
        self.assertIn("the signature", self.verdict())
        signature.write_bytes(whole)

        content = xclbin.read_bytes()
        self.assertEqual(hashlib.sha256(content).hexdigest(), self.manifest["xclbin"]["sha256"])
        xclbin.write_bytes(content[:-1] + b"\0")
        self.assertIn("has the SHA-256", self.verdict())
        xclbin.write_bytes(b"elf" + content[3:])
        self.assertIn("is no xclbin", self.verdict())
        xclbin.rename(self.folder / "elsewhere")
        self.assertIn("the xclbin", self.verdict())
        xclbin.symlink_to(self.folder / "elsewhere")
        self.assertIn("the xclbin", self.verdict())
        xclbin.unlink()
        os.mkfifo(xclbin)
        self.assertIn("is no regular file", self.verdict())

    def test_source_hash_covers_content_and_name(self):
        tree = self.folder / "tree"
        (tree / "hls").mkdir(parents=True)
        file = tree / "hls/a.cpp"
        file.write_text("int a;\n", encoding="utf-8")
        seen = {self.maker.source_sha256(tree, "sluice_lane")}
        file.write_text("int b;\n", encoding="utf-8")
        seen.add(self.maker.source_sha256(tree, "sluice_lane"))
        file.rename(tree / "hls/b.cpp")
        seen.add(self.maker.source_sha256(tree, "sluice_lane"))
        (tree / "hls/README.md").write_text("words\n", encoding="utf-8")
        seen.add(self.maker.source_sha256(tree, "sluice_lane"))
        self.assertEqual(len(seen), 3)

    def test_silent_xclbinutil(self):
        info = self.folder / "info"
        info.write_text("nothing\n", encoding="utf-8")
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
            self.maker.said("nothing", "UUID", "UUID")
        done = run(ROOT / "hw/manifest", "--board", "u55c", "--attachment", "ports", "--builder", "x", "--info", info, self.bits)
        self.assertEqual(done.returncode, 1)
        self.assertIn("says nothing of the", done.stderr)


if __name__ == "__main__":
    unittest.main()
