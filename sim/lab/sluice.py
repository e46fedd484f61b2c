# SPDX-License-Identifier: Apache-2.0
"""sluiced in the lab's gateway, its management interface, and what can be seen of it from outside."""
import functools
import os
import pathlib
import re
import signal
import subprocess
import time

import grpc
import yaml
from google.protobuf import json_format

from . import netns
from .netns import LabError
from .schema import schema
from .topology import INSIDE, LISTEN_PORT, PROXY_PORT, ROOT

DECRYPT_ALL = {"settings": {"default_decryption": "DECRYPT"}}
# What a sanitizer, or the C library, says before it ends a process.
FATAL_WORDS = re.compile(r"ERROR: \w+Sanitizer|runtime error:|LeakSanitizer|stack smashing|double free|Assertion .* failed")


TCP_LISTEN = "0A"  # in /proc/net/tcp; the receive queue of such a socket counts connections


def build_folder():
    return pathlib.Path(os.environ.get("SLUICE_BUILD_DIR", ROOT / "build" / "dev")).resolve()


@functools.lru_cache(None)
def sanitized():
    """Whether the build under test has sanitizers: it is slower then, and needs more memory."""
    cache = build_folder() / "CMakeCache.txt"
    return bool(cache.exists() and re.search(r"^SLUICE_SANITIZE:\w+=\S", cache.read_text(), re.M))


def management_schema():
    """(management_pb2, config_pb2, event_pb2)"""
    return schema("sluice/v1/management.proto", "sluice/v1/config.proto", "sluice/v1/event.proto")


