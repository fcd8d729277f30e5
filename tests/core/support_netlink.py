# SPDX-License-Identifier: GPL-2.0-or-later
"""ctnetlink messages as the kernel writes them: an encoder that shares nothing with the one under test.

Numbers: linux/netfilter/nfnetlink_conntrack.h. Which attributes an event has: ctnetlink_conntrack_event() of
net/netfilter/nf_conntrack_netlink.c.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from tests.core.support_flows import (
    DCCP,
    GROUPS,
    ICMP,
    ICMP_PROTOCOLS,
    PORT_PROTOCOLS,
    SCTP,
    TCP,
    FlowTuple,
    KernelFlow,
)

NESTED = 0x8000
NEW, DELETE = 0x100, 0x102
CREATE_EXCLUSIVE = 0x600
MULTI = 2


def attribute(number: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), number) + value + bytes(-len(value) % 4)


def nest(number: int, *parts: bytes) -> bytes:
    return attribute(number | NESTED, b"".join(parts))


def word(number: int, value: int) -> bytes:
    return attribute(number, struct.pack(">I", value))


def half(number: int, value: int) -> bytes:
    return attribute(number, struct.pack(">H", value))


def octet(number: int, value: int) -> bytes:
    return attribute(number, bytes([value]))


def message(kind: int, flags: int, family: int, payload: bytes) -> bytes:
    body = struct.pack(">BBH", family, 0, 0) + payload
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


def encode_tuple(number: int, value: FlowTuple, zone: int = 0) -> bytes:
    first = 1 if value.ipv4 else 3
    addresses = nest(1, attribute(first, value.source), attribute(first + 1, value.destination))
    parts = [octet(1, value.protocol)]
    if value.protocol in PORT_PROTOCOLS:
        parts += [half(2, value.ports[0]), half(3, value.ports[1])]
    elif value.protocol in ICMP_PROTOCOLS:
        base = 4 if value.protocol == ICMP else 7
        kind, code, number_ = value.icmp
        parts += [half(base, number_), octet(base + 1, kind), octet(base + 2, code)]
    zone_part = [half(3, zone)] if zone else []
    return nest(number, addresses, nest(2, *parts), *zone_part)


def _protocol_info(flow: KernelFlow) -> bytes:
    if flow.original.protocol == TCP and flow.tcp is not None:
        state, original, reply = flow.tcp
        flags = [attribute(4, b"\x0a\x0a"), attribute(5, b"\x0a\x0a")]
        return nest(4, nest(1, octet(1, state), octet(2, original), octet(3, reply), *flags))
    if flow.original.protocol == DCCP and flow.dccp is not None:
        state, role = flow.dccp
        return nest(4, nest(2, octet(1, state), octet(2, role), attribute(3, bytes(8))))
    if flow.original.protocol == SCTP and flow.sctp is not None:
        state, original, reply = flow.sctp
        return nest(4, nest(3, octet(1, state), word(2, original), word(3, reply)))
    return b""


def _group(flow: KernelFlow, group: str) -> bytes:
    if group == "protocol":
        return _protocol_info(flow)
    if group == "helper" and flow.helper:
        return nest(5, attribute(1, flow.helper.encode() + b"\0"))
    if group == "labels" and flow.labels is not None:
        return attribute(22, flow.labels)
    if group == "adjust" and flow.adjust is not None:
        a, b, c, d, e, f = flow.adjust
        return nest(15, word(1, a), word(2, b), word(3, c)) + nest(16, word(1, d), word(2, e), word(3, f))
    if group == "syn_proxy" and flow.syn_proxy is not None:
        isn, its, offset = flow.syn_proxy
        return nest(24, word(1, isn), word(2, its), word(3, offset))
    if group == "master" and flow.master is not None:
        return encode_tuple(14, flow.master)
    return b""


def _identity(flow: KernelFlow) -> bytes:
    tuple_zone = flow.zone if flow.zone_in_tuple else 0
    parts = encode_tuple(1, flow.original, tuple_zone) + encode_tuple(2, flow.reply)
    if flow.zone and not flow.zone_in_tuple:
        parts += half(18, flow.zone)
    return parts + word(12, flow.id) + word(3, flow.status)


def _family(flow: KernelFlow) -> int:
    return 2 if flow.original.ipv4 else 10


def event(flow: KernelFlow, new: bool, groups: Collection[str]) -> bytes:
    """A new or an update event that tells of `groups`; a mark that is set, and a helper, are always told."""
    told = [_group(flow, group) for group in GROUPS if group in groups or group == "helper"]
    mark = word(8, flow.mark) if flow.mark or "mark" in groups else b""
    payload = _identity(flow) + word(7, flow.timeout) + b"".join(told) + mark
    return message(NEW, CREATE_EXCLUSIVE if new else 0, _family(flow), payload)


def destroy(flow: KernelFlow) -> bytes:
    mark = word(8, flow.mark) if flow.mark else b""
    return message(DELETE, 0, _family(flow), _identity(flow) + _protocol_info(flow) + mark)


def dumped(flow: KernelFlow, timeout: int) -> bytes:
    """One flow of a dump: everything that is set, the mark also where it is zero."""
    told = b"".join(_group(flow, group) for group in GROUPS)
    payload = _identity(flow) + word(7, timeout) + told + word(8, flow.mark)
    return message(NEW, MULTI, _family(flow), payload)
