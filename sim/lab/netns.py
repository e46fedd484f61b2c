# SPDX-License-Identifier: Apache-2.0
"""Network namespaces: made, entered, removed."""
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ENV = {**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8"}
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """Something of the lab's machinery failed; the text says what and how it was called."""


def run(*command, check=True, timeout=300, **more):
    """Runs a command to its end, with its output as text."""
    options = {"capture_output": True, "text": True, "env": ENV, "timeout": timeout, "check": False, **more}
    done = subprocess.run([str(word) for word in command], **options)
    if check and done.returncode:
        raise LabError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout or ''}{done.stderr or ''}")
    return done


class Namespace:
    def __init__(self, name):
        self.name = name
        self.etc = pathlib.Path("/etc/netns") / name

    def create(self, hosts):
        """hosts: text of the /etc/hosts that processes in here see, so that the lab needs no DNS."""
        run("ip", "netns", "add", self.name)
        self.etc.mkdir(parents=True, exist_ok=True)
        (self.etc / "hosts").write_text(hosts)
        (self.etc / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        self.run("ip", "link", "set", "lo", "up")

    def remove(self):
        run("ip", "netns", "del", self.name, check=False)
        for path in sorted(self.etc.glob("*")) if self.etc.is_dir() else []:
            path.unlink(missing_ok=True)
        for folder in (self.etc, self.etc.parent):
            try:
                folder.rmdir()
            except OSError:
                pass  # not there, or another lab uses it

    def command(self, *command):
        return ["ip", "netns", "exec", self.name, *(str(word) for word in command)]

    def run(self, *command, **more):
        return run(*self.command(*command), **more)

    def start(self, *command, **more):
        """A process in its own group, to be ended with stop()."""
        return subprocess.Popen(self.command(*command), **{"env": ENV, "start_new_session": True, **more})

    def sysctl(self, values):
        self.run("sysctl", "-q", "-w", *(f"{key}={value}" for key, value in values.items()))

    def pids(self):
        done = run("ip", "netns", "pids", self.name, check=False)
        return [int(word) for word in done.stdout.split()]

    def inside(self, function):
        """Calls function on a thread that is in this namespace: a socket made there stays there."""
        result, error = [], []

        def body():
            try:
                with open(f"/run/netns/{self.name}", "rb") as file:
                    if _libc.setns(file.fileno(), CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), f"setns {self.name}")
                result.append(function())
            except BaseException as exception:  # pylint: disable=broad-except
                error.append(exception)

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        thread.join()
        if error:
            raise error[0]
        return result[0]

    def connect(self, address, port, timeout=60, source=None, rcvbuf=None):
        """A TCP connection from this namespace."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def make():
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(timeout)
                if rcvbuf:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
                if source:
                    sock.bind((source, 0))
                sock.connect((address, port))
                return sock
            except BaseException:
                sock.close()
                raise

        return self.inside(make)

    def listen(self, address, port, backlog=512):
        """A listening TCP socket in this namespace."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def make():
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
            sock.listen(backlog)
            return sock

        return self.inside(make)


def stop(process, grace=30.0, first=signal.SIGTERM):
    """Ends a process started by Namespace.start, and its children; returns its exit code."""
    if process.poll() is None:
        _signal_group(process, first)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)
    code = process.wait()
    _signal_group(process, signal.SIGKILL)  # what it left behind
    return code


def _signal_group(process, number):
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def wait_for(condition, what, timeout=60.0, interval=0.02):
    """Polls until condition() is true and returns its value; LabError when it stays false."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(interval)