class Sluice:
    """One sluiced. settings: further keys of its configuration file."""

    def __init__(self, lab, name="sluice", **settings):
        self.lab = lab
        self.folder = lab.folder / name
        self.folder.mkdir(exist_ok=True)
        self.process = None
        self.log_path = self.folder / "sluiced.log"
        self.socket = self.folder / "sluiced.sock"
        self.settings = {
            "device_name": "lab-gateway",
            "state_dir": str(self.folder / "state"),
            "workers": 2,
            "listeners": [
                {"kind": "transparent", "address": "0.0.0.0", "port": LISTEN_PORT},
                {"kind": "transparent", "address": "::", "port": LISTEN_PORT},
                {"kind": "explicit", "address": INSIDE[0], "port": PROXY_PORT},
            ],
            "management": {"unix": str(self.socket)},
            "trust": {"bundle": str(lab.pki.path("root.pem")),
                      "crls": [str(lab.pki.path("crl.pem")), str(lab.pki.path("crl-root.pem"))]},
            "log": {"level": "info", "format": "text"},
            "tls_log": str(self.folder / "tls_proxy.log"),
            "ca": {"passphrase_file": ""},
            "drain_ms": 5000,
            **settings,
        }
        self.config_path = self.folder / "sluiced.yaml"
        self.dirty = False  # whether the policy may differ from DECRYPT_ALL
        self._channel = None

    # ---- the process

    @property
    def program(self):
        return build_folder() / "bin" / "sluiced"

    @property
    def control(self):
        return build_folder() / "bin" / "sluicectl"

    def launch(self, prefix=()):
        """Starts the program without waiting; prefix: words before it, for example to enter a mount namespace."""
        if not self.program.exists():
            raise LabError(f"{self.program} is missing: build it first, or set SLUICE_BUILD_DIR")
        self.config_path.write_text(yaml.safe_dump(self.settings, sort_keys=False))
        log = open(self.log_path, "ab")  # pylint: disable=consider-using-with
        with log:
            self.process = self.lab.gateway.start(*prefix, self.program, "--config", self.config_path, stdin=subprocess.DEVNULL,
                                                  stdout=log, stderr=log)

    def start(self, **more):
        self.launch(**more)

        def ready():
            if self.process.poll() is not None:
                raise LabError(f"sluiced ended with code {self.process.returncode}:\n{self.log()}")
            try:
                return self.call("GetStatus", timeout=10)
            except grpc.RpcError:
                self.close_channel()
                return None

        netns.wait_for(ready, "sluiced to answer", 120, 0.05)
        return self

    def stop(self, number=signal.SIGTERM, grace=120):
        """Ends sluiced and returns its exit code; LabError if it had to be killed or its log tells of a fault in the program."""
        self.close_channel()
        if self.process is None:
            return None
        process, self.process = self.process, None
        code = netns.stop(process, grace, number)
        faults = FATAL_WORDS.search(self.log())
        if faults:
            raise LabError(f"sluiced reports a fault:\n{self.log()[faults.start() - 200:][:6000]}")
        if number != signal.SIGKILL and code == -signal.SIGKILL:
            raise LabError(f"sluiced did not end within {grace} s of signal {number}:\n{self.log()}")
        return code

    def restart(self, **how):
        self.stop(**how)
        return self.start()

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def tls_log(self):
        path = pathlib.Path(self.settings["tls_log"])
        return path.read_text(errors="replace") if path.exists() else ""

    # ---- management

    def close_channel(self):
        if self._channel:
            self._channel.close()
        self._channel = None

    def stub(self, method, streaming=False):
        management, config, event = management_schema()
        if not self._channel:
            self._channel = grpc.insecure_channel(f"unix:{self.socket}", [("grpc.max_receive_message_length", 64 << 20)])
        description = management.DESCRIPTOR.services_by_name["Management"].methods_by_name[method]
        module = {"sluice/v1/management.proto": management, "sluice/v1/config.proto": config, "sluice/v1/event.proto": event}
        reply = getattr(module[description.output_type.file.name], description.output_type.name)
        request = getattr(management, description.input_type.name)
        make = self._channel.unary_stream if streaming else self._channel.unary_unary
        return request, make(f"/sluice.v1.Management/{method}", request.SerializeToString, reply.FromString)

    def call(self, method, timeout=60, **fields):
        """One unary call; fields as in JSON, bytes in base64."""
        request, stub = self.stub(method)
        return stub(json_format.ParseDict(fields, request()), timeout=timeout)

    def ctl(self, *words, check=True, **more):
        """sluicectl, as a person calls it."""
        self.dirty = True
        env = {**netns.ENV, "SLUICE_SOCKET": str(self.socket)}
        return netns.run(self.control, *words, check=check, env=env, **more)

    def commit(self, config=None, comment="test"):
        """Makes this the running policy and returns its version."""
        self.dirty = True
        candidate = self.call("SetCandidate", config=config or DECRYPT_ALL)
        if not candidate.differs:
            return candidate.version
        return self.call("Commit", comment=comment).version

    def ca_file(self):
        """The decryption CA's certificate as a file that clients can trust; made if there is none yet."""
        path = self.folder / "ca.pem"
        if not self.call("GetStatus").ca_present:
            self.call("InitCa")
        path.write_text(self.call("GetCa").certificate_pem)
        return path

    # ---- events and counters

    def newest_event(self):
        """Its number; what was told before, a commit for example, is written by now."""
        netns.wait_for(lambda: self.counters()["sluice_events_queued"] == 0, "events to be written", interval=0.005)
        events = self.call("ListEvents", limit=1).events
        return events[0].id if events else 0

    def events(self, after=0, **filters):
        """Events newer than `after`, oldest first."""
        found, before = [], 0
        while True:
            page = self.call("ListEvents", limit=500, before_id=before, **filters)
            new = [event for event in page.events if event.id > after]
            found += new
            if not page.more or len(new) < len(page.events) or not page.events:
                return found[::-1]
            before = page.events[-1].id

    def wait_events(self, count, after, timeout=60, **filters):
        """The events newer than `after`, as soon as there are so many."""
        def enough():
            found = self.events(after, **filters)
            return found if len(found) >= count else None
        return netns.wait_for(enough, f"{count} events of {filters}", timeout, 0.03)

    def wait_event(self, after, **filters):
        return self.wait_events(1, after, **filters)[0]

    def counters(self):
        return {counter.name: counter.value for counter in self.call("GetStats").counters}

    def active(self):
        return self.call("GetStatus").connections_active

    def listening(self):
        """Of each listener, how many connections have been opened that sluiced has not accepted yet."""
        rows = [line.split() for file in ("tcp", "tcp6")
                for line in pathlib.Path(f"/proc/{self.process.pid}/net/{file}").read_text().splitlines()[1:]]
        return [int(row[4].split(":")[1], 16) for row in rows if row[3] == TCP_LISTEN]

    def quiet(self):
        """Returns when no connection waits or is left and every event is written, so that what follows is of what follows."""
        state = None

        def nothing_new():
            nonlocal state
            before, waiting, seen = state, sum(self.listening()), self.counters()
            state = (seen["sluice_connections_total"], seen["sluice_connections_active"] + seen["sluice_events_queued"] + waiting)
            return state[1] == 0 and state == before

        netns.wait_for(nothing_new, "all connections to end, and their events", 60, 0.03)

    # ---- seen from outside

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory(self):
        """Resident bytes that are the process' own (not files)."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise LabError("no RssAnon")

    def cpu_seconds(self):
        words = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self):
        """Waits until the number of descriptors no longer falls."""
        self.quiet()
        before = None
        end = time.monotonic() + 5
        while time.monotonic() < end and before != self.descriptors():
            before = self.descriptors()
            time.sleep(0.3)
        return before


def enum_name(field_owner, name, value=None):
    """The name of an enum field's value: enum_name(event, "cause")."""
    field = field_owner.DESCRIPTOR.fields_by_name[name]
    return field.enum_type.values_by_number[getattr(field_owner, name) if value is None else value].name


def alerts(event):
    """[(code, direction in lower case)]"""
    return [(alert.code, enum_name(alert, "direction").lower()) for alert in event.alerts]
