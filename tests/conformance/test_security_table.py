# SPDX-License-Identifier: Apache-2.0
"""docs/security.md against the tests: what the table calls covered must be named by a test. A15."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
COUNTS = {"V": 16, "P": 16, "G": 15, "C": 9, "A": 15}
IDS = [f"{group}{number}" for group, count in COUNTS.items() for number in range(1, count + 1)]


def table():
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| ([VPGCA]\d+) \| [^|]+ \| (\w+) \|", text, re.MULTILINE))


def named():
    words = set()
    for folder in ("unit", "conformance", "e2e", "fuzz"):
        for path in (ROOT / "tests" / folder).rglob("*"):
            code = path.suffix in (".c", ".cpp", ".h", ".py") or path.name == "CMakeLists.txt"
            if code and path != pathlib.Path(__file__).resolve():
                words |= set(re.findall(r"\b[VPGCA]\d{1,2}\b", path.read_text(encoding="utf-8")))
    return words | {"A15"}


def test_every_line_has_a_state():
    assert list(table()) == IDS
    assert set(table().values()) <= {"yes", "part", "no", "later"}


def test_what_is_called_covered_is_tested():
    missing = sorted(line for line, state in table().items() if state == "yes" and line not in named())
    assert not missing, f"no test names {missing}"
