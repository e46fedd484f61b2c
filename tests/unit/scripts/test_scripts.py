#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of scripts/lint find what they should, and scripts/bench takes nothing but measurements."""
import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[3] / "scripts"
sys.dont_write_bytecode = True


def load(name):
    loader = importlib.machinery.SourceFileLoader(name, str(SCRIPTS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


class Lint(unittest.TestCase):
    lint = load("lint")
    head = "# SPDX-License-Identifier: Apache-2.0\n"

    def findings(self, name, text):
        path = pathlib.PurePosixPath(name)
        return len(list(self.lint.check_text(path, text))) + len(list(self.lint.check_syntax(path, text)))

    def test_rules(self):
        cases = [
            ("a.py", self.head + "x = 1\n", 0),
            ("a.py", "x = 1\n", 1),
            ("a.md", "no such line is needed here\n", 0),
            ("run", "#!/bin/bash\n", 1),
            ("a.py", self.head + "x = 1", 1),
            ("a.py", self.head + "x = 1\r\n", 1),
            ("a.py", self.head + "# " + "x" * 131 + "\n", 1),
            ("a.py", self.head + "# " + "x" * 130 + "\n", 0),
            ("a.c", self.head + "// " + "x" * 131 + "\n", 0),
            ("a.py", self.head + "# TO" "DO: later\n", 1),
            ("a.py", self.head + "x = (\n", 1),
            ("a.py", "\n" * 5 + self.head, 1),
        ]
        for name, text, expected in cases:
            with self.subTest(name=name, text=text[:60]):
                self.assertEqual(self.findings(name, text), expected)

    def test_links(self):
        path = pathlib.PurePosixPath("scripts/README.md")
        text = "[a](lint) [b](../LICENSE#top) [c](/LICENSE) [d](https://example.org/x) [e](#here) [f](nowhere.md)\n"
        self.assertEqual(len(list(self.lint.check_links(path, text))), 1)


class Bench(unittest.TestCase):
    bench = load("bench")

    def test_measurements(self):
        good = [
            '{"name": "a", "value": 1, "unit": "x"}',
            '{"name": "a", "value": 1.5, "unit": "x", "peer": null, "ratio": null}',
            '{"name": "a", "value": 1e9, "unit": "x", "peer": 2, "ratio": 0.5}',
        ]
        bad = [
            "a 1 x",
            "[1]",
            '{"name": "a", "value": "1", "unit": "x"}',
            '{"name": "a", "value": true, "unit": "x"}',
            '{"name": "a", "value": 1}',
            '{"name": "a", "value": 1, "unit": "x", "peer": "2"}',
            '{"name": "a", "value": 1, "unit": "x", "more": 2}',
        ]
        for line in good:
            self.assertEqual(set(self.bench.parse(line)), set(self.bench.FIELDS))
        for line in bad:
            with self.subTest(line=line), self.assertRaises(ValueError):
                self.bench.parse(line)


class Usage(unittest.TestCase):
    def test_wrong_words_are_refused(self):
        for script, word in (("check", "nonsense"), ("install-deps", "nonsense"), ("lint", "nonsense")):
            done = subprocess.run([str(SCRIPTS / script), word], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, script)


if __name__ == "__main__":
    unittest.main()
