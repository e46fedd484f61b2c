# SPDX-License-Identifier: Apache-2.0
"""Our gRPC server against Python's grpcio, an unmodified third-party client."""
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import grpc
import pytest
from rpc_lab import BUILD, ROOT, SERVICE, Pki, Server, Stub, channel_options, pb, read, run_client, wait_until


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s"


@pytest.fixture
def server(path):
    running = Server("--unix", path)
    yield running
    if running.process.poll() is None:
        running.close()


@pytest.fixture
def channel(server, path):
    with grpc.insecure_channel(f"unix:{path}", options=channel_options()) as opened:
        yield opened


@pytest.fixture
def stub(channel):
    return Stub(channel)


def counters(stub):
    return stub.GetCounters(pb.EchoRequest())


# ------------------------------------------------------------------------------------------------------------------- shapes


def test_unary(stub):
    response = stub.Echo(pb.EchoRequest(text="grüße \U0001f642", number=-2**63))
    assert (response.text, response.number) == ("grüße \U0001f642", -2**63)
    assert stub.Echo(pb.EchoRequest()) == pb.EchoResponse()


def test_server_stream(stub):
    responses = list(stub.Count(pb.EchoRequest(count=3000, size=100)))
    assert [r.number for r in responses] == list(range(3000))
    assert all(len(r.data) == 100 for r in responses)
    assert list(stub.Count(pb.EchoRequest(count=0))) == []


def test_large_server_stream_to_a_slow_reader(stub):
    """More than any window holds: back-pressure reaches the handler."""
    total = 0
    for response in stub.Count(pb.EchoRequest(count=200, size=200_000)):
        total += len(response.data)
        if response.number < 5:
            time.sleep(0.05)
    assert total == 200 * 200_000


def test_client_stream(stub):
    assert stub.Sum(pb.EchoRequest(number=i) for i in range(2000)).number == sum(range(2000))
    assert stub.Sum(iter(())).number == 0


def test_bidirectional(stub):
    """Each answer is awaited before the next request: nothing may be held back."""
    ready = threading.Semaphore(0)

    def requests():
        for i in range(200):
            yield pb.EchoRequest(text=str(i), number=i)
            ready.acquire()

    numbers = []
    for response in stub.Chat(requests()):
        numbers.append(response.number)
        ready.release()
    assert numbers == list(range(200))


def test_watch_gets_what_is_published_and_headers_at_once(stub):
    watch = stub.Watch(pb.EchoRequest())
    assert watch.initial_metadata() is not None
    numbers = [next(watch).number for _ in range(20)]
    assert numbers == list(range(numbers[0], numbers[0] + 20))
    watch.cancel()


# ------------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("error,code", [
    (2, grpc.StatusCode.INVALID_ARGUMENT), (4, grpc.StatusCode.RESOURCE_EXHAUSTED), (6, grpc.StatusCode.INTERNAL),
    (7, grpc.StatusCode.NOT_FOUND), (8, grpc.StatusCode.ALREADY_EXISTS), (9, grpc.StatusCode.FAILED_PRECONDITION),
    (10, grpc.StatusCode.DATA_LOSS), (11, grpc.StatusCode.UNIMPLEMENTED), (12, grpc.StatusCode.PERMISSION_DENIED),
    (13, grpc.StatusCode.DEADLINE_EXCEEDED), (14, grpc.StatusCode.CANCELLED), (16, grpc.StatusCode.UNAUTHENTICATED),
    (17, grpc.StatusCode.ABORTED), (18, grpc.StatusCode.UNAVAILABLE),
])
def test_status_and_message_in_every_shape(stub, error, code):
    request = pb.EchoRequest(error=error, text="grün, 100 %", count=2)
    calls = [lambda: stub.Echo(request), lambda: list(stub.Count(request)), lambda: stub.Sum(iter([request]))]
    for call in calls:
        with pytest.raises(grpc.RpcError) as failure:
            call()
        assert failure.value.code() == code
        assert failure.value.details() == "asked to fail: grün, 100 %"


