#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""dist/: systemd takes the units and finds them tight, users and groups are made as the units want them, what sluice-card.env
offers is what sluice-card understands, and an operator's settings outlive an installation. The programs are $SLUICED and
$SLUICE_CARD, of the build in $SLUICE_BUILD."""
import configparser
import os
import pathlib
import re
import shlex
import signal
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAMS = {"sluiced": os.environ["SLUICED"], "sluice-card": os.environ["SLUICE_CARD"]}
EXPOSURE_MAX = {"sluiced": 22, "sluice-card": 20}  # tenths, as systemd-analyze security has them


def run(*command, **environment):
    return subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          env=os.environ | environment)


def unit_text(name):
    return (ROOT / f"dist/{name}.service").read_text(encoding="utf-8")


def service(name):
    unit = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    unit.optionxform = str
    unit.read_string(unit_text(name))
    return unit["Service"]


def offered_options():
    """The options lines of sluice-card.env, those in remarks too."""
    text = (ROOT / "dist/sluice-card.env").read_text(encoding="utf-8")
    return re.findall(r"^(?:# )?SLUICE_CARD_OPTIONS=(.*)$", text, re.MULTILINE), re.findall(r"^#   (--.*)$", text, re.MULTILINE)


class Dist(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def verify(self, name, text):
        """What systemd says of the unit, once its program is there."""
        unit = self.folder / f"{name}.service"
        unit.write_text(text.replace(f"ExecStart={name} ", f"ExecStart={PROGRAMS[name]} "), encoding="utf-8")
        done = run("systemd-analyze", "--man=no", "--recursive-errors=no", "verify", unit)
        return done.returncode, done.stdout + done.stderr

    def test_units(self):
        for name in PROGRAMS:
            with self.subTest(unit=name):
                self.assertEqual(self.verify(name, unit_text(name)), (0, ""))
        _, said = self.verify("sluice-card", unit_text("sluice-card").replace("ProtectSystem=", "ProtectSytem="))
        self.assertIn("ProtectSytem", said)

    def test_exposure(self):
        for name, limit in EXPOSURE_MAX.items():
            done = run("systemd-analyze", "security", "--offline=yes", f"--threshold={limit}", ROOT / f"dist/{name}.service")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_users(self):
        (self.folder / "etc").mkdir()
        rules = self.folder / "usr/lib/sysusers.d"
        rules.mkdir(parents=True)
        (rules / "sluice.conf").write_bytes((ROOT / "dist/sluice.sysusers").read_bytes())
        done = run("systemd-sysusers", f"--root={self.folder}")
        self.assertEqual(done.returncode, 0, done.stderr)
        entries = {kind: [line.split(":") for line in (self.folder / "etc" / kind).read_text(encoding="utf-8").splitlines()]
                   for kind in ("passwd", "group")}
        users = {entry[0] for entry in entries["passwd"]}
        members = {entry[0]: entry[3].split(",") for entry in entries["group"]}
        for name in PROGRAMS:
            said = service(name)
            self.assertIn(said["User"], users)
            for group in [said["Group"], *said.get("SupplementaryGroups", "").split()]:
                self.assertIn(group, members)
        self.assertIn("sluice", members["sluice-card"], "sluiced uses the card")
        self.assertNotIn("sluice-card", members["sluice"], "and not the other way round")

    def test_install(self):
        settings = self.folder / "etc/sluice"
        installed = {"host/cli": ("sluiced.service", "sluiced.yaml"),
                     "host/card/service": ("sluice-card.service", "sluice-card.env")}
        for again in (False, True):
            for folder, (unit, own) in installed.items():
                script = pathlib.Path(os.environ["SLUICE_BUILD"]) / folder / "cmake_install.cmake"
                done = run("cmake", "-D", "CMAKE_INSTALL_PREFIX=/usr/local", "-P", script, DESTDIR=str(self.folder))
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertTrue((self.folder / "usr/local/lib/systemd/system" / unit).is_file())
                expected = b"mine" if again else (ROOT / "dist" / own).read_bytes()
                self.assertEqual((settings / own).read_bytes(), expected)
                (settings / own).write_bytes(b"mine")

    def start_line(self, options):
        """As the unit starts it, but for the socket and its group, which are not there."""
        words = service("sluice-card")["ExecStart"].split()
        self.assertEqual((words[0], words[-1]), ("sluice-card", "$SLUICE_CARD_OPTIONS"))
        at = words.index("--group")
        self.assertEqual(words[at + 1], service("sluice-card")["Group"])
        words[words.index("--listen") + 1] = f"unix:{self.folder}/card.sock"
        del words[at:at + 2]
        return [PROGRAMS["sluice-card"], *words[1:-1], *shlex.split(options)]

    def test_options(self):
        whole, parts = offered_options()
        self.assertEqual((len(whole), len(parts)), (2, 1))
        for options in [*whole, *parts]:
            with self.subTest(options=options):
                done = run(*self.start_line(options), "--help")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(run(*self.start_line("--no-such"), "--help").returncode, 2)

    def test_starts_and_stops(self):
        with subprocess.Popen(self.start_line(offered_options()[0][0]), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True) as card:
            lines = []
            for line in card.stderr:
                lines.append(line)
                if "ready" in line:
                    self.assertTrue((self.folder / "card.sock").is_socket())
                    card.send_signal(signal.SIGTERM)
        self.assertEqual(card.returncode, 0, "".join(lines))
        self.assertIn("stopped", lines[-1])


if __name__ == "__main__":
    unittest.main()
