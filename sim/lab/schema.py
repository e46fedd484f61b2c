# SPDX-License-Identifier: Apache-2.0
"""The messages and methods of proto/, for Python: made by protoc when they are needed."""
import functools
import importlib
import sys
import tempfile

from .netns import LabError
from .topology import ROOT


@functools.lru_cache(None)
def schema(*files):
    """The modules that protoc makes of these files; those that they import must be among them."""
    from grpc_tools import protoc
    with tempfile.TemporaryDirectory(prefix="sluice-proto-") as folder:
        if protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", *files]):
            raise LabError("protoc does not take proto/")
        sys.path.insert(0, folder)
        try:
            return tuple(importlib.import_module(file.replace(".proto", "_pb2").replace("/", ".")) for file in files)
        finally:
            sys.path.remove(folder)


def methods(service):
    """{name: (class of the request, class of the reply, shape as grpcio names it)} of a service's descriptor."""
    def shape(method):
        return "_".join("stream" if streams else "unary" for streams in (method.client_streaming, method.server_streaming))

    return {method.name: (class_of(method.input_type), class_of(method.output_type), shape(method)) for method in service.methods}


class Stub:
    """stub.Method(request) for every method of a service, given its descriptor. raw: replies are the bytes that came."""

    def __init__(self, channel, service, raw=False):
        for name, (request, reply, shape) in methods(service).items():
            make = getattr(channel, shape)
            setattr(self, name, make(f"/{service.full_name}/{name}", request.SerializeToString, None if raw else reply.FromString))


def class_of(message):
    """The Python class of a message's descriptor."""
    return message._concrete_class  # pylint: disable=protected-access
