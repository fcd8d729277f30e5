# SPDX-License-Identifier: GPL-2.0-or-later
"""Expectations as ctnetlink tells them, made by hand, and what libnetfilter_conntrack makes of them."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass, field

from tests.kernel.netlink_bytes import attribute, message, nest

EXPECTATIONS = 2  # NFNL_SUBSYS_CTNETLINK_EXP
NEW, DELETE = 0, 2  # IPCTNL_MSG_EXP_*
MASTER, EXPECTED, MASK, TIMEOUT, ID, HELPER, ZONE, FLAGS, CLASS, NAT, FUNCTION = range(1, 12)
PORTS = {6, 17, 33, 47, 132, 136}
ICMP = {1: (4, 5, 6), 58: (7, 8, 9)}

# Of nfexp_snprintf (libnetfilter_conntrack.h).
C_PLAIN, C_XML = 0, 1
C_TIME = 2
C_EVENTS = {1: 1, 2: 2, 3: 4}


@dataclass(frozen=True)
class WireTuple:
    """A tuple: addresses as packed bytes; `fields` are ports, or the id, type and code of ICMP."""

    source: bytes
    destination: bytes
    protocol: int
    fields: tuple[int, int, int] = (0, 0, 0)

    def attribute(self, kind: int) -> bytes:
        first = 1 if len(self.source) == 4 else 3
        inner = [attribute(1, bytes([self.protocol]))]
        if self.protocol in PORTS:
            inner += [attribute(number, struct.pack(">H", self.fields[number - 2])) for number in (2, 3)]
        elif self.protocol in ICMP:
            numbers = ICMP[self.protocol]
            inner.append(attribute(numbers[0], struct.pack(">H", self.fields[0])))
            inner += [
                attribute(number, bytes([value & 255]))
                for number, value in zip(numbers[1:], self.fields[1:], strict=True)
            ]
        addresses = nest(1, attribute(first, self.source), attribute(first + 1, self.destination))
        return nest(kind, addresses, nest(2, *inner))


@dataclass(frozen=True)
class WireExpectation:
    expected: WireTuple
    mask: WireTuple
    master: WireTuple
    words: dict[int, int] = field(default_factory=dict)
    """32-bit attributes by their number."""
    zone: int | None = None
    helper: bytes | None = None
    function: bytes | None = None
    nat: tuple[int, WireTuple] | None = None

    def message(self, command: int = NEW, flags: int = 0) -> bytes:
        parts = [
            self.master.attribute(MASTER),
            self.expected.attribute(EXPECTED),
            self.mask.attribute(MASK),
            *(attribute(kind, struct.pack(">I", value)) for kind, value in self.words.items()),
        ]
        if self.zone is not None:
            parts.append(attribute(ZONE, struct.pack(">H", self.zone)))
        if self.helper is not None:
            parts.append(attribute(HELPER, self.helper + b"\0"))
        if self.function is not None:
            parts.append(attribute(FUNCTION, self.function + b"\0"))
        if self.nat is not None:
            direction = attribute(1, struct.pack(">I", self.nat[0]))
            parts.append(nest(NAT, direction, self.nat[1].attribute(2)))
        family = 2 if len(self.expected.source) == 4 else 10
        return message(command, *parts, flags=flags, family=family, subsystem=EXPECTATIONS)


class CLibrary:
    """libnetfilter_conntrack, which comes with Debian's conntrack."""

    def __init__(self) -> None:
        """Raises OSError where it is not installed."""
        self._library = ctypes.CDLL("libnetfilter_conntrack.so.3")
        self._library.nfexp_new.restype = ctypes.c_void_p
        self._library.nfexp_destroy.argtypes = [ctypes.c_void_p]
        self._library.nfexp_nlmsg_parse.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self._library.nfexp_snprintf.argtypes = [
            *(ctypes.c_char_p, ctypes.c_uint, ctypes.c_void_p),
            *(ctypes.c_uint, ctypes.c_uint, ctypes.c_uint),
        ]

    def text(self, data: bytes, event: int, form: int, flags: int = 0) -> bytes:
        """The line that it makes of a message."""
        expectation = self._library.nfexp_new()
        try:
            buffer = ctypes.create_string_buffer(data)
            if self._library.nfexp_nlmsg_parse(buffer, expectation) < 0:
                raise ValueError("the library does not take this message")
            out = ctypes.create_string_buffer(8192)
            self._library.nfexp_snprintf(out, 8192, expectation, C_EVENTS.get(event, 0), form, flags)
            return out.value
        finally:
            self._library.nfexp_destroy(expectation)
