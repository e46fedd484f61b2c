# SPDX-License-Identifier: Apache-2.0
"""A laboratory of three network namespaces: client, gateway, server. README.md says how to use it."""
import os

# gRPC would otherwise stop its threads at each fork of a program that is run beside it, and can block there for ever.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
