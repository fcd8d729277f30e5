# SPDX-License-Identifier: GPL-2.0-or-later
"""What a channel must know of its network interface: index, MTU, IPv4 network. See netdevice(7)."""

from __future__ import annotations

import fcntl
import socket
import struct
from ipaddress import IPv4Address, IPv4Network

SIOCGIFADDR = 0x8915
SIOCGIFNETMASK = 0x891B
SIOCGIFMTU = 0x8921
_REQUEST_SIZE = 40


def _ask(request: int, name: str, address: IPv4Address | None = None) -> bytes:
    """One of netdevice(7)'s requests; with `address`, about that one of the interface's addresses."""
    question = struct.pack("16s", name.encode())
    if address is not None:
        question += struct.pack("=HH4s", socket.AF_INET, 0, address.packed)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        return fcntl.ioctl(any_socket, request, question.ljust(_REQUEST_SIZE, b"\0"))


def interface_mtu(name: str) -> int:
    """The interface's MTU in bytes. Raises OSError where there is no such interface."""
    return int(struct.unpack_from("i", _ask(SIOCGIFMTU, name), 16)[0])


def interface_network(name: str, address: IPv4Address | None = None) -> IPv4Network | None:
    """The network of an IPv4 address of the interface, by default of its first; None where it has none."""
    try:
        own = address or IPv4Address(_ask(SIOCGIFADDR, name)[20:24])
        mask = _ask(SIOCGIFNETMASK, name, own)[20:24]
    except OSError:
        return None
    return IPv4Network((own, socket.inet_ntoa(mask)), strict=False)
