# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink attributes and messages written in Python, for protocols with few objects: timeouts, helpers.

The reader is that of the core, `pyconntrack.core.netlink.attributes`.
"""

import os
from struct import pack

# linux/netlink.h
NLA_F_NESTED = 0x8000
NLM_F_REQUEST = 0x001


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute with its header, padded to four bytes."""
    return pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def string(kind: int, text: str, limit: int) -> bytes:
    """An attribute that holds a string and its end.

    ValueError where that is longer than `limit` bytes, in the encoding of file names, or has a NUL in it.
    """
    value = os.fsencode(text)
    if len(value) > limit:
        raise ValueError(f"the name {text!r} is longer than {limit} bytes")
    if b"\0" in value:
        raise ValueError(f"the name {text!r} has a NUL in it")
    return attribute(kind, value + b"\0")


def number8(kind: int, value: int) -> bytes:
    """An attribute that holds a number of 8 bits. OverflowError."""
    return attribute(kind, value.to_bytes(1, "big"))


def number16(kind: int, value: int) -> bytes:
    """An attribute that holds a number of 16 bits in network byte order. OverflowError."""
    return attribute(kind, value.to_bytes(2, "big"))


def number32(kind: int, value: int) -> bytes:
    """An attribute that holds a number of 32 bits in network byte order. OverflowError."""
    return attribute(kind, value.to_bytes(4, "big"))


def number(value: bytes) -> int:
    """The number in an attribute, of whatever length, in network byte order."""
    return int.from_bytes(value, "big")


def text(value: bytes) -> str:
    """The string in an attribute."""
    return os.fsdecode(value.partition(b"\0")[0])


def message(subsystem: int, command: int, flags: int, sequence: int, attributes: bytes) -> bytes:
    """A request to a subsystem of nfnetlink, for no family of addresses (linux/netfilter/nfnetlink.h)."""
    length = 20 + len(attributes)
    header = pack("=IHHII", length, subsystem << 8 | command, NLM_F_REQUEST | flags, sequence, 0)
    return header + bytes(4) + attributes
