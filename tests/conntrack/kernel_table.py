# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's tables by netlink alone, with nothing of either tool: what both are held against.

Numbers: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

from testbed import Namespace
from tests.kernel.netlink_bytes import NESTED, message

NETLINK_NETFILTER = 12
CONNTRACK, EXPECT = 1, 2
NEW, GET, DELETE = 0, 1, 2
REQUEST, ACKNOWLEDGE, DUMP, CREATE_EXCLUSIVE = 0x1, 0x4, 0x300, 0x600
ERROR, DONE = 2, 3

_CONNTRACK_NAMES = """
    - original reply status protocol-info help nat-source timeout mark counters counters-reply use id
    nat-destination master adjust adjust-reply secmark zone security time mark-mask labels label-mask
    synproxy filter status-mask event-time
"""
_EXPECT_NAMES = "- master tuple mask timeout id help zone flags class nat function"
NAMES = {CONNTRACK: _CONNTRACK_NAMES.split(), EXPECT: _EXPECT_NAMES.split()}
# What is each table's own, and what passes with time.
OWN = {"id", "use", "time"}


class KernelTable:
    """A socket to the connection tracking of a namespace. Not for use by two threads at once."""

    def __init__(self, namespace: Namespace) -> None:
        with namespace.entered():
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.settimeout(30)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind((0, 0))

    def close(self) -> None:
        self._socket.close()

    def flush(self) -> None:
        """Empty both tables."""
        for subsystem in (EXPECT, CONNTRACK):
            self.request(message(DELETE, flags=REQUEST | ACKNOWLEDGE, family=0, subsystem=subsystem))

    def create(self, *attributes: bytes, family: int = socket.AF_INET, subsystem: int = CONNTRACK) -> None:
        """Make an entry. Raises OSError with the kernel's reason."""
        flags = REQUEST | ACKNOWLEDGE | CREATE_EXCLUSIVE
        self.request(message(NEW, *attributes, flags=flags, family=family, subsystem=subsystem))

    def request(self, request: bytes) -> None:
        """Send a request and wait for its answer. Raises OSError with the kernel's reason."""
        self._socket.send(request)
        for kind, body in self._receive():
            if kind == ERROR:
                code = -struct.unpack_from("=i", body)[0]
                if code:
                    raise OSError(code, os.strerror(code))
                return
        raise OSError(errno.ENODATA, "no answer")

    def flows(self, *, own: bool = False) -> list[str]:
        """The flows, sorted, an attribute a word; with ids and reference counts only if `own`."""
        return sorted(self._dump(CONNTRACK, own))

    def expectations(self) -> list[str]:
        """The expectations, sorted, an attribute a word."""
        return sorted(self._dump(EXPECT, False))

    def state(self, *, own: bool = False) -> list[str]:
        """Both tables."""
        return self.flows(own=own) + self.expectations()

    def _dump(self, subsystem: int, own: bool) -> Iterator[str]:
        self._socket.send(message(GET, flags=REQUEST | DUMP, family=0, subsystem=subsystem))
        while True:
            for kind, body in self._receive():
                if kind == DONE:
                    return
                if kind == ERROR:
                    raise OSError(-struct.unpack_from("=i", body)[0], "the table cannot be read")
                yield f"family={body[0]} " + " ".join(_words(body[4:], subsystem, own))

    def _receive(self) -> Iterator[tuple[int, bytes]]:
        data = self._socket.recv(1 << 18)
        while data:
            length, kind = struct.unpack_from("=IH", data)
            yield kind, data[16:length]
            data = data[length + 3 & ~3 :]


def rounded(seconds: int) -> int:
    """A timeout some seconds after it was set to a multiple of a hundred, or of a thousand if it is more."""
    step = 100 if seconds <= 1000 else 1000
    return -(-seconds // step) * step


def _words(data: bytes, subsystem: int, own: bool) -> Iterator[str]:
    for kind, value in _attributes(data):
        name = NAMES[subsystem][kind & ~NESTED]
        if name in OWN and not (own and name == "id"):
            continue
        if name == "timeout":
            yield f"timeout={rounded(int.from_bytes(value))}"
        else:
            yield f"{name}{_shown(kind, value)}"


def _shown(kind: int, value: bytes) -> str:
    if not kind & NESTED:
        return f"={value.hex()}"
    inner = (f"{number & ~NESTED}{_shown(number, part)}" for number, part in _attributes(value))
    return f"({' '.join(inner)})"


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        length, kind = struct.unpack_from("=HH", data)
        yield kind, data[4:length]
        data = data[length + 3 & ~3 :]
