# SPDX-License-Identifier: Apache-2.0
"""Our gRPC client against a server written with Python's grpcio."""
import concurrent.futures
import json
import threading
import time

import grpc
import pytest
from rpc_lab import METHODS, SERVICE, Pki, pb, read, run_client, wait_until

# sl_err numbers
OK, INVALID, LIMIT, IO, NOT_FOUND, DENIED, TIMEOUT, CANCELLED, UNAVAILABLE = 0, 2, 4, 6, 7, 12, 13, 14, 18

STATUS = {code.value[0]: code for code in grpc.StatusCode}


class Handlers:
    """The reference behaviour of the test service, in Python."""

    def __init__(self):
        self.ended = threading.Semaphore(0)
        self.metadata = None

    def Echo(self, request, context):
        self.metadata = dict(context.invocation_metadata())
        context.add_callback(self.ended.release)
        context.set_trailing_metadata((("trailing", "ignored"),))
        if request.error:
            context.abort(STATUS[request.error], request.text)
        time.sleep(request.delay_ms / 1000)
        return pb.EchoResponse(text=request.text, number=request.number, data=bytes(request.size))

    def Count(self, request, context):
        context.add_callback(self.ended.release)
        context.send_initial_metadata((("leading", "ignored"),))
        for i in range(request.count):
            time.sleep(request.delay_ms / 1000)
            yield pb.EchoResponse(number=i, data=bytes(request.size))
        if request.error:
            context.abort(STATUS[request.error], request.text)

    def Sum(self, requests, context):
        return pb.EchoResponse(number=sum(request.number for request in requests))

    def Chat(self, requests, context):
        for request in requests:
            if request.error:
                context.abort(STATUS[request.error], request.text)
            yield pb.EchoResponse(text=request.text, number=request.number)

    def Watch(self, request, context):
        context.add_callback(self.ended.release)
        n = 0
        while context.is_active():
            yield pb.EchoResponse(number=n)
            n += 1

    def WhoAmI(self, request, context):
        identities = context.peer_identities() or [b""]
        return pb.Identity(authenticated=bool(context.peer_identities()), common_name=identities[0].decode(),
                           remaining_ns=int(min(context.time_remaining() or 0, 1e9) * 1e9))

    def GetCounters(self, request, context):
        return pb.Counters()


class PythonServer:
    def __init__(self, address, credentials=None):
        self.handlers = Handlers()
        options = (("grpc.so_reuseport", 0),)
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), options=options)
        methods = {}
        for name, (request, response, shape) in METHODS.items():
            make = getattr(grpc, f"{shape}_rpc_method_handler")
            methods[name] = make(getattr(self.handlers, name), request_deserializer=request.FromString,
                                 response_serializer=response.SerializeToString)
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        self.port = self.server.add_secure_port(address, credentials) if credentials else self.server.add_insecure_port(address)
        self.server.start()

    def close(self):
        self.server.stop(None).wait()


@pytest.fixture
def target(tmp_path):
    return f"unix:{tmp_path}/s"


@pytest.fixture
def server(target):
    running = PythonServer(target)
    yield running
    running.close()


def request(**fields):
    return json.dumps(fields)


def test_unary(server, target):
    responses, error, _ = run_client(target, "Echo", request(text="grüße", number="-9223372036854775808"))
    assert (error, responses) == (OK, [{"text": "grüße", "number": "-9223372036854775808"}])
    assert server.handlers.metadata["user-agent"].startswith("grpc-c/")


def test_server_stream(server, target):
    responses, error, _ = run_client(target, "Count", request(count=1000, size=10))
    assert error == OK and [int(r.get("number", 0)) for r in responses] == list(range(1000))


def test_client_stream(server, target):
    responses, error, _ = run_client(target, "Sum", *[request(number=i) for i in range(500)])
    assert (error, responses) == (OK, [{"number": str(sum(range(500)))}])
    assert run_client(target, "Sum")[:2] == ([{}], OK)


def test_bidirectional(server, target):
    responses, error, _ = run_client(target, "Chat", *[request(number=i, text="t") for i in range(300)])
    assert error == OK and [int(r.get("number", 0)) for r in responses] == list(range(300))


