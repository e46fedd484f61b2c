# SPDX-License-Identifier: Apache-2.0
"""A laboratory of three network namespaces: client, gateway, server. README.md says how to use it."""
