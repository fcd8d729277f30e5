# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparing what is known of a packet with what a rule names."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

from pyconntrack.cli.doctor.packet import Known, Packet, Ports
from pyconntrack.config import Address, Network

_PROTOCOLS = {
    "udp": 17,
    "tcp": 6,
    "igmp": 2,
    "vrrp": 112,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "icmp": 1,
    "sctp": 132,
    "esp": 50,
    "ah": 51,
    "gre": 47,
    "udplite": 136,
    "dccp": 33,
    "ospf": 89,
}


def within(known: Network | None, networks: Iterable[Network]) -> Known:
    """Whether an address, of which at least the network is known, is in one of these."""
    if known is None:
        return None
    result: Known = False
    for network in networks:
        if network.version != known.version:
            continue
        if network.supernet_of(known):  # type: ignore[arg-type]
            return True
        if network.overlaps(known):
            result = None
    return result


def between(known: Network | None, first: Address, last: Address) -> Known:
    """Whether it is in a range, both ends included."""
    if first.version != last.version:
        return None
    return within(known, ipaddress.summarize_address_range(first, last))


def in_ports(known: Ports | None, first: int, last: int) -> Known:
    """Whether a port, of which at least a range is known, is in a range, both ends included."""
    if known is None:
        return None
    if first <= known[0] and known[1] <= last:
        return True
    return False if known[1] < first or last < known[0] else None


def is_protocol(packet: Packet, name: str | int) -> Known:
    """By number or by name; None for a name that nobody knows."""
    number = protocol_number(name)
    return None if number is None else number == _PROTOCOLS[packet.protocol]


def protocol_number(name: str | int) -> int | None:
    """Of a layer 4 protocol."""
    if isinstance(name, int):
        return name
    if name.isdigit():
        return int(name)
    if name in _PROTOCOLS:
        return _PROTOCOLS[name]
    try:
        return socket.getprotobyname(name)
    except OSError:
        return None


def is_called(interface: str | None, pattern: str, wildcard: str) -> Known:
    """An interface's name, None where a packet has none, against one that may end with a wildcard."""
    if interface is None:
        return False
    if pattern.endswith(wildcard):
        return interface.startswith(pattern[:-1])
    return interface == pattern


def in_state(packet: Packet, names: Iterable[str]) -> Known:
    """Whether the packet's state is one of these, as ctstate has it."""
    wanted = {name.lower() for name in names}
    if packet.states <= wanted:
        return True
    return None if packet.states & wanted else False


def of_kind(packet: Packet, kind: str) -> Known:
    """Whether the destination is of a kind of addresses: local, unicast, multicast, broadcast."""
    kind = kind.lower()
    if kind == "multicast" or packet.is_multicast:
        return packet.is_multicast == (kind == "multicast")
    if kind == "broadcast":
        return False
    if kind == "local":
        return packet.incoming
    return not packet.incoming if kind == "unicast" else None


def packet_type(packet: Packet, kind: str) -> Known:
    """As the network's layer has it (pkttype): host, multicast, broadcast."""
    if not packet.incoming:
        return None
    if packet.is_multicast:
        return kind == "multicast"
    return kind in ("host", "unicast")
