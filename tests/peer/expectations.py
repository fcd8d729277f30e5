# SPDX-License-Identifier: GPL-2.0-or-later
"""Expectations of every kind that helpers make, and how kernels and caches that hold them compare."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Collection, Iterable
from typing import Any

from pyconntrack import ExpectationTable, FlowBatch, Protocol, TcpState
from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core.expectation_text import format_expectations
from testbed import Namespace
from tests.peer.flows import ASSURED, Values, batch_of

INACTIVE = 2
GRE = int(Protocol.GRE)
_AGE = re.compile(rb" \[active since \d+s\]$", re.M)
# Each kernel's own, or left to its helper's policy.
_LEFT_OUT = ("event", "id", "timeout")

Kind = Callable[[int], tuple[Values, Values]]
"""Makes the master and the expectation with a number."""


def _address(index: int, ipv6: bool, *, last: bool) -> bytes:
    if ipv6:
        return bytes([0xFD, last, *bytes(10), *index.to_bytes(4)])
    return bytes([10 + last, 0, index >> 8 & 255, index & 255])


def _tuple(index: int, protocol: int, ports: tuple[int, int], ipv6: bool = False) -> Any:
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    ends = (_address(index, ipv6, last=False), _address(index, ipv6, last=True))
    return (int(family), int(protocol), *ends, *ports, 0, 0, 0)


def _mask(
    protocol: int, ports: tuple[int, int] = (0, 65535), *, ipv6: bool = False, any_source: bool = False
) -> Any:
    size = 16 if ipv6 else 4
    source = bytes(size) if any_source else b"\xff" * size
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    return (int(family), int(protocol), source, b"\xff" * size, *ports, 0, 0, 0)


def _master(index: int, protocol: int, port: int, helper: str, **more: Any) -> Values:
    ipv6 = more.pop("ipv6", False)
    flow: Values = {
        "original": _tuple(index, protocol, (1024 + index, port), ipv6),
        "status": ASSURED,
        "timeout": 3000,
        "mark": 0,
        "helper_name": helper,
        **more,
    }
    if protocol == Protocol.TCP:
        flow["tcp_state"] = int(TcpState.ESTABLISHED)
    return flow


def _of(master: Values, expected: Any, mask: Any, **more: Any) -> tuple[Values, Values]:
    expectation = {
        "master": master["original"],
        "expected": expected,
        "mask": mask,
        "flags": 0,
        "class_": 0,
        "helper": master["helper_name"],
        **more,
    }
    return master, expectation


def _ftp(index: int, ipv6: bool = False) -> tuple[Values, Values]:
    expected = _tuple(index, Protocol.TCP, (0, 50000 + index), ipv6)
    master = _master(index, Protocol.TCP, 21, "ftp", ipv6=ipv6)
    return _of(master, expected, _mask(Protocol.TCP, ipv6=ipv6))


def _translated(index: int, ipv6: bool = False) -> tuple[Values, Values]:
    address = _address(index | 1 << 15, ipv6, last=False)
    master = _master(index, Protocol.TCP, 21, "ftp", ipv6=ipv6, source_nat_address=address)
    expected = _tuple(index, Protocol.TCP, (0, 50000 + index), ipv6)
    unspecified = bytes(16 if ipv6 else 4)
    nat = (1, (expected[0], expected[1], unspecified, unspecified, 50000 + index, 0, 0, 0, 0))
    mask = _mask(Protocol.TCP, ipv6=ipv6)
    return _of(master, expected, mask, nat=nat, function="nat-follow-master")


def _sip(index: int) -> tuple[Values, Values]:
    master = _master(index, Protocol.UDP, 5060, "sip")
    expected = _tuple(index, Protocol.UDP, (0, 6000 + index))
    return _of(master, expected, _mask(Protocol.UDP, any_source=True), class_=1, flags=INACTIVE)


def _tftp(index: int) -> tuple[Values, Values]:
    master = _master(index, Protocol.UDP, 69, "tftp")
    return _of(master, _tuple(index, Protocol.UDP, (0, 1024 + index)), _mask(Protocol.UDP))


def _pptp(index: int) -> tuple[Values, Values]:
    master = _master(index, Protocol.TCP, 1723, "pptp")
    return _of(master, _tuple(index, GRE, (index, index + 1)), _mask(GRE, (65535, 65535)))


KINDS: list[Kind] = [
    _ftp,
    lambda index: _ftp(index, ipv6=True),
    _translated,
    lambda index: _translated(index, ipv6=True),
    _sip,
    _tftp,
    _pptp,
]


def varied(count: int, first: int = 1) -> tuple[FlowBatch, ExpectationBatch]:
    """Masters, and one expectation of each, of all kinds by turns."""
    pairs = [KINDS[index % len(KINDS)](index) for index in range(first, first + count)]
    return batch_of(master for master, _ in pairs), packed(values for _, values in pairs)


def packed(expectations: Iterable[Values]) -> ExpectationBatch:
    batch = ExpectationBatch()
    for values in expectations:
        batch.pack(values)
    return batch


def expected_by(namespace: Namespace) -> list[Values]:
    """What a kernel expects, without what is its own."""
    with ExpectationTable(namespace.name) as table:
        batch = table.dump_batch()
    found = [batch.unpack(index) for index in range(len(batch))]
    return [{name: value for name, value in each.items() if name not in _LEFT_OUT} for each in found]


def lines_of(expectations: Collection[Values]) -> list[bytes]:
    """How a cache that holds these is shown."""
    batch = packed(expectations)
    return sorted(format_expectations(batch, 0, len(batch)).splitlines())


def cache_lines(output: str) -> list[bytes]:
    """What `-i expect` or `-e expect` printed, in order, without ages."""
    return sorted(_AGE.sub(b"", output.encode()).splitlines())
