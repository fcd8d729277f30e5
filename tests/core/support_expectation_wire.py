# SPDX-License-Identifier: GPL-2.0-or-later
"""Bodies of expectation messages: as a C daemon sent them, and made by hand."""

from __future__ import annotations

import socket
import struct
from typing import Any

from pyconntrack.core.expectation_batch import ExpectationBatch
from tests.core.support_wire import attribute

NEW, UPDATE, DESTROY = 3, 4, 5

Values = dict[str, Any]
"""An expectation as ExpectationBatch.pack takes it."""


def _body(*parts: str) -> bytes:
    """Attributes given as NUMBER:VALUE, in hexadecimal."""
    pairs = [part.split(":") for word in parts for part in word.split()]
    return b"".join(attribute(int(number), bytes.fromhex(value)) for number, value in pairs)


def _tuple(family: int, protocol: int, source: str, destination: str, ports: tuple[int, int]) -> Any:
    packed = (socket.inet_pton(family, source), socket.inet_pton(family, destination))
    return (family, protocol, *packed, *ports, 0, 0, 0)


def tcp4(source: str, destination: str, *ports: int) -> Any:
    return _tuple(socket.AF_INET, 6, source, destination, (ports[0], ports[1]))


def tcp6(source: str, destination: str, *ports: int) -> Any:
    return _tuple(socket.AF_INET6, 6, source, destination, (ports[0], ports[1]))


def udp4(source: str, destination: str, *ports: int) -> Any:
    return _tuple(socket.AF_INET, 17, source, destination, (ports[0], ports[1]))


_MASK4 = ("255.255.255.255", "255.255.255.255")
_MASK6 = ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",) * 2
_PLAIN = {"timeout": 300, "flags": 0, "class_": 0, "helper": "ftp", "event": 0}
_ONES = "ff" * 32

CAPTURED: dict[str, tuple[bytes, Values]] = {
    "passive FTP": (
        _body(
            "0:7f0000017f000001 2:06 3:9c400015 4:7f0000017f000001 6:06 7:0000c350",
            "8:ffffffffffffffff 10:06 11:0000ffff 12:0000012c 13:00000000 14:00000000 19:66747000",
        ),
        {
            "master": tcp4("127.0.0.1", "127.0.0.1", 40000, 21),
            "expected": tcp4("127.0.0.1", "127.0.0.1", 0, 50000),
            "mask": tcp4(*_MASK4, 0, 65535),
            **_PLAIN,
        },
    ),
    "active FTP behind destination NAT": (
        _body(
            "0:7f0000017f000002 2:06 3:9c400015 4:7f0000017f000001 6:06 7:0000c350 8:ffffffffffffffff 10:06",
            "11:0000ffff 12:0000012c 13:00000000 14:00000000 15:0000000000000000 17:06 16:c3500000",
            "18:00000001 19:66747000 20:6e61742d666f6c6c6f772d6d617374657200",
        ),
        {
            "master": tcp4("127.0.0.1", "127.0.0.2", 40000, 21),
            "expected": tcp4("127.0.0.1", "127.0.0.1", 0, 50000),
            "mask": tcp4(*_MASK4, 0, 65535),
            "nat": (1, tcp4("0.0.0.0", "0.0.0.0", 50000, 0)),
            "function": "nat-follow-master",
            **_PLAIN,
        },
    ),
    "passive FTP over IPv6 behind destination NAT, whose address does not travel": (
        _body(
            "1:fd000000000000000000000000000001fd000000000000000000000000000002 2:06 3:9c410015",
            "5:fd000000000000000000000000000001fd000000000000000000000000000002 6:06 7:0000c355",
            f"9:{_ONES} 10:06 11:0000ffff 12:0000012c 13:00000000 14:00000000 17:06 16:c3550000",
            "18:00000000 19:66747000 20:6e61742d666f6c6c6f772d6d617374657200",
        ),
        {
            "master": tcp6("fd00::1", "fd00::2", 40001, 21),
            "expected": tcp6("fd00::1", "fd00::2", 0, 50005),
            "mask": tcp6(*_MASK6, 0, 65535),
            "nat": (0, tcp6("::", "::", 50005, 0)),
            "function": "nat-follow-master",
            **_PLAIN,
        },
    ),
    "registered SIP behind source NAT": (
        _body(
            "0:7f0000017f000001 2:11 3:13c513c4 4:7f0000017f000009 6:11 7:00001770 8:ffffffffffffffff 10:11",
            "11:0000ffff 12:000000b4 13:00000003 14:00000000 15:7f00000100000000 17:11 16:13c50000",
            "18:00000001 19:73697000 20:73697000",
        ),
        {
            "master": udp4("127.0.0.1", "127.0.0.1", 5061, 5060),
            "expected": udp4("127.0.0.1", "127.0.0.9", 0, 6000),
            "mask": udp4(*_MASK4, 0, 65535),
            "timeout": 180,
            "flags": 3,
            "class_": 0,
            "nat": (1, udp4("127.0.0.1", "0.0.0.0", 5061, 0)),
            "helper": "sip",
            "function": "sip",
            "event": 0,
        },
    ),
    "GRE of a PPTP call": (
        _body(
            "0:0a0100010a010002 2:06 3:03e806bb 4:0a0100010a010002 6:2f 7:00110022 8:ffffffffffffffff 10:2f",
            "11:ffffffff 12:0000012c 13:00000000 14:00000000 19:7070747000",
        ),
        {
            "master": tcp4("10.1.0.1", "10.1.0.2", 1000, 1723),
            "expected": _tuple(socket.AF_INET, 47, "10.1.0.1", "10.1.0.2", (17, 34)),
            "mask": _tuple(socket.AF_INET, 47, *_MASK4, (65535, 65535)),
            **_PLAIN,
            "helper": "pptp",
        },
    ),
}
"""What a C daemon sent for expectations that helpers made, and what they were in its kernel."""


def ftp(number: int, **more: Any) -> Values:
    """What the FTP helper expects of the control connection from port 40000 + `number`."""
    return {
        "master": tcp4("10.0.0.1", "10.0.0.2", 40000 + number, 21),
        "expected": tcp4("10.0.0.1", "10.0.0.2", 0, 50000 + number),
        "mask": tcp4(*_MASK4, 0, 65535),
        "id": number,
        **_PLAIN,
        **more,
    }


def ftp_body(number: int, timeout: int = 300) -> bytes:
    """The message about it, after the header."""
    ports = struct.pack(">HH", 40000 + number, 21).hex(), struct.pack(">HH", 0, 50000 + number).hex()
    return _body(
        f"0:0a0000010a000002 2:06 3:{ports[0]} 4:0a0000010a000002 6:06 7:{ports[1]} 8:ffffffffffffffff 10:06",
        f"11:0000ffff 12:{timeout:08x} 13:00000000 14:00000000 19:66747000",
    )


def batch_of(*expectations: Values) -> ExpectationBatch:
    batch = ExpectationBatch()
    for values in expectations:
        batch.pack(values)
    return batch
