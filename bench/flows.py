# SPDX-License-Identifier: GPL-2.0-or-later
"""The flows that the benchmarks work with: plain IPv4 TCP, as most of a firewall's table is.

Requests about many flows are copies of one that the codec encoded, with other tuples: what makes the flows
must cost little beside what is measured.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator

import numpy
from numpy.typing import NDArray

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.kernel_codec import encode, prepare_creates

Bytes = NDArray[numpy.uint8]

# linux/netfilter/nf_conntrack_common.h and nf_conntrack_tcp.h
SEEN_REPLY, ASSURED, CONFIRMED = 0x02, 0x04, 0x08
ESTABLISHED = 3

_TCP = 6
# In the template's tuple; no other bytes of a request look like these.
_SOURCE, _DESTINATION = bytes((10, 0xFD, 0xFE, 0xFC)), bytes((192, 0, 2, 0xFB))
_SOURCE_PORT, _DESTINATION_PORT = 0xF9FA, 0xF7F8


def template(command: int, flags: int, *, state: int, status: int, timeout: int) -> bytes:
    """A request about one flow, for `requests`; `timeout` in seconds."""
    batch = FlowBatch(1)
    batch.pack(
        {
            "original": (
                *(socket.AF_INET, _TCP, _SOURCE, _DESTINATION),
                *(_SOURCE_PORT, _DESTINATION_PORT, 0, 0, 0),
            ),
            "status": status,
            "timeout": timeout,
            "tcp_state": state,
        }
    )
    prepare_creates(batch)
    return encode(batch, 0, command, flags, 1)


def requests(model: bytes, numbers: Iterable[int], network: int) -> Bytes:
    """For each number, below 2**22, the request about that flow from 10.`network`.0.0/16: a row of bytes."""
    which = numpy.fromiter(numbers, numpy.uint32)
    made = numpy.tile(numpy.frombuffer(model, numpy.uint8), (len(which), 1))
    hosts = 10 << 24 | network << 16 | which & 0xFFFF
    servers = 192 << 24 | 2 << 8 | 1 + (which >> 16 & 0x3F)
    _replace(made, model, _SOURCE, hosts.astype(">u4"))
    _replace(made, model, _DESTINATION, servers.astype(">u4"))
    _replace(made, model, _SOURCE_PORT.to_bytes(2, "big"), (1024 + which * 7919 % 60_000).astype(">u2"))
    _replace(made, model, _DESTINATION_PORT.to_bytes(2, "big"), numpy.where(which & 1, 443, 80).astype(">u2"))
    return made


def _replace(made: Bytes, model: bytes, old: bytes, values: NDArray[numpy.generic]) -> None:
    """Put each row's value wherever the template has `old`."""
    columns = values.view(numpy.uint8).reshape(len(made), len(old))
    for place in _places(model, old):
        made[:, place : place + len(old)] = columns


def _places(model: bytes, old: bytes) -> Iterator[int]:
    place = model.find(old)
    while place >= 0:
        yield place
        place = model.find(old, place + len(old))
