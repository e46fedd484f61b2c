#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What bitstreams/check says of many folders, a line each: `passes`, or `refused: ` and why.

usage: manifest_verdicts.py FILE      FILE has a line a folder: KEY, a tab, FOLDER
"""
import importlib.machinery
import importlib.util
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.dont_write_bytecode = True


def main():
    loader = importlib.machinery.SourceFileLoader("bitstreams_check", str(ROOT / "bitstreams/check"))
    program = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(program)
    for line in pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        key, folder = line.split("\t")
        try:
            program.check(folder, key)
            print("passes")
        except program.Refused as refusal:
            print("refused:", ascii(str(refusal))[:200])
    return 0


if __name__ == "__main__":
    sys.exit(main())