def test_unknown_methods(channel):
    for method in (f"/{SERVICE}/Nothing", "/x.Y/Z", "/", f"/{SERVICE}/Echo/", f"/{SERVICE}/" + "x" * 1000):
        with pytest.raises(grpc.RpcError) as failure:
            channel.unary_unary(method)(b"")
        assert failure.value.code() == grpc.StatusCode.UNIMPLEMENTED, method


def test_bytes_that_are_no_message(channel):
    for bad in (b"\xff", b"\x0a\x01\xff", b"\x0a\x03a\x00b"):
        with pytest.raises(grpc.RpcError) as failure:
            channel.unary_unary(f"/{SERVICE}/Echo")(bad)
        assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as failure:
        channel.stream_unary(f"/{SERVICE}/Sum")(iter([b"\xff\xff"]))
    assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_metadata_is_ignored(stub):
    metadata = (("authorization", "root"), ("x-uid", "0"), ("binary-bin", b"\x00\xff"), ("x" * 100, "y" * 1000))
    assert stub.Echo(pb.EchoRequest(text="m"), metadata=metadata).text == "m"
    assert stub.WhoAmI(pb.EchoRequest(), metadata=metadata).uid == os.getuid()


def test_compressed_requests_are_refused(channel):
    """A decompressed message could be a thousand times the limit."""
    with pytest.raises(grpc.RpcError) as failure:
        Stub(channel).Echo(pb.EchoRequest(text="a" * 10000), compression=grpc.Compression.Gzip)
    assert failure.value.code() == grpc.StatusCode.UNIMPLEMENTED


# ------------------------------------------------------------------------------------------------------ deadlines, cancellation


def test_deadlines(stub):
    identity = stub.WhoAmI(pb.EchoRequest(), timeout=60)
    assert 30e9 < identity.remaining_ns <= 61e9
    assert stub.WhoAmI(pb.EchoRequest()).remaining_ns == 2**64 - 1
    # Enough for the handlers to start, on a slow machine too: what ends before that is no handler's to notice.
    for call in (lambda: stub.Echo(pb.EchoRequest(delay_ms=60000), timeout=2),
                 lambda: list(stub.Count(pb.EchoRequest(count=9, delay_ms=60000), timeout=2)),
                 lambda: stub.Sum(iter(lambda: time.sleep(0.02) or pb.EchoRequest(), None), timeout=2)):
        with pytest.raises(grpc.RpcError) as failure:
            call()
        assert failure.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: counters(stub).cancelled == 3, "the handlers to notice")


def test_cancellation_reaches_the_handlers(stub):
    calls = [stub.Echo.future(pb.EchoRequest(delay_ms=60000)), stub.Count(pb.EchoRequest(count=9, delay_ms=60000)),
             stub.Watch(pb.EchoRequest()), stub.Chat(iter(lambda: time.sleep(0.02) or pb.EchoRequest(), None))]
    wait_until(lambda: counters(stub).started == 4, "the handlers to start")
    for call in calls:
        call.cancel()
        assert call.code() == grpc.StatusCode.CANCELLED
    wait_until(lambda: counters(stub).cancelled == 4 and counters(stub).finished == 4, "the handlers to notice")


# --------------------------------------------------------------------------------------------------------------- many clients


def test_64_concurrent_clients(server, path):
    errors = []

    def client(n):
        try:
            with grpc.insecure_channel(f"unix:{path}", options=channel_options()) as own:
                stub = Stub(own)
                for i in range(10):
                    assert stub.Echo(pb.EchoRequest(number=n * 100 + i)).number == n * 100 + i
                    assert [r.number for r in stub.Count(pb.EchoRequest(count=20))] == list(range(20))
                    assert stub.Sum(pb.EchoRequest(number=k) for k in range(20)).number == 190
                    assert [r.number for r in stub.Chat(pb.EchoRequest(number=k) for k in range(20))] == list(range(20))
        except Exception as error:  # noqa: BLE001: whatever it is, the main thread reports it
            errors.append(error)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


