# SPDX-License-Identifier: Apache-2.0
"""sluice-card in the lab's gateway, which plays a capture, and its gRPC."""
import functools
import os
import pathlib
import re
import signal
import subprocess
import threading

import grpc

from . import netns
from .netns import LabError
from .schema import Stub, schema
from .sluice import FATAL_WORDS, build_folder

ENGINES = {"cpu": "cpu", "sim": "xrt"}  # CARD: --engine


def xrt_run():
    return build_folder() / "sim" / "xrt" / "sluice-xrt-run"


def xclbin():
    return build_folder() / "sim" / "card" / "sluice_sim.xclbin"


def xrt_view():
    return build_folder() / "sim" / "xrt" / "sluice-xrt-view"


def needed(path):
    if not path.exists():
        raise LabError(f"{path} is missing: build it first, or set SLUICE_BUILD_DIR")
    return path


@functools.lru_cache(None)
def messages():
    """card_pb2"""
    return schema("sluice/card/v1/card.proto")[0]


class Card:
    """card: "cpu", the pipeline in sluice-card itself; "sim", the simulated card behind XRT."""

    def __init__(self, lab, card, folder):
        self.lab, self.card, self.folder = lab, card, pathlib.Path(folder)
        self.log_path = self.folder / "sluice-card.log"
        self.socket = self.folder / "card.sock"
        self.pid_path = self.folder / "sluice-card.pid"
        self.process = self.channel = self.stub = None
        self.events = []

    def command(self, capture, out, mirror, sessions):
        words = [needed(build_folder() / "bin" / "sluice-card"), "--engine", ENGINES[self.card]]
        if self.card == "sim":
            # All of it shares this machine's cores, so the simulated card may be slow to answer.
            words += ["--xclbin", needed(xclbin()), "--dead-after-ms", 20000]
        return [*words, "--pcap", capture, out, "--mirror", mirror, "--wait-sessions", sessions, "--fix-checksums",
                "--listen", f"unix:{self.socket}", "--stay"]

    def start(self, *arguments):
        """It plays the capture as soon as so many sessions are installed."""
        self.folder.joinpath("tmp").mkdir(exist_ok=True)  # the emulation's files, which are to go away with the lab
        # The emulation gives the program a session of its own, so the program itself says who it is.
        words = ["sh", "-c", 'echo $$ >"$0"; exec "$@"', self.pid_path, *self.command(*arguments)]
        if self.card == "sim":
            words.insert(0, needed(xrt_run()))
        with open(self.log_path, "wb") as log:
            self.process = self.lab.gateway.start(*words, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                  env={**netns.ENV, "TMPDIR": str(self.folder / "tmp")})
        self.channel = grpc.insecure_channel(f"unix:{self.socket}", [("grpc.enable_http_proxy", 0)])
        self.stub = Stub(self.channel, messages().DESCRIPTOR.services_by_name["Card"])

        def ready():
            if self.process.poll() is not None:
                raise LabError(f"sluice-card ended with code {self.process.returncode}")
            return " ready " in self.log()

        netns.wait_for(ready, "sluice-card to be ready", 60, 0.05)
        stream = self.stub.WatchEvents(messages().WatchEventsRequest())
        threading.Thread(target=self._watch, args=(stream,), daemon=True).start()
        return self

    def _watch(self, stream):
        try:
            for message in stream:
                self.events += message.events
        except grpc.RpcError:
            pass  # the stream ends with sluice-card

    def call(self, method, request=None):
        """request None: an empty one."""
        pb = messages()
        request = request or getattr(pb, pb.DESCRIPTOR.services_by_name["Card"].methods_by_name[method].input_type.name)()
        return told(method, lambda: getattr(self.stub, method)(request, timeout=60))

    def program(self, *commands):
        """The results of these session commands."""
        request = iter([messages().Commands(commands=commands)])
        return told("Program", lambda: [result for answer in self.stub.Program(request, timeout=60) for result in answer.results])

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def replayed(self):
        """What sluice-card says of the capture when it has been played."""
        def line():
            if self.process.poll() is not None:
                raise LabError(f"sluice-card ended with code {self.process.returncode}")
            return next((line for line in self.log().splitlines() if "replay done" in line), None)

        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", netns.wait_for(line, "the capture's end", 60))}

    def stop(self):
        """Ends sluice-card by SIGTERM and returns its exit code."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        if self.channel:
            self.channel.close()
        try:
            if process.poll() is None:
                os.kill(int(self.pid_path.read_text()), signal.SIGTERM)
                process.wait(30)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            pass
        code = netns.stop(process)
        faults = FATAL_WORDS.search(self.log())
        if faults:
            raise LabError(f"sluice-card reports a fault:\n{self.log()[faults.start() - 200:][:6000]}")
        return code


def told(method, call):
    try:
        return call()
    except grpc.RpcError as error:
        raise LabError(f"{method}: {error.code().name}: {error.details()}") from error
