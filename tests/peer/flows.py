# SPDX-License-Identifier: GPL-2.0-or-later
"""Flows of every kind that the kernel and the replication protocol carry, many of them."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable
from typing import Any

from pyconntrack import FlowBatch, Protocol, Status, TcpState

Values = dict[str, Any]
"""One flow, as `FlowBatch.pack` takes it."""

ASSURED = Status.SEEN_REPLY | Status.ASSURED | Status.CONFIRMED
UNREPLIED = Status.CONFIRMED
REPLIED = Status.SEEN_REPLY | Status.CONFIRMED

SCTP_ESTABLISHED = 4
ESP, OSPF = 50, 89


def _ipv4(index: int) -> bytes:
    return bytes([10, index >> 16 & 0xFF, index >> 8 & 0xFF, index & 0xFF])


def _ipv6(index: int) -> bytes:
    return b"\xfd\x00" + bytes(10) + index.to_bytes(4)


def _flow(
    index: int,
    protocol: int,
    *,
    ipv6: bool = False,
    ports: tuple[int, int] = (0, 0),
    icmp_type: int = 0,
    **more: Any,
) -> Values:
    """The addresses tell flows apart, so that a flow whose ports do not travel keeps its name."""
    source = _ipv6(index) if ipv6 else _ipv4(index)
    destination = bytes([0xFD, 1, *bytes(13), 2]) if ipv6 else bytes([172, 16, 0, 2])
    family = int(socket.AF_INET6 if ipv6 else socket.AF_INET)
    icmp_id = index & 0xFFFF if icmp_type else 0
    original = (family, protocol, source, destination, *ports, icmp_id, icmp_type, 0)
    return {"original": original, "status": UNREPLIED, "timeout": 3000 + index % 500, "mark": 0, **more}


def _tcp(index: int, state: TcpState = TcpState.ESTABLISHED, **more: Any) -> Values:
    ports = (1024 + index % 60000, 80)
    return _flow(index, Protocol.TCP, ports=ports, **{"tcp_state": state, "status": ASSURED, **more})


def _udp(index: int, **more: Any) -> Values:
    return _flow(index, Protocol.UDP, ports=(1024 + index % 60000, 53), **more)


def _labels(index: int) -> bytes:
    return (1 << index % 128 | 1 << (index * 7) % 128).to_bytes(16, "little")


def _address(ipv6: bool, last: int) -> bytes:
    return bytes([0xFD, 2, *bytes(13), last]) if ipv6 else bytes([192, 0, 2, last])


def _source_nat(index: int, ipv6: bool = False) -> Values:
    # Each translated source is a tuple of its own in the reply direction.
    address = b"\xfd\x03" + bytes(10) + index.to_bytes(4) if ipv6 else bytes([100, *_ipv4(index)[1:]])
    return {"source_nat_address": address}


def _destination_nat(ipv6: bool = False) -> Values:
    return {"destination_nat_address": _address(ipv6, 7)}


PLAIN_KINDS: list[Callable[[int], Values]] = [
    _tcp,
    lambda i: _tcp(i, mark=i | 1),
    lambda i: _tcp(i, zone=1 + i % 1000),
    lambda i: _tcp(i, labels=_labels(i)),
    lambda i: _tcp(i, TcpState.SYN_SENT, status=UNREPLIED),
    lambda i: _tcp(i, TcpState.SYN_RECV, status=REPLIED),
    lambda i: _tcp(i, TcpState(TcpState.FIN_WAIT + i % 5)),
    lambda i: _tcp(i, ipv6=True, mark=i),
    lambda i: _udp(i),
    lambda i: _udp(i, status=ASSURED, mark=0xFFFFFFFF, zone=65535),
    lambda i: _udp(i, ipv6=True, status=REPLIED, labels=_labels(i)),
    lambda i: _flow(i, Protocol.ICMP, icmp_type=8),
    lambda i: _flow(i, Protocol.ICMPV6, ipv6=True, icmp_type=128),
    lambda i: _flow(
        i,
        Protocol.SCTP,
        ports=(4000, 1 + i % 60000),
        status=ASSURED,
        sctp_state=SCTP_ESTABLISHED,
        sctp_vtag_original=i,
        sctp_vtag_reply=0xFFFFFFFF - i,
    ),
    lambda i: _flow(i, Protocol.GRE, ports=(i & 0xFFFF, i + 1 & 0xFFFF)),
    lambda i: _flow(i, Protocol.UDPLITE, ports=(3000, 53)),
    lambda i: _flow(i, ESP, mark=i),
    lambda i: _flow(i, OSPF, ipv6=True),
]

NAT_KINDS: list[Callable[[int], Values]] = [
    lambda i: _tcp(i, **_source_nat(i)),
    lambda i: _tcp(i, **_source_nat(i), source_nat_port=1 + i % 60000),
    lambda i: _tcp(i, **_destination_nat()),
    lambda i: _tcp(i, **_destination_nat(), destination_nat_port=8080),
    lambda i: _tcp(i, destination_nat_port=8081),
    lambda i: _tcp(i, **_source_nat(i), **_destination_nat(), destination_nat_port=8080, mark=7),
    lambda i: _udp(i, **_source_nat(i), source_nat_port=2 + i % 60000, status=REPLIED),
    lambda i: _udp(i, **_destination_nat(), zone=5),
    lambda i: _tcp(i, ipv6=True, **_source_nat(i, ipv6=True)),
    lambda i: _tcp(i, ipv6=True, **_destination_nat(ipv6=True), destination_nat_port=8443),
    lambda i: _udp(i, ipv6=True, **_source_nat(i, ipv6=True), **_destination_nat(ipv6=True)),
    lambda i: _flow(i, Protocol.ICMP, icmp_type=8, **_source_nat(i)),
]

RARE_KINDS: list[Callable[[int], Values]] = [
    lambda i: _flow(
        i, Protocol.TCP, ports=(1024 + i % 60000, 21), status=ASSURED, tcp_state=3, helper_name="ftp"
    ),
    lambda i: _tcp(i, sequence_adjust_original=(i, 1, 2), sequence_adjust_reply=(i + 5, 3, 0xFFFFFFF0)),
    lambda i: _tcp(i, syn_proxy=(i, 2 * i, 3)),
]

KINDS = [*PLAIN_KINDS, *NAT_KINDS, *RARE_KINDS]


def varied_flows(count: int, first: int = 1) -> FlowBatch:
    """`count` flows of all kinds by turns, with addresses from number `first` on."""
    return batch_of(KINDS[index % len(KINDS)](index) for index in range(first, first + count))


def plain_tcp_flows(count: int, first: int = 1) -> FlowBatch:
    """Established TCP flows, all alike but for their addresses and ports."""
    return batch_of(_tcp(index) for index in range(first, first + count))


def batch_of(flows: Iterable[Values]) -> FlowBatch:
    batch = FlowBatch()
    for values in flows:
        batch.pack(values)
    return batch


def name_of(batch: FlowBatch, index: int) -> Values:
    """What names the flow at `index` of a dump: its original tuple and zone."""
    flow = batch.unpack(index)
    return {name: flow[name] for name in ("original", "zone") if name in flow}


def changed(batch: FlowBatch, index: int, dice: random.Random) -> Values:
    """A change that the kernel takes for the flow at `index` of a dump: timeout, mark, state or labels."""
    flow = batch.unpack(index)
    change: Values = {**name_of(batch, index), "timeout": 4000 + dice.randrange(500)}
    if dice.random() < 0.5:
        change["mark"] = dice.randrange(1, 1 << 32)
    if "tcp_state" in flow and dice.random() < 0.5:
        change["tcp_state"] = dice.choice([TcpState.ESTABLISHED, TcpState.FIN_WAIT, TcpState.TIME_WAIT])
    if "labels" in flow:
        change["labels"] = _labels(dice.randrange(1 << 16))
    return change