STREAMING_CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
import grpc
from rpc_lab import Stub, pb, channel_options
stub = Stub(grpc.insecure_channel("unix:" + sys.argv[2], options=channel_options()))
first = stub.Watch(pb.EchoRequest())
second = stub.Count(pb.EchoRequest(count=1000000000, size=1000))
next(first), next(second)
print("streaming", flush=True)
for _ in zip(first, second):
    pass
"""


def test_a_client_killed_mid_stream_leaves_nothing_behind(stub, path):
    counters(stub)
    before = counters(stub).open_descriptors
    for n in range(1, 6):
        client = subprocess.Popen([sys.executable, "-c", STREAMING_CLIENT, str(ROOT / "tests" / "conformance"), str(path)],
                                  stdout=subprocess.PIPE, env={**os.environ, "SLUICE_BUILD_DIR": str(BUILD)})
        assert client.stdout.readline() == b"streaming\n"
        client.send_signal(signal.SIGKILL)
        client.wait()
        client.stdout.close()
        assert stub.Echo(pb.EchoRequest(text="still here")).text == "still here"
        wait_until(lambda: counters(stub).cancelled == 2 * n, "both handlers to notice")
    wait_until(lambda: counters(stub).open_descriptors <= before, "the descriptors to be closed")


def test_many_short_connections_leak_no_descriptor(stub, path):
    counters(stub)
    before = counters(stub).open_descriptors
    for _ in range(100):
        with grpc.insecure_channel(f"unix:{path}", options=channel_options()) as own:
            Stub(own).Echo(pb.EchoRequest())
    for _ in range(200):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(path))
            raw.sendall(os.urandom(64))
    wait_until(lambda: counters(stub).open_descriptors <= before, "the descriptors to be closed")


# --------------------------------------------------------------------------------------------------------------------- limits


def test_messages_over_the_limit(path):
    server = Server("--unix", path, "--max-message", 50_000)
    options = channel_options(max_receive_message_length=-1, max_send_message_length=-1)
    with grpc.insecure_channel(f"unix:{path}", options=options) as channel:
        stub = Stub(channel)
        assert stub.Echo(pb.EchoRequest(data=b"x" * 49_000)).text == ""
        big = pb.EchoRequest(data=b"x" * 51_000, number=1)
        for call in (lambda: stub.Echo(big), lambda: stub.Sum(iter([pb.EchoRequest(number=1), big])),
                     lambda: list(stub.Chat(iter([big]))), lambda: stub.Echo(pb.EchoRequest(size=51_000)),
                     lambda: list(stub.Count(pb.EchoRequest(size=51_000, count=1)))):
            with pytest.raises(grpc.RpcError) as failure:
                call()
            assert failure.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Echo(pb.EchoRequest(text="on")).text == "on"
    server.close()


def test_calls_over_the_limit(path):
    server = Server("--unix", path, "--max-calls", 4)
    channels = [grpc.insecure_channel(f"unix:{path}", options=channel_options()) for _ in range(5)]
    stubs = [Stub(channel) for channel in channels]
    watches = [stub.Watch(pb.EchoRequest()) for stub in stubs[:4]]
    for watch in watches:
        next(watch)
    with pytest.raises(grpc.RpcError) as failure:
        stubs[4].Echo(pb.EchoRequest())
    assert failure.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    watches[0].cancel()

    def served():
        try:
            return stubs[4].Echo(pb.EchoRequest(text="x")).text == "x"
        except grpc.RpcError:
            return False

    wait_until(served, "room for a call")
    for channel in channels:
        channel.close()
    server.close()


# ----------------------------------------------------------------------------------------------------------- keep-alive, shutdown


def test_keepalive_pings_are_answered(path):
    """The client pings an idle stream every second; without answers it would give up after four more."""
    server = Server("--unix", path, "--keepalive-ms", 1000, 4000, 100)
    options = channel_options(keepalive_time_ms=1000, keepalive_timeout_ms=4000, keepalive_permit_without_calls=1,
                              **{"http2.max_pings_without_data": 0})
    with grpc.insecure_channel(f"unix:{path}", options=options) as channel:
        call = Stub(channel).Echo.future(pb.EchoRequest(text="slow", delay_ms=7500))
        assert call.result().text == "slow"
    server.close()


def test_a_client_that_answers_no_ping_is_dropped(path):
    server = Server("--unix", path, "--keepalive-ms", 1000, 4000, 1000)
    with grpc.insecure_channel(f"unix:{path}", options=channel_options()) as channel:
        stub = Stub(channel)
        client = subprocess.Popen([sys.executable, "-c", STREAMING_CLIENT, str(ROOT / "tests" / "conformance"), str(path)],
                                  stdout=subprocess.PIPE, env={**os.environ, "SLUICE_BUILD_DIR": str(BUILD)})
        assert client.stdout.readline() == b"streaming\n"
        client.send_signal(signal.SIGSTOP)
        wait_until(lambda: counters(stub).cancelled == 2, "the server to give the client up")
        client.kill()
        client.wait()
        client.stdout.close()
    server.close()


def test_shutdown_lets_calls_finish(server, stub):
    call = stub.Echo.future(pb.EchoRequest(text="last", delay_ms=700))
    watch = stub.Watch(pb.EchoRequest())
    next(watch)
    server.process.terminate()
    assert call.result().text == "last"
    with pytest.raises(grpc.RpcError) as failure:
        list(watch)
    assert failure.value.code() == grpc.StatusCode.UNAVAILABLE
    assert failure.value.details() == "the server is shutting down"
    server.wait()


def test_shutdown_cancels_what_does_not_finish(path):
    server = Server("--unix", path, "--drain-ms", 100)
    with grpc.insecure_channel(f"unix:{path}", options=channel_options()) as channel:
        call = Stub(channel).Echo.future(pb.EchoRequest(delay_ms=60000))
        chat = Stub(channel).Chat(iter(lambda: time.sleep(0.02) or pb.EchoRequest(), None))
        next(chat)
        server.close()
        assert call.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        with pytest.raises(grpc.RpcError) as failure:
            list(chat)
        assert failure.value.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    assert not path.exists()


# ------------------------------------------------------------------------------------------------------------------- identity


def test_unix_peer_credentials(stub):
    identity = stub.WhoAmI(pb.EchoRequest())
    assert identity.local and not identity.authenticated
    assert (identity.uid, identity.gid, identity.pid) == (os.getuid(), os.getgid(), os.getpid())
    assert identity.address == f"unix:{os.getuid()}"


WHO_AM_I = """
import os, sys
sys.path.insert(0, sys.argv[1])
import grpc
from rpc_lab import Stub, pb, channel_options
uid = int(sys.argv[3])
if os.getuid() == 0:
    os.setgid(uid), os.setuid(uid)