# By the status code's number.
@pytest.mark.parametrize("code,error", [(n, err) for n, err in enumerate(
    [OK, 14, 6, 2, 13, 7, 8, 12, 4, 9, 17, 2, 11, 6, 18, 10, 16]) if n])
def test_status_and_message_in_every_shape(server, target, code, error):
    wanted = request(error=code, text="grün, 100 %", count=1)
    for method, count in (("Echo", 0), ("Count", 1), ("Chat", 0)):
        responses, got, text = run_client(target, method, wanted)
        assert (got, text, len(responses)) == (error, "grün, 100 %", count), method


def test_deadlines(server, target):
    responses, error, _ = run_client(target, "--timeout-ms", 60000, "WhoAmI")
    assert error == OK and 30e9 < int(responses[0]["remainingNs"]) <= 61e9
    # Enough for the handlers to start, on a slow machine too.
    assert run_client(target, "--timeout-ms", 2000, "Echo", request(delayMs=4000))[1] == TIMEOUT
    responses, error, _ = run_client(target, "--timeout-ms", 2000, "Count", request(count=100, delayMs=100))
    assert error == TIMEOUT and len(responses) < 100
    for _ in range(2):
        assert server.handlers.ended.acquire(timeout=60)


def test_cancellation(server, target):
    responses, error, _ = run_client(target, "--cancel-after", 5, "Watch", "{}")
    assert error == CANCELLED and len(responses) >= 5
    assert server.handlers.ended.acquire(timeout=60)


def test_a_response_over_the_limit(server, target):
    assert run_client(target, "--max-message", 1000, "Echo", request(size=900))[1] == OK
    assert run_client(target, "--max-message", 1000, "Echo", request(size=1100))[1] == LIMIT
    responses, error, _ = run_client(target, "--max-message", 1000, "Count", request(size=1100, count=2))
    assert (responses, error) == ([], LIMIT)
    assert run_client(target, "--max-message", 10, "Echo", request(text="x" * 20))[1] == LIMIT


def test_a_server_that_lacks_the_method(target):
    bare = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    bare.add_insecure_port(target)
    bare.start()
    for method in ("Echo", "Count", "Sum", "Chat"):
        assert run_client(target, method, "{}")[1] == 11
    bare.stop(None).wait()


def test_nobody_there(target):
    for method in ("Echo", "Count"):
        responses, error, text = run_client(target, method, "{}")
        assert (responses, error) == ([], UNAVAILABLE) and text


def test_a_server_that_goes_away_mid_stream(server, target):
    threading.Timer(0.5, lambda: server.server.stop(0)).start()
    responses, error, _ = run_client(target, "Count", request(count=100000, delayMs=10))
    assert error in (UNAVAILABLE, CANCELLED) and len(responses) < 100000


def test_64_clients_at_once(server, target):
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        results = list(pool.map(lambda n: run_client(target, "Echo", request(number=n)), range(64)))
    assert [(error, text) for _, error, text in results if error] == []
    assert [int(r[0][0].get("number", 0)) for r in results] == list(range(64))


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"), "good")


def test_mutual_tls(pki, tmp_path):
    stranger = Pki(tmp_path, "bad")
    certificate, key = pki.issue("server", ["localhost", "127.0.0.1"])
    credentials = grpc.ssl_server_credentials([(read(key), read(certificate))], read(pki.ca_file), require_client_auth=True)
    server = PythonServer("127.0.0.1:0", credentials)
    target = f"127.0.0.1:{server.port}"
    mine = pki.issue("our client", client=True)
    responses, error, _ = run_client(target, "WhoAmI", tls=(*mine, pki.ca_file, "localhost"))
    assert (error, responses[0]["commonName"]) == (OK, "our client")
    assert run_client(target, "Count", request(count=50), tls=(*mine, pki.ca_file, "127.0.0.1"))[1] == OK
    for tls in ((*mine, pki.ca_file, "elsewhere.example"), (*mine, stranger.ca_file, "localhost"),
                (*stranger.issue("our client", client=True), pki.ca_file, "localhost")):
        assert run_client(target, "Echo", "{}", tls=tls)[1] == UNAVAILABLE
        assert run_client(target, "Count", "{}", tls=tls)[1] == UNAVAILABLE
    assert run_client(target, "Echo", "{}")[1] == INVALID
    server.close()
