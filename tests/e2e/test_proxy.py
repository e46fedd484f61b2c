# SPDX-License-Identifier: Apache-2.0
"""Connections through the gateway, by real clients: transparent and explicit, both address families, whole lives of connections."""
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from concurrent import futures

import grpc
import pytest
from lab import netns
from lab.clients import leaf_of, read_all, tls_connect, tls_context
from lab.servers import SERVERS
from lab.sluice import DECRYPT_ALL, alerts, enum_name, sanitized
from lab.topology import CLIENT, INSIDE, LISTEN_PORT, MORE_CLIENTS, OUTSIDE, PROXY_PORT

PROXY = f"http://{INSIDE[0]}:{PROXY_PORT}"


@pytest.mark.parametrize("family, client", [("-4", CLIENT[0]), ("-6", CLIENT[1])])
def test_the_server_sees_the_client(sluice, curl, family, client):
    """Transparent: the client's address is kept upstream."""
    for _ in range(3):
        answer = curl.server("good", "/who", family=family)
        assert answer.ok, answer.error
        assert answer.body.split()[0] == client
    answer = curl.server("good", "/who", "--interface", MORE_CLIENTS[3])
    assert answer.body.split()[0] == MORE_CLIENTS[3]


def test_event_of_a_page(sluice, curl):
    before = sluice.newest_event()
    answer = curl.server("good", "/who")
    event = sluice.wait_event(before)
    assert (event.src.ip, event.src.port) == (CLIENT[0], answer.port)
    assert (event.dst.ip, event.dst.port, event.dst.service) == (SERVERS["good"].ipv4, 443, "tcp/443")
    assert (event.src.interface, event.dst.interface) == ("inside", "outside")
    assert len(event.flow_id) == 16 and event.id > before
    assert event.time_ns > event.start_ns > 0
    assert event.txn.bytes_received > 500 and event.txn.bytes_sent > 200
    assert event.device.name == "lab-gateway"
    assert event.tls.client_cipher and event.tls.ja4.startswith("t13d")
    assert "TLS 1.3" in " ".join(event.tls.client_offered.versions).replace("TLSv", "TLS ")
    assert event.latency.server_handshake_us and event.latency.client_handshake_us and event.latency.sign_us is not None
    assert event.placement.where == "software"
    assert event.records.records > 0


def test_the_client_sees_the_decryption_ca(lab, sluice):
    """C1, C3: the leaf has the server's names and is signed by this gateway's CA."""
    with tls_connect(lab, "good", sluice.ca_file()) as tls:
        subject, issuer, der = leaf_of(tls)
        assert tls.getpeercert()["subjectAltName"] == (("DNS", "*.lab.test"),)
    assert "Sluice" in issuer and subject
    done = netns.run("openssl", "x509", "-inform", "DER", "-noout", "-text", input=der, text=False).stdout.decode()
    assert "TLS Web Server Authentication" in done and "CA:FALSE" in done and "ecdsa-with-SHA256" in done
    # The second one is the same, from the cache.
    with tls_connect(lab, "good", sluice.ca_file()) as tls:
        assert leaf_of(tls)[2] == der or sluice.settings["workers"] > 1


def test_s_client(lab, sluice):
    for words, expected in ((["-tls1_2"], "TLSv1.2"), (["-tls1_3"], "TLSv1.3"), (["-tls1_3", "-groups", "P-384:X25519"], "TLSv1.3"),
                            (["-tls1_2", "-sigalgs", "RSA+SHA256:RSA-PSS+SHA256"], "TLSv1.2")):
        server = "rsa" if "-sigalgs" in words else "good"
        done = lab.client.run("openssl", "s_client", "-connect", f"{SERVERS[server].ipv4}:443", "-servername",
                              SERVERS[server].host, "-CAfile", sluice.ca_file(), "-verify_return_error", "-quiet", *words,
                              input=f"GET /who HTTP/1.0\r\nHost: {SERVERS[server].host}\r\n\r\n", check=False)
        assert expected in done.stdout, done.stderr