with grpc.insecure_channel("unix:" + sys.argv[2], options=channel_options()) as channel:
    identity = Stub(channel).WhoAmI(pb.EchoRequest())
print(identity.local, identity.uid, identity.gid)
"""


def test_users_are_told_apart_when_descriptors_are_reused():
    """A connection never inherits the identity of the one that had its descriptor number before."""
    users = (1001, 1002, 0, 1001, 1003, 0, 1002) if os.getuid() == 0 else (os.getuid(),)
    # Not in pytest's folder, which other users can't enter.
    with tempfile.TemporaryDirectory(prefix="sluice-rpc-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        server = Server("--unix", f"{folder}/s")
        for uid in users:
            gid = uid if os.getuid() == 0 else os.getgid()
            done = subprocess.run([sys.executable, "-c", WHO_AM_I, str(ROOT / "tests" / "conformance"), f"{folder}/s", str(uid)],
                                  capture_output=True, env={**os.environ, "SLUICE_BUILD_DIR": str(BUILD)})
            assert done.stdout.decode().split() == ["True", str(uid), str(gid)], done.stderr.decode()
        server.close()


# ---------------------------------------------------------------------------------------------------------------- mutual TLS


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"), "good")


@pytest.fixture
def tls_server(pki):
    certificate, key = pki.issue("localhost", ["localhost", "127.0.0.1"])
    running = Server("--tls", "127.0.0.1:0", certificate, key, pki.ca_file)
    yield running
    running.close()


def tls_stub(server, ca_file, certificate=None, key=None):
    identity = (read(key), read(certificate)) if certificate else (None, None)
    credentials = grpc.ssl_channel_credentials(read(ca_file), *identity)
    channel = grpc.secure_channel(f"localhost:{server.port}", credentials, options=channel_options())
    return channel, Stub(channel)


def test_mutual_tls(tls_server, pki):
    channel, stub = tls_stub(tls_server, pki.ca_file, *pki.issue("admin one", ["admin.example", "10.0.0.1"], client=True))
    with channel:
        identity = stub.WhoAmI(pb.EchoRequest())
        assert identity.authenticated and not identity.local
        assert (identity.common_name, identity.alt_names) == ("admin one", "admin.example, 10.0.0.1")
        assert identity.address.startswith("ipv4:127.0.0.1:")
        assert [r.number for r in stub.Count(pb.EchoRequest(count=100, size=10000))] == list(range(100))
        assert [r.number for r in stub.Chat(pb.EchoRequest(number=k) for k in range(50))] == list(range(50))


def refused(channel, stub):
    with channel, pytest.raises(grpc.RpcError) as failure:
        stub.Echo(pb.EchoRequest())
    return failure.value.code() == grpc.StatusCode.UNAVAILABLE


def test_mutual_tls_refusals(tls_server, pki, tmp_path):
    stranger = Pki(tmp_path, "bad")
    good = pki.issue("admin two", client=True)
    assert refused(*tls_stub(tls_server, pki.ca_file)), "no client certificate"
    foreign = stranger.issue("admin two", client=True)
    assert refused(*tls_stub(tls_server, pki.ca_file, *foreign)), "a client certificate of another CA"
    expired = pki.issue("expired", client=True, expired=True)
    assert refused(*tls_stub(tls_server, pki.ca_file, *expired)), "an expired client certificate"
    assert refused(*tls_stub(tls_server, stranger.ca_file, *good)), "the client trusts another CA"
    channel = grpc.insecure_channel(f"localhost:{tls_server.port}", options=channel_options())
    assert refused(channel, Stub(channel)), "no TLS at all"
    channel, stub = tls_stub(tls_server, pki.ca_file, *good)
    with channel:
        assert stub.Echo(pb.EchoRequest(text="ok")).text == "ok"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_below_1_2_is_refused(tls_server):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", tls_server.port)) as raw, pytest.raises(OSError):
        context.wrap_socket(raw)


def test_both_listeners_and_our_own_client(path, pki):
    certificate, key = pki.issue("localhost", ["localhost", "127.0.0.1"])
    server = Server("--unix", path, "--tls", "127.0.0.1:0", certificate, key, pki.ca_file)
    mine = (*pki.issue("our client", client=True), pki.ca_file)
    responses, error, _ = run_client(f"unix:{path}", "WhoAmI", "{}")
    assert error == 0 and responses[0]["local"] is True
    responses, error, _ = run_client(f"127.0.0.1:{server.port}", "WhoAmI", "{}", tls=(*mine, "localhost"))
    assert error == 0 and responses[0]["commonName"] == "our client"
    server.close()
