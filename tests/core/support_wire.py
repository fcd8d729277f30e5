# SPDX-License-Identifier: GPL-2.0-or-later
"""Replication messages, written down once more from their description, and what the caches hold."""

from __future__ import annotations

import struct

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.listing import list_flows
from pyconntrack.core.table import FlowTable
from tests.core.support_flows import GRE, ICMP_PROTOCOLS, PORT_PROTOCOLS, UDPLITE, FlowTuple, KernelFlow

NEW, UPDATE, DESTROY = 0, 1, 2


def attribute(number: int, value: bytes) -> bytes:
    return struct.pack(">HH", 4 + len(value), number) + value + bytes(-len(value) % 4)


def message(kind: int, flags: int, sequence: int, body: bytes = b"") -> bytes:
    return struct.pack(">BBHI", 0x10 | kind, flags, 8 + len(body), sequence & 0xFFFFFFFF) + body


def _ports(number: int, value: FlowTuple) -> bytes:
    if value.protocol not in PORT_PROTOCOLS or (value.protocol in (GRE, UDPLITE) and value.ports == (0, 0)):
        return b""
    return attribute(number, struct.pack(">HH", *value.ports))


def _layer4(flow: KernelFlow, window_scale: bool) -> bytes:
    parts = [attribute(2, bytes([flow.original.protocol]))]
    if flow.original.protocol in ICMP_PROTOCOLS:
        kind, code, number = flow.original.icmp
        parts += [attribute(22, bytes([kind])), attribute(23, bytes([code]))]
        parts += [attribute(24, struct.pack("=H", number))]
    parts.append(_ports(3, flow.original))
    if flow.tcp is not None:
        parts.append(attribute(4, bytes([flow.tcp[0]])))
        if window_scale:
            parts += [attribute(25, bytes([flow.tcp[1]])), attribute(26, bytes([flow.tcp[2]]))]
    if flow.sctp is not None:
        parts += [attribute(17, bytes([flow.sctp[0]]))]
        parts += [attribute(18 + i, struct.pack(">I", flow.sctp[1 + i])) for i in range(2)]
    if flow.dccp is not None:
        parts += [attribute(20, bytes([flow.dccp[0]])), attribute(21, bytes([flow.dccp[1]]))]
    return b"".join(parts)


def _icmp_noise(flow: KernelFlow) -> bool:
    """The C daemon puts the reply's type and code where a translated id goes: the two are alike."""
    kind, code, _ = flow.reply.icmp
    return flow.nat_source_port in (0, kind << 8 | code)


def _translation(flow: KernelFlow) -> bytes:
    parts = []
    numbers = (12, 13) if flow.original.ipv4 else (29, 30)
    for number, address in zip(numbers, (flow.nat_source, flow.nat_destination), strict=True):
        if address is not None:
            parts.append(attribute(number, address))
    ports = [(14, flow.nat_source_port, flow.original.ports[0])]
    if flow.original.protocol in ICMP_PROTOCOLS:
        ports = [(14, None if _icmp_noise(flow) else flow.nat_source_port, flow.original.icmp[2])]
    ports += [(15, flow.nat_destination_port, flow.original.ports[1])]
    for number, port, plain in ports:
        if port is not None and port != plain:
            parts.append(attribute(number, struct.pack("=H", port)))
    return b"".join(parts)


def flow_body(
    flow: KernelFlow, timeout: int | None = None, mark_told: bool = False, window_scale: bool = False
) -> bytes:
    """The canonical body of a flow.

    `timeout` and `mark_told` say what was told of it, which the kernel's state does not.
    """
    addresses = flow.original.source + flow.original.destination
    parts = [
        attribute(0 if flow.original.ipv4 else 1, addresses),
        attribute(5, struct.pack(">I", flow.status)),
    ]
    parts.append(_layer4(flow, window_scale))
    if timeout is not None:
        parts.append(attribute(6, struct.pack(">I", timeout)))
    if flow.mark or mark_told:
        parts.append(attribute(7, struct.pack(">I", flow.mark)))
    if flow.master is not None:
        parts.append(attribute(8 if flow.master.ipv4 else 9, flow.master.source + flow.master.destination))
        parts.append(attribute(10, bytes([flow.master.protocol])) + _ports(11, flow.master))
    parts.append(_translation(flow))
    if flow.adjust is not None:
        parts.append(attribute(16, struct.pack(">6I", *flow.adjust)))
    if flow.helper:
        parts.append(attribute(27, flow.helper.encode() + b"\0"))
    if flow.labels is not None and any(flow.labels):
        parts.append(attribute(28, struct.pack(">4I", *struct.unpack("=4I", flow.labels))))
    if flow.syn_proxy is not None:
        isn, its, offset = flow.syn_proxy
        parts.append(attribute(31, struct.pack(">III", its, isn, offset)))
    if flow.zone:
        parts.append(attribute(32, struct.pack(">H", flow.zone)))
    return b"".join(parts)


def read_table(table: FlowTable) -> FlowBatch:
    """Every living entry of a table."""
    batch = FlowBatch()
    cursor, done = 0, False
    while not done:
        reached = list_flows(table, batch, cursor, 512)
        cursor, done = reached, reached == cursor
    return batch


def records(batch: FlowBatch) -> list[bytes]:
    """The records of a batch, sorted: bodies are canonical, so equal ones are equal bodies."""
    view = memoryview(batch)
    size, data = view.itemsize, bytes(view)
    return sorted(data[i : i + size] for i in range(0, len(data), size))


def cache_of(bodies: list[bytes]) -> ExternalCache:
    """An external cache that holds just these flows."""
    cache = ExternalCache()
    for body in bodies:
        data = message(NEW, 0, 0, body)
        cache.apply_run(data, 0, 0, True, 0, 0)
    assert cache.malformed == 0
    return cache
