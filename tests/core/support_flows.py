# SPDX-License-Identifier: GPL-2.0-or-later
"""Flows as a kernel would track them, made up at random, for tests of codecs, caches and replication."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

ICMP, TCP, UDP, DCCP, GRE, ESP, ICMPV6, SCTP, UDPLITE = 1, 6, 17, 33, 47, 50, 58, 132, 136
PORT_PROTOCOLS = frozenset({TCP, UDP, DCCP, GRE, SCTP, UDPLITE})
ICMP_PROTOCOLS = frozenset({ICMP, ICMPV6})

# linux/netfilter/nf_conntrack_common.h: enum ip_conntrack_status
EXPECTED, SEEN_REPLY, ASSURED, CONFIRMED = 1, 2, 4, 8
SOURCE_NAT, DESTINATION_NAT, SOURCE_NAT_DONE, DESTINATION_NAT_DONE = 16, 32, 128, 256

# The attributes that an update event leaves out unless they changed; the rest is in every event.
GROUPS = ("mark", "protocol", "helper", "labels", "adjust", "syn_proxy", "master")

_ICMP_ANSWERS = {
    ICMP: {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17},
    ICMPV6: {128: 129, 129: 128, 139: 140, 140: 139},
}


@dataclass(frozen=True, slots=True)
class FlowTuple:
    """One direction. `ports` are source and destination; `icmp` is type, code and id."""

    source: bytes
    destination: bytes
    protocol: int
    ports: tuple[int, int] = (0, 0)
    icmp: tuple[int, int, int] = (0, 0, 0)

    @property
    def ipv4(self) -> bool:
        return len(self.source) == 4

    def inverse(self) -> FlowTuple:
        kind, code, number = self.icmp
        answers = _ICMP_ANSWERS.get(self.protocol, {})
        return FlowTuple(
            self.destination,
            self.source,
            self.protocol,
            (self.ports[1], self.ports[0]),
            (answers.get(kind, kind), code, number),
        )


@dataclass(slots=True)
class KernelFlow:
    """A flow with everything that ctnetlink tells of it and the wire carries.

    None and 0 stand for what is not set.
    """

    original: FlowTuple
    id: int
    zone: int = 0
    zone_in_tuple: bool = False
    status: int = CONFIRMED
    timeout: int = 30
    mark: int = 0
    nat_source: bytes | None = None
    nat_source_port: int | None = None
    nat_destination: bytes | None = None
    nat_destination_port: int | None = None
    tcp: tuple[int, int, int] | None = None
    sctp: tuple[int, int, int] | None = None
    dccp: tuple[int, int] | None = None
    helper: str = ""
    labels: bytes | None = None
    adjust: tuple[int, int, int, int, int, int] | None = None
    syn_proxy: tuple[int, int, int] | None = None
    master: FlowTuple | None = None
    told_timeouts: set[int] = field(default_factory=set)
    timeout_set: float = 0.0

    @property
    def key(self) -> tuple[FlowTuple, int]:
        return self.original, self.zone

    @property
    def reply(self) -> FlowTuple:
        plain = self.original.inverse()
        kind, code, number = plain.icmp
        if self.original.protocol in ICMP_PROTOCOLS and self.nat_source_port is not None:
            number = self.nat_source_port
        return FlowTuple(
            self.nat_destination or plain.source,
            self.nat_source or plain.destination,
            plain.protocol,
            (
                plain.ports[0] if self.nat_destination_port is None else self.nat_destination_port,
                plain.ports[1]
                if self.nat_source_port is None or plain.protocol in ICMP_PROTOCOLS
                else self.nat_source_port,
            ),
            (kind, code, number),
        )


def random_address(random: Random, ipv4: bool, hosts: int) -> bytes:
    if ipv4:
        return bytes([10, random.randrange(2), 0, 1 + random.randrange(hosts)])
    return bytes.fromhex("20010db8") + bytes(11) + bytes([1 + random.randrange(hosts)])


def random_tuple(random: Random, hosts: int = 3, protocols: tuple[int, ...] = ()) -> FlowTuple:
    ipv4 = random.random() < 0.7
    protocol = random.choice(
        protocols or (TCP, TCP, TCP, UDP, UDP, ICMP if ipv4 else ICMPV6, SCTP, DCCP, GRE, UDPLITE, ESP)
    )
    ports, icmp = (0, 0), (0, 0, 0)
    if protocol in ICMP_PROTOCOLS:
        kind = random.choice((8, 8, 13, 0) if protocol == ICMP else (128, 128, 129, 139))
        icmp = (kind, 0, random.choice((0, 1, 7, 0x8100, 0xFFFF)))
    elif protocol in PORT_PROTOCOLS:
        ports = (random.choice((0, 1024, 40000 + random.randrange(4))), random.choice((0, 53, 80)))
    return FlowTuple(
        random_address(random, ipv4, hosts), random_address(random, ipv4, hosts), protocol, ports, icmp
    )


def random_flow(random: Random, number: int, original: FlowTuple | None = None, zone: int = 0) -> KernelFlow:
    """A new flow with the id `number`; about half of them plain, the others with one thing or the other."""
    flow = KernelFlow(original or random_tuple(random), number, zone)
    flow.zone_in_tuple = zone != 0 and random.random() < 0.3
    flow.timeout = random.choice((0, 30, 120, 432000))
    flow.status |= random.choice((0, SEEN_REPLY, SEEN_REPLY | ASSURED))
    if random.random() < 0.4:
        _translate(random, flow)
    _set_protocol_state(random, flow)
    for group in GROUPS:
        if group != "protocol" and random.random() < 0.15:
            change(random, flow, group)
    if flow.master is not None:
        flow.status |= EXPECTED
    return flow


def _translate(random: Random, flow: KernelFlow) -> None:
    flow.status |= SOURCE_NAT_DONE | DESTINATION_NAT_DONE
    ipv4 = flow.original.ipv4
    has_ports = flow.original.protocol in PORT_PROTOCOLS | ICMP_PROTOCOLS
    # Address ranges that no original tuple uses, so that what is named is a translation.
    if random.random() < 0.5:
        flow.status |= SOURCE_NAT
        flow.nat_source = bytes([192, 0, 2, 1]) if ipv4 else bytes.fromhex("20010db8ffff") + bytes(10)
        if has_ports and random.random() < 0.5:
            flow.nat_source_port = random.choice((2000, 0x8100, 0x0100))
            if flow.nat_source_port == flow.original.icmp[2]:
                flow.nat_source_port = None
    if random.random() < 0.5:
        flow.status |= DESTINATION_NAT
        flow.nat_destination = bytes([198, 51, 100, 1]) if ipv4 else bytes.fromhex("20010db8eeee") + bytes(10)
        if flow.original.protocol in PORT_PROTOCOLS and random.random() < 0.5:
            flow.nat_destination_port = 8080


def _set_protocol_state(random: Random, flow: KernelFlow) -> None:
    protocol = flow.original.protocol
    if protocol == TCP:
        scales = flow.tcp[1:] if flow.tcp else (random.randrange(15), random.randrange(15))
        flow.tcp = (random.randrange(1, 9), scales[0], scales[1])
    elif protocol == SCTP:
        flow.sctp = (random.randrange(1, 8), random.getrandbits(32), random.getrandbits(32))
    elif protocol == DCCP:
        flow.dccp = (random.randrange(1, 8), random.randrange(2))


def change(random: Random, flow: KernelFlow, group: str) -> None:
    """Change what belongs to one of GROUPS."""
    if group == "mark":
        flow.mark = random.choice((0, 1, random.getrandbits(32)))
    elif group == "protocol":
        _set_protocol_state(random, flow)
    elif group == "helper":
        flow.helper = random.choice(("ftp", "sip", "fifteen-letters"))
    elif group == "labels":
        flow.labels = random.choice((bytes(16), random.randbytes(16), bytes(12) + b"\0\1\0\0"))
    elif group == "adjust":
        a, b, c, d, e, f = (random.getrandbits(32) for _ in range(6))
        flow.adjust = (a, b, c, d, e, f)
    elif group == "syn_proxy":
        flow.syn_proxy = (random.getrandbits(32), random.getrandbits(32), random.getrandbits(32))
    elif flow.master is None:
        # A master once set stays; the wire takes one of either family.
        flow.master = random_tuple(random, protocols=(TCP, UDP, UDPLITE))
