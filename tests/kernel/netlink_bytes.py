# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink messages made by hand, with nothing of the package: what the codec is held against."""

from __future__ import annotations

import struct

NESTED = 0x8000


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def nest(kind: int, *inner: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(inner))


def message(command: int, *inner: bytes, flags: int = 0, family: int = 2, subsystem: int = 1) -> bytes:
    body = struct.pack(">BBH", family, 0, 0) + b"".join(inner)
    return struct.pack("=IHHII", 16 + len(body), subsystem << 8 | command, flags, 0, 0) + body


def ipv4_tuple(kind: int = 1) -> bytes:
    """10.0.0.1:1000 to 10.0.0.2:80, TCP."""
    addresses = nest(1, attribute(1, bytes([10, 0, 0, 1])), attribute(2, bytes([10, 0, 0, 2])))
    protocol = nest(2, attribute(1, b"\x06"), attribute(2, b"\x03\xe8"), attribute(3, b"\0\x50"))
    return nest(kind, addresses, protocol)
