# SPDX-License-Identifier: Apache-2.0
"""A demonstration: numbered steps on a terminal, each of which checks what it shows."""
import os
import subprocess
import sys
import textwrap
import time

from .netns import LabError

BOLD, GREEN, RED, PLAIN = ("\033[1m", "\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() else ("", "", "", "")


class Failed(Exception):
    """Something that is shown isn't as it should be."""


def check(condition, text):
    if not condition:
        raise Failed(text)


def keep_wanted():
    """KEEP=1: what was shown is to be left for the user to try."""
    return os.environ.get("KEEP", "") not in ("", "0", "no")


class Show:
    """Subclasses have steps(), and say what else is to be told of a failure (trouble) and done at the end, always (end)."""

    def __init__(self):
        self.began = time.monotonic()
        self.step_began = self.began
        self.number = 0

    def steps(self):
        raise NotImplementedError

    def trouble(self):
        return ""

    def end(self):
        pass

    def say(self, text, indent=4):
        print(textwrap.indent(text.rstrip(), " " * indent), flush=True)

    def step(self, title):
        self.number += 1
        self.step_began = time.monotonic()
        print(f"{BOLD}[{self.number:2}] {title}{PLAIN}", flush=True)

    def done(self, text=""):
        print(f"     {GREEN}ok{PLAIN} {text}{' ' if text else ''}({time.monotonic() - self.step_began:.1f} s)", flush=True)

    def run(self):
        """All steps; the exit code."""
        try:
            for step in self.steps():
                step()
            print(f"\n{GREEN}{BOLD}Everything is as it should be.{PLAIN} {time.monotonic() - self.began:.0f} seconds.")
            return 0
        except (Failed, LabError, subprocess.TimeoutExpired) as error:
            print(f"{RED}{BOLD}demo: step {self.number} failed:{PLAIN} {error}\n{self.trouble()}".rstrip(), file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            self.end()
