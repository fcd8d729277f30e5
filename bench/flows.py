# SPDX-License-Identifier: GPL-2.0-or-later
"""The flows that the benchmarks work with: plain IPv4 TCP, as most of a firewall's table is."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.kernel_codec import prepare_creates

# linux/netfilter/nf_conntrack_common.h and nf_conntrack_tcp.h
SEEN_REPLY, ASSURED, CONFIRMED = 0x02, 0x04, 0x08
ESTABLISHED = 3

_TCP = 6
_LONG = 100_000
_BATCH = 4096


def add_flow(batch: FlowBatch, number: int, network: int, *, state: int, status: int, timeout: int) -> None:
    """Append the flow `number` (below 2**22) from 10.`network`.0.0/16; `timeout` in seconds."""
    source = bytes((10, network, number >> 8 & 0xFF, number & 0xFF))
    destination = bytes((192, 0, 2, 1 + (number >> 16 & 0x3F)))
    ports = (1024 + (number * 7919) % 60_000, 443 if number & 1 else 80)
    batch.pack(
        {
            "original": (socket.AF_INET, _TCP, source, destination, *ports, 0, 0, 0),
            "status": status,
            "timeout": timeout,
            "tcp_state": state,
        }
    )


def established(count: int) -> Iterator[FlowBatch]:
    """`count` established connections, ready to be created, some thousands to a batch."""
    for first in range(0, count, _BATCH):
        batch = FlowBatch(_BATCH)
        for number in range(first, min(count, first + _BATCH)):
            add_flow(
                batch,
                number,
                1,
                state=ESTABLISHED,
                status=SEEN_REPLY | ASSURED | CONFIRMED,
                timeout=_LONG,
            )
        prepare_creates(batch)
        yield batch