@pytest.mark.parametrize("words", [["-tls1"], ["-tls1_1"]])
def test_old_versions_are_refused(lab, sluice, words):
    """P1."""
    before = sluice.newest_event()
    done = lab.client.run("openssl", "s_client", "-connect", f"{SERVERS['tls11'].ipv4}:443", "-cipher", "ALL:@SECLEVEL=0", *words,
                          input="", check=False)
    assert "alert protocol version" in done.stderr
    event = sluice.wait_event(before)
    assert enum_name(event, "cause") == "CLI_UNSUPPORTED_VERSION"
    assert alerts(event) == [(70, "sent_to_client")]


def test_weak_suites_are_refused(lab, sluice):
    """P2, P3: nothing that the profile allows."""
    before = sluice.newest_event()
    done = lab.client.run("openssl", "s_client", "-tls1_2", "-connect", f"{SERVERS['good'].ipv4}:443", "-servername",
                          SERVERS["good"].host, "-cipher", "AES128-SHA:CAMELLIA128-SHA:@SECLEVEL=0", input="", check=False)
    assert "handshake failure" in done.stderr
    assert enum_name(sluice.wait_event(before), "cause") == "CLI_NO_SHARED_CIPHER"


# ---- explicit

def test_connect(sluice, curl):
    for words in ((), ("--http1.1",), ("--tls-max", "1.2")):
        before = sluice.newest_event()
        answer = curl.server("good", "/who", "-x", PROXY, *words)
        assert answer.ok, answer.error
        assert answer.body.split()[0] in OUTSIDE  # explicit: the gateway's own address
        event = sluice.wait_event(before)
        assert event.tls.decrypted and event.dst.host == SERVERS["good"].host


def test_connect_to_an_address(sluice, curl):
    assert curl.get(f"https://{SERVERS['by-address'].ipv4}/", "-x", PROXY).ok
    assert curl.get(f"https://[{SERVERS['by-address'].ipv6}]/", "-x", PROXY).ok


@pytest.mark.parametrize("url, status, cause", [
    ("https://nowhere.lab.test/", "502", "SRV_UNREACHABLE"),
    (f"https://{SERVERS['good'].ipv4}:444/", "502", "SRV_CONNECT_REFUSED"),
    (f"https://{INSIDE[0]}:{LISTEN_PORT}/", "403", "LOOP_DETECTED"),
    (f"https://{INSIDE[0]}:{PROXY_PORT}/", "403", "LOOP_DETECTED"),
    ("https://127.0.0.1:22/", "403", "LOOP_DETECTED"),
    ("https://localhost/", "403", "LOOP_DETECTED"),
    ("https://[::1]/", "403", "LOOP_DETECTED"),
    ("https://169.254.169.254/", "403", "LOOP_DETECTED"),
])
def test_connect_refused(sluice, curl, url, status, cause):
    """A12 among others: the gateway never proxies to itself."""
    before = sluice.newest_event()
    answer = curl.get(url, "-x", PROXY)
    assert answer.code == 56 and status in answer.error, answer.error
    assert enum_name(sluice.wait_event(before), "cause") == cause


@pytest.mark.parametrize("request_bytes, status", [
    (b"GET http://good.lab.test/ HTTP/1.1\r\nHost: good.lab.test\r\n\r\n", b"405"),
    (b"CONNECT good.lab.test HTTP/1.1\r\n\r\n", b"400"),
    (b"CONNECT good.lab.test:99999 HTTP/1.1\r\n\r\n", b"400"),
    (b"CONNECT good.lab.test:443 HTTP/1.1\r\nX: " + b"y" * 20000 + b"\r\n\r\n", b"4"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600), b"4"),
    (b"\r\n" * 10 + b"hello?\r\n\r\n", b"4"),
])
def test_not_a_connect_request(lab, sluice, request_bytes, status):
    with lab.client.connect(INSIDE[0], PROXY_PORT) as sock:
        sock.sendall(request_bytes)
        answer, _ = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 " + status), answer[:100]


