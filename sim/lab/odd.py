# SPDX-License-Identifier: Apache-2.0
"""Servers that misbehave in one well-defined way each, all in one process: `odd.py SPEC`, SPEC in JSON as servers.py makes it.

A behaviour is a function that gets one accepted connection; its name, with hyphens, is the server's.
"""
import json
import os
import resource
import select
import socket
import ssl
import struct
import sys
import threading
import time

SPEC = {}
FATAL, WARNING = 2, 1
HANDSHAKE, ALERT, APPLICATION_DATA = 22, 21, 23


# ---- helpers

def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionError("closed")
        data += more
    return data


def read_record(sock):
    header = read_exactly(sock, 5)
    return header + read_exactly(sock, struct.unpack(">H", header[3:])[0])


def record(kind, body, version=0x0303):
    return struct.pack(">BHH", kind, version, len(body)) + body


def alert_record(level, code):
    return record(ALERT, bytes((level, code)))


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def finish(sock):
    """FIN, then wait for the peer's, so that what was sent is not overtaken by a reset."""
    try:
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(5)
        while sock.recv(65536):
            pass
    except OSError:
        pass


def server_hello(hello, version=0x0303, cipher=None, tail=None, compression=0):
    """A TLS 1.2 ServerHello that answers this ClientHello record; cipher: by default the first one offered that is of TLS 1.2."""
    session = hello[44:44 + hello[43]]
    at = 44 + len(session)
    count = struct.unpack(">H", hello[at:at + 2])[0]
    offered = [hello[at + 2 + i:at + 4 + i] for i in range(0, count, 2)]
    if cipher is None:
        cipher = next((c for c in offered if c[0] == 0xc0), offered[0])
    random = os.urandom(32) if tail is None else os.urandom(32 - len(tail)) + tail
    body = struct.pack(">H", version) + random + bytes((len(session),)) + session + cipher + bytes((compression,))
    return b"\x02" + struct.pack(">I", len(body))[1:] + body


def relay(sock, backend, to_client=lambda chunk: chunk, on_end=finish):
    """Both directions between the connection and a backend; to_client sees and may change, or end (None), what the server says."""
    with socket.create_connection((SPEC["backends"][backend], 443)) as server:
        while True:
            for ready in select.select([sock, server], [], [], 60)[0] or [None]:
                chunk = ready.recv(65536) if ready else b""
                if not chunk:
                    on_end(sock)
                    return
                if ready is sock:
                    server.sendall(chunk)
                    continue
                chunk = to_client(chunk)
                if chunk is None:
                    on_end(sock)
                    return
                sock.sendall(chunk)


# ---- behaviours: no TLS at all

def eof_accept(sock):
    finish(sock)


def reset_accept(sock):
    reset(sock)


def silent(sock):
    sock.settimeout(120)
    while sock.recv(65536):
        pass


def eof_hello(sock):
    read_record(sock)
    finish(sock)


def reset_hello(sock):
    read_record(sock)
    reset(sock)


def not_tls(sock):
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    finish(sock)


def banner(sock):
    sock.sendall(b"SSH-2.0-lab\r\n")
    silent(sock)


def garbage(sock):
    read_record(sock)
    sock.sendall(b"\xff" + os.urandom(8191))
    finish(sock)


def plain_echo(sock):
    sock.settimeout(60)
    while chunk := sock.recv(65536):
        sock.sendall(chunk)
    sock.shutdown(socket.SHUT_WR)


# ---- behaviours: broken handshakes

def alert(sock):
    """The port says which: 10000 + code; on 443 it is handshake_failure."""
    read_record(sock)
    port = sock.getsockname()[1]
    sock.sendall(alert_record(FATAL, 40 if port == 443 else port - SPEC["ports"][0]))
    finish(sock)


def answer_with(**how):
    def behaviour(sock):
        sock.sendall(record(HANDSHAKE, server_hello(read_record(sock), **how)))
        silent(sock)
    return behaviour


def oversized_record(sock):
    read_record(sock)
    sock.sendall(struct.pack(">BHH", HANDSHAKE, 0x0303, 0x5000) + bytes(0x5000))
    silent(sock)


def bad_record_type(sock):
    read_record(sock)
    sock.sendall(record(99, b"what is this"))
    silent(sock)


