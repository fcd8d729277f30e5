# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces of a namespace: veth pairs, bridges, addresses, announced moves of an address."""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from testbed.namespace import Namespace
from testbed.waiting import wait_until

_ETH_P_ARP = 0x0806  # linux/if_ether.h
_ETH_P_IP = 0x0800
_ARPHRD_ETHER = 1  # linux/if_arp.h
_ARPOP_REQUEST = 1
_BROADCAST = b"\xff" * 6


@dataclass(frozen=True)
class Interface:
    """A network interface by its name in its namespace."""

    namespace: Namespace
    name: str

    def up(self) -> None:
        self.namespace.ip("link", "set", "dev", self.name, "up")

    def down(self) -> None:
        """Set it down; the other end of a veth pair loses its carrier."""
        self.namespace.ip("link", "set", "dev", self.name, "down")

    def in_service(self) -> bool:
        """Whether it is up and has its carrier (RFC 2863, ``operstate``)."""
        listed = json.loads(self.namespace.ip("-json", "link", "show", "dev", self.name))
        return bool(listed[0]["operstate"] == "UP")

    def set_mtu(self, mtu: int) -> None:
        self.namespace.ip("link", "set", "dev", self.name, "mtu", str(mtu))

    def add_address(self, address: str) -> None:
        """Add an address with its prefix length, usable at once. IPv4 or IPv6."""
        without_detection = ["nodad"] if ":" in address else []
        self.namespace.ip("address", "add", address, "dev", self.name, *without_detection)

    def remove_address(self, address: str) -> None:
        self.namespace.ip("address", "del", address, "dev", self.name)

    def hardware_address(self) -> bytes:
        """The 6 bytes of its Ethernet address."""
        with self._packet_socket() as packets:
            return _bound_address(packets)

    def announce(self, address: str, times: int = 3) -> None:
        """Tell the network that the IPv4 ``address`` is here now: a gratuitous ARP, as VRRP sends.

        See RFC 5227, section 3, and RFC 5798, section 6.4.1.
        """
        with self._packet_socket() as packets:
            frame = _gratuitous_arp(_bound_address(packets), ipaddress.IPv4Address(address).packed)
            for _ in range(times):
                packets.send(frame)

    def _packet_socket(self) -> socket.socket:
        with self.namespace.entered():
            packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            try:
                packets.bind((self.name, 0))
            except BaseException:
                packets.close()
                raise
        return packets


def _bound_address(packets: socket.socket) -> bytes:
    return bytes(packets.getsockname()[4])


def _gratuitous_arp(hardware: bytes, address: bytes) -> bytes:
    ethernet = _BROADCAST + hardware + struct.pack("!H", _ETH_P_ARP)
    kinds = struct.pack("!HHBBH", _ARPHRD_ETHER, _ETH_P_IP, len(hardware), len(address), _ARPOP_REQUEST)
    return ethernet + kinds + hardware + address + bytes(len(hardware)) + address


def veth(
    first: Namespace,
    first_name: str,
    second: Namespace,
    second_name: str,
    *,
    first_addresses: Sequence[str] = (),
    second_addresses: Sequence[str] = (),
    mtu: int = 1500,
) -> tuple[Interface, Interface]:
    """Join two namespaces by a veth pair, both ends up and usable. Addresses carry their prefix length."""
    first.ip(
        *["link", "add", "name", first_name, "mtu", str(mtu), "type", "veth"],
        *["peer", "name", second_name, "mtu", str(mtu), "netns", second.name],
    )
    ends = (Interface(first, first_name), Interface(second, second_name))
    for end, addresses in zip(ends, (first_addresses, second_addresses), strict=True):
        for address in addresses:
            end.add_address(address)
        end.up()
    # The kernel brings a link into service a little after its carrier; IPv6 is unreachable until then.
    wait_until(
        lambda: all(end.in_service() for end in ends), 10.0, f"{first_name} and {second_name} in service"
    )
    return ends


def bridge(namespace: Namespace, name: str = "switch") -> Interface:
    """A bridge that forwards at once and to everybody: no spanning tree, no multicast snooping."""
    options = ["stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"]
    namespace.ip("link", "add", "name", name, "type", "bridge", *options)
    made = Interface(namespace, name)
    made.up()
    return made


def plug(switch: Interface, namespace: Namespace, name: str, addresses: Sequence[str] = ()) -> Interface:
    """Connect a namespace to a bridge by a veth pair; returns the namespace's end."""
    port = f"to-{namespace.label}"[:15]
    end, port_end = veth(namespace, name, switch.namespace, port, first_addresses=addresses)
    switch.namespace.ip("link", "set", "dev", port_end.name, "master", switch.name)
    return end