def test_connect_in_pieces(lab, sluice):
    """The request, and the ClientHello behind it, in any chunks."""
    hello = client_hello("good.lab.test")
    whole = b"CONNECT good.lab.test:443 HTTP/1.1\r\nHost: good.lab.test:443\r\n\r\n" + hello
    for cut in (1, 30, 63, 64, 70, len(whole) - 1, len(whole)):
        with lab.client.connect(INSIDE[0], PROXY_PORT) as sock:
            sock.sendall(whole[:cut])
            time.sleep(0.03)
            sock.sendall(whole[cut:])
            answer = sock.recv(65536)
            while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < 6:
                more = sock.recv(65536)
                assert more, answer
                answer += more
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and rest[:2] == b"\x16\x03"


def client_hello(name, **limits):
    """The bytes of a ClientHello record."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = tls_context(**limits).wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("address", [INSIDE[0], OUTSIDE[0], INSIDE[1]])
def test_loop(lab, sluice, address):
    """A connection to the transparent listener itself."""
    before = sluice.newest_event()
    try:
        with lab.client.connect(address, LISTEN_PORT) as sock:
            assert read_all(sock) in ((b"", "reset"), (b"", "eof"))
    except ConnectionResetError:
        pass  # that quick
    assert enum_name(sluice.wait_event(before, server=address), "cause") == "LOOP_DETECTED"


# ---- hellos

@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_hello_in_segments(lab, sluice, size):
    """The ClientHello over many TCP segments."""
    hello = client_hello("good.lab.test")
    with lab.client.connect(SERVERS["good"].ipv4, 443) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(hello), size):
            sock.sendall(hello[i:i + size])
            if i < 20 * size:
                time.sleep(0.002)
        assert sock.recv(5)[:1] == b"\x16"


def test_hello_in_records(lab, sluice):
    """The ClientHello over many records."""
    hello = client_hello("good.lab.test")[5:]
    with lab.client.connect(SERVERS["good"].ipv4, 443) as sock:
        for i in range(0, len(hello), 50):
            part = hello[i:i + 50]
            sock.sendall(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part)
        assert sock.recv(5)[:1] == b"\x16"


def test_no_name(lab, sluice):
    """Without SNI the server must prove its address."""
    context = tls_context()
    sock = lab.client.connect(SERVERS["by-address"].ipv4, 443)
    with context.wrap_socket(sock) as tls:
        assert tls.version()
    before = sluice.newest_event()
    sock = lab.client.connect(SERVERS["good"].ipv4, 443)
    with pytest.raises(OSError):
        context.wrap_socket(sock)
    event = sluice.wait_event(before, server=SERVERS["good"].ipv4)
    assert enum_name(event, "cause") in ("SRV_CERT_IP_MISMATCH", "SRV_CERT_HOST_MISMATCH")


# ---- lives of connections

@pytest.mark.parametrize("server", ["echo", "echo12"])
def test_half_close(lab, sluice, server):
    """close_notify in one direction; the other goes on to its own end."""
    payload = os.urandom(200_000)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = tls_context(sluice.ca_file()).wrap_bio(incoming, outgoing, server_hostname=SERVERS[server].host)
    with lab.client.connect(SERVERS[server].ipv4, 443) as sock:

        def drive(operation):
            """Does it, with as much reading and writing as it takes."""
            while True:
                try:
                    return operation()
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    chunk = sock.recv(65536)
                    incoming.write(chunk) if chunk else incoming.write_eof()  # pylint: disable=expression-not-assigned

        drive(tls.do_handshake)
        lock = threading.Lock()  # a TLS object belongs to one thread at a time
        threading.Thread(target=write_and_close, args=(tls, payload, sock, outgoing, lock), daemon=True).start()
        received = b""
        while not received.endswith(b"bye") or len(received) < len(payload) + 3:
            try:
                with lock:
                    received += tls.read(65536)
            except ssl.SSLWantReadError:
                chunk = sock.recv(65536)
                assert chunk, f"{len(received)} bytes came back"
                with lock:
                    incoming.write(chunk)
    assert received == payload + b"bye"


def write_and_close(tls, payload, sock, outgoing, lock):
    """In small pieces, so that the echo does not fill the way; then close_notify, whose answer comes much later."""
    for at in range(0, len(payload), 8192):
        with lock:
            tls.write(payload[at:at + 8192])
            piece = outgoing.read()
        sock.sendall(piece)
        time.sleep(0.005)
    time.sleep(0.3)
    with lock:
        try:
            tls.unwrap()
        except ssl.SSLError:
            pass  # SSLWantReadError: the peer's close_notify is to come
        piece = outgoing.read()
    sock.sendall(piece)


def test_connect_to_a_host_that_is_denied(sluice, curl):
    """The CONNECT host is asked about before the server is, whatever name the ClientHello has."""
    address = SERVERS["by-address"].ipv4
    sluice.commit({**DECRYPT_ALL, "access_rules": [{"name": "no", "match": {"hosts": [address]}, "action": "DENY"}]})
    before = sluice.newest_event()
    answer = curl.get(f"https://{address}/", "-x", PROXY)
    assert not answer.ok and "403" in answer.error
    event = sluice.wait_event(before, server=address)
    assert enum_name(event, "cause") == "POLICY_DENY" and event.policy.access.name == "no"
    assert event.txn.bytes_sent == 0


@pytest.mark.parametrize("wait, cause", [(True, "CAUSE_NONE"), (False, "CLI_RESET")])
def test_reset_of_the_client(lab, sluice, wait, cause):
    """After the server is done a client may end as it likes; before, a reset is a failure."""
    before = sluice.newest_event()
    tls = tls_connect(lab, "good", sluice.ca_file())
    close = b"close" if wait else b"keep-alive"
    tls.sendall(b"GET / HTTP/1.1\r\nHost: good.lab.test\r\nConnection: " + close + b"\r\n\r\n")
    if wait:
        read_all(tls)  # up to the server's close_notify
    else:
        tls.recv(1)
    sock = socket.socket(fileno=tls.detach())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    event = sluice.wait_event(before, server=SERVERS["good"].ipv4)
    assert (enum_name(event, "type"), enum_name(event, "cause")) == ("TLS_DECRYPTED", cause)


def test_half_close_of_bytes(lab, sluice):
    """FIN in one direction; what still comes in the other arrives whole."""
    with lab.client.connect(SERVERS["plain-echo"].ipv4, 443) as sock:
        payload = b"hello, this is not TLS\n" + os.urandom(500_000)
        threading.Thread(target=lambda: (sock.sendall(payload), sock.shutdown(socket.SHUT_WR)), daemon=True).start()
        data, how = read_all(sock)
    assert data == payload and how == "eof"


@pytest.mark.parametrize("server, command", [("tls13", "K"), ("tls13", "k"), ("aes128-13", "K"), ("chacha13", "K")])
def test_key_update(lab, sluice, server, command):
    """A client that changes its keys in the middle, and asks the server to."""
    command_line = lab.client.command("openssl", "s_client", "-connect", f"{SERVERS[server].ipv4}:443", "-servername",
                                      SERVERS[server].host,
                                      "-CAfile", sluice.ca_file(), "-verify_return_error", "-alpn", "http/1.1", "-crlf")
    request = f"GET /who HTTP/1.1\nHost: {SERVERS[server].host}\n\n"
    with subprocess.Popen(command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=netns.ENV,
                          text=True, bufsize=1) as process:
        said = {"": "", "error": ""}  # of standard output, and standard error

        def read(pipe, which):
            for line in pipe:
                said[which] += line

        readers = [threading.Thread(target=read, args=pair) for pair in ((process.stdout, ""), (process.stderr, "error"))]
        for reader in readers:
            reader.start()

        def say(text, answer, count, which=""):
            """openssl takes a command only when nothing else waits to be read, so each answer is awaited."""
            process.stdin.write(text)
            process.stdin.flush()
            netns.wait_for(lambda: said[which].count(answer) == count or process.poll() is not None, f"'{answer}'")

        for i in range(3):
            say(request, "HTTP/1.1 200 OK", i + 1)
            say(command + "\n", "KEYUPDATE", i + 1, "error")
        say(request.replace("\n\n", "\nConnection: close\n\n"), "HTTP/1.1 200 OK", 4)
        for reader in readers:
            reader.join()  # it ends when the server closes
    assert said[""].count("HTTP/1.1 200 OK") == 4, said[""][-1500:] + said["error"]
    assert said["error"].count("KEYUPDATE") == 3


def test_renegotiation_ends_the_connection(lab, sluice):
    """P8: a client that renegotiates in TLS 1.2."""
    before = sluice.newest_event()
    command = lab.client.command("openssl", "s_client", "-tls1_2", "-connect", f"{SERVERS['tls12'].ipv4}:443", "-servername",
                                 SERVERS["tls12"].host, "-CAfile", sluice.ca_file())
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=netns.ENV,
                          text=True) as process:
        time.sleep(0.4)
        process.stdin.write("R\n")
        process.stdin.flush()
        process.stdout.read()
        assert "RENEGOTIATING" in process.stderr.read()
    assert enum_name(sluice.wait_event(before, server=SERVERS["tls12"].ipv4), "cause") == "REC_PROTOCOL"


def test_keep_alive(lab, sluice):
    """Many requests on one connection, over both versions."""
    for server in ("tls12", "tls13"):
        with tls_connect(lab, server, sluice.ca_file(), alpn=["http/1.1"]) as tls:
            for _ in range(100):
                tls.sendall(f"GET /who HTTP/1.1\r\nHost: {SERVERS[server].host}\r\n\r\n".encode())
                answer = b""
                while not answer.endswith(b"\n") or b"\r\n\r\n" not in answer:
                    answer += tls.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("server", ["tls12", "tls13", "chacha12", "chacha13", "rsa", "aes256-12", "aes128-13"])
def test_content_is_whole(lab, sluice, curl, server, tmp_path):
    """Download and upload of some megabytes, compared."""
    wanted = (lab.folder / "servers/html/random").read_bytes()
    target = tmp_path / "random"
    answer = curl.server(server, "/random", "-o", target)
    assert answer.ok, answer.error
    assert target.read_bytes() == wanted
    source = tmp_path / "upload"
    source.write_bytes(os.urandom(3_000_000))
    answer = curl.server(server, f"/upload/{server}", "-T", source)
    assert answer.code == 0 and answer.status in (201, 204), answer.error
    assert (lab.folder / f"servers/html/upload/{server}").read_bytes() == source.read_bytes()


def test_big_file(lab, sluice, curl):
    """A quarter of a GiB at full speed; memory stays where it is."""
    size = 256 << 20
    wanted = lab.big_file(size)
    before = sluice.memory()
    digest = hashlib.sha256()
    command = lab.client.command(*curl.command(f"https://{SERVERS['good'].host}/big", "-4", "-w", ""))
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=netns.ENV) as process:
        while chunk := process.stdout.read(1 << 20):
            digest.update(chunk)
    assert process.returncode == 0 and digest.hexdigest() == wanted
    assert sluice.memory() - before < (300 if sanitized() else 16) << 20


def test_h2_multiplexed(sluice, curl):
    """Eight streams in one connection."""
    answer = curl.server("good", "/random", "-Z", "--parallel-max", "8", "-o", "/dev/null",
                         *[word for _ in range(7) for word in (f"https://{SERVERS['good'].host}/random", "-o", "/dev/null")])
    assert answer.code == 0, answer.error


# ---- gRPC

class Echo(grpc.GenericRpcHandler):
    def service(self, handler_call_details):
        if handler_call_details.method.endswith("/Unary"):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request)
        return grpc.stream_stream_rpc_method_handler(lambda requests, context: (request for request in requests))


def test_grpc(lab, sluice):
    """gRPC of Python, unmodified, over h2: unary and bidirectional streams."""
    with futures.ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool, [Echo()])
        credentials = grpc.ssl_server_credentials([((lab.pki.folder / "ecdsa.key").read_bytes(),
                                                    (lab.pki.folder / "ecdsa.pem").read_bytes())])
        # The core of gRPC makes its sockets on threads of its own: a listener is made here, in the namespace, and forwarded to.
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        listener = lab.server.listen(SERVERS["silent"].ipv4, 10000)
        forward(listener, lambda: socket.create_connection(("127.0.0.1", port)))
        front = socket.create_server(("127.0.0.1", 0))
        forward(front, lambda: lab.client.connect(SERVERS["silent"].ipv4, 10000))
        channel = grpc.secure_channel(f"127.0.0.1:{front.getsockname()[1]}",
                                      grpc.ssl_channel_credentials(sluice.ca_file().read_bytes()),
                                      [("grpc.ssl_target_name_override", "grpc.lab.test"),
                                       ("grpc.default_authority", "grpc.lab.test")])
        before = sluice.newest_event()
        unary = channel.unary_unary("/lab.Echo/Unary")
        stream = channel.stream_stream("/lab.Echo/Stream")
        for size in (0, 1, 1000, 1_000_000):
            payload = os.urandom(size)
            assert unary(payload, timeout=120) == payload
        messages = [os.urandom(5000) for _ in range(100)]
        assert list(stream(iter(messages), timeout=120)) == messages
        channel.close()
        event = sluice.wait_event(before)
        assert event.tls.decrypted and event.tls.client_selected.alpn[0] in ("h2", "grpc-exp")
        server.stop(0)
        listener.close()
        front.close()


def forward(listener, connect):
    def pump(source, sink):
        try:
            while chunk := source.recv(65536):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept():
        while True:
            try:
                near, _ = listener.accept()
                far = connect()
            except OSError:
                return
            near.settimeout(None)
            far.settimeout(None)
            for pair in ((near, far), (far, near)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


# ---- resumption

@pytest.mark.parametrize("server", ["tls12", "tls13"])
def test_resumption_on_both_legs(lab, sluice, server):
    """The client resumes with the gateway, and the gateway with the server."""
    context = tls_context(sluice.ca_file(), alpn=["http/1.1"])

    def connect(session=None):
        with tls_connect(lab, server, context=context, session=session) as tls:
            port = tls.getsockname()[1]
            tls.sendall(f"GET /who HTTP/1.1\r\nHost: {SERVERS[server].host}\r\nConnection: close\r\n\r\n".encode())
            answer, _ = read_all(tls)
            return tls.session, tls.session_reused, answer.split()[-1], port

    before = sluice.newest_event()
    session = connect()[0]
    results = [connect(session)[1:] for _ in range(8)]
    assert all(reused for reused, _, _ in results), results
    assert b"r" in [word for _, word, _ in results]  # nginx: $ssl_session_reused
    events = sorted(sluice.wait_events(9, before, server=SERVERS[server].ipv4), key=lambda event: event.start_ns)[1:]
    assert [event.src.port for event in events] == [port for _, _, port in results]
    assert all(event.tls.client_resumed for event in events)
    # A ticket of TLS 1.3 that comes after the hand-over is not kept: not each of them can resume.
    assert any(event.tls.server_resumed for event in events)
    assert all(enum_name(event, "cause") == "CAUSE_NONE" and event.leaf.signed_by in ("trusted", "") for event in events)


def test_client_that_does_not_trust(lab, sluice, curl):
    """The decryption CA isn't installed, or the application pins: the client's own alert, with its direction."""
    for words in ((), ("--tls-max", "1.2")):
        before = sluice.newest_event()
        assert curl.get("https://good.lab.test/", "-4", *words, ca=lab.pki.path("elsewhere.pem")).code == 60
        event = sluice.wait_event(before)
        assert enum_name(event, "cause") == "CLI_ALERT_UNKNOWN_CA"
        assert (48, "received_from_client") in alerts(event)
        assert enum_name(event, "side") == "SIDE_CLIENT"
        assert any(remedy.id == "install-decryption-ca" for remedy in event.remedies)


def test_no_ca_yet(own_sluice, own_lab):
    """Without a CA nothing can be decrypted, and nothing is let through instead."""
    one = own_sluice().start()
    one.commit(DECRYPT_ALL)
    before = one.newest_event()
    done = own_lab.client.run("curl", "-sS", "-k", "https://good.lab.test/", check=False)
    assert done.returncode
    event = one.wait_event(before, types=["TLS_ABORT"])
    assert "ca init" in event.txn.error + event.tls.error
    assert any("ca init" in warning for warning in one.call("GetStatus").warnings)