def half_hello(sock):
    whole = record(HANDSHAKE, server_hello(read_record(sock)))
    sock.sendall(whole[:len(whole) // 2])
    finish(sock)


def warning_alert(sock):
    first = []

    def prefix(chunk):
        if first:
            return chunk
        first.append(True)
        return alert_record(WARNING, 112) + chunk

    relay(sock, "tls12", prefix)


def cutting(on_end):
    """The handshake of a good server, cut after (port - 10000) * 8 bytes; on 443 after 300 bytes."""
    def behaviour(sock):
        port = sock.getsockname()[1]
        left = [300 if port == 443 else (port - SPEC["ports"][0]) * 8]

        def cut(chunk):
            if left[0] <= 0:
                return None
            chunk = chunk[:left[0]]
            left[0] -= len(chunk)
            if left[0] <= 0:
                sock.sendall(chunk)
                time.sleep(0.02)  # the bytes are to arrive before the end does
                return None
            return chunk

        relay(sock, "good", cut, on_end)
    return behaviour


def drip(sock):
    """A good server whose answers come a byte at a time; the pauses end after a second, however long the machine makes them."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    end = time.monotonic() + 1

    def slowly(chunk):
        for i in range(min(len(chunk), 3000)):
            sock.sendall(chunk[i:i + 1])
            if time.monotonic() < end:
                time.sleep(0.0002)
        return chunk[3000:]

    relay(sock, "good", slowly)


# ---- behaviours: after the handshake

class RecordFlipper:
    """Passes a stream of records through and flips the last bit of the tag of the given application data record."""

    def __init__(self, which):
        self.which, self.seen, self.buffer = which, 0, b""

    def __call__(self, chunk):
        self.buffer += chunk
        out = b""
        while len(self.buffer) >= 5:
            size = 5 + struct.unpack(">H", self.buffer[3:5])[0]
            if len(self.buffer) < size:
                break
            one, self.buffer = self.buffer[:size], self.buffer[size:]
            if one[0] == APPLICATION_DATA:
                self.seen += 1
                if self.seen == self.which:
                    one = one[:-1] + bytes((one[-1] ^ 1,))
            out += one
        return out


def corrupt12(sock):
    relay(sock, "tls12", RecordFlipper(20))


def corrupt13(sock):
    relay(sock, "tls13", RecordFlipper(30))


def tls_context(**limits):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{SPEC['pki']}/ecdsa.pem", f"{SPEC['pki']}/ecdsa.key")
    for key, value in limits.items():
        setattr(context, key, value)
    return context


def echo(sock, context=None):
    """Says back what it hears, until it hears close_notify; then it says `bye`."""
    with (context or tls_context()).wrap_socket(sock, server_side=True) as tls:
        tls.settimeout(60)
        while chunk := tls.recv(16384):
            tls.sendall(chunk)
        tls.sendall(b"bye")
        sock = tls.unwrap()
        finish(sock)
        sock.close()


def echo12(sock):
    echo(sock, tls_context(maximum_version=ssl.TLSVersion.TLSv1_2))


def renegotiate(sock):
    """TLS 1.2; sends a HelloRequest record, unprotected, in the middle of the connection."""
    first = []

    def inject(chunk):
        if chunk[0] == APPLICATION_DATA and not first:
            first.append(True)
            return record(HANDSHAKE, b"\x00\x00\x00\x00") + chunk
        return chunk

    relay(sock, "tls12", inject)


BEHAVIOURS = {
    "unoffered-cipher": answer_with(cipher=b"\x00\x04"),
    "downgrade": answer_with(tail=b"DOWNGRD\x01"),
    "compression": answer_with(compression=1),
    "unknown-version": answer_with(version=0x0399),
    "cut-reset": cutting(reset),
    "cut-eof": cutting(finish),
}


def behaviour_of(name):
    return BEHAVIOURS.get(name) or globals()[name.replace("-", "_")]


# ---- serving

def converse(behaviour, sock):
    try:
        behaviour(sock)
    except (OSError, ConnectionError, ssl.SSLError, IndexError, struct.error):
        pass  # the peer left, which is what many of these are for
    finally:
        sock.close()


def serve(listeners):
    poller = select.epoll()
    by_fd = {}
    for behaviour, listener in listeners:
        by_fd[listener.fileno()] = (behaviour, listener)
        poller.register(listener, select.EPOLLIN)
    while True:
        for number, _ in poller.poll():
            behaviour, listener = by_fd[number]
            sock, _ = listener.accept()
            threading.Thread(target=converse, args=(behaviour, sock), daemon=True).start()


def main():
    SPEC.update(json.loads(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16384, 16384))
    threading.stack_size(256 * 1024)
    listeners = []
    low, high = SPEC["ports"]
    for name, addresses in SPEC["servers"].items():
        for address in addresses:
            for port in (443, *(range(low, high + 1) if name in ("alert", "cut-reset", "cut-eof") and ":" not in address else ())):
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                listener = socket.socket(family, socket.SOCK_STREAM)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((address, port))
                listener.listen(256)
                listeners.append((behaviour_of(name), listener))
    serve(listeners)


if __name__ == "__main__":
    main()
