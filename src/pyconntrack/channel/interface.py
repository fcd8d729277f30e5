# SPDX-License-Identifier: GPL-2.0-or-later
"""What a channel must know of its network interface: index, MTU, IPv4 network. See netdevice(7)."""

from __future__ import annotations

import fcntl
import socket
import struct
from ipaddress import IPv4Network

SIOCGIFADDR = 0x8915
SIOCGIFNETMASK = 0x891B
SIOCGIFMTU = 0x8921
_REQUEST_SIZE = 40


def _ask(request: int, name: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        return fcntl.ioctl(any_socket, request, struct.pack(f"{_REQUEST_SIZE}s", name.encode()))


def interface_mtu(name: str) -> int:
    """The interface's MTU in bytes. Raises OSError where there is no such interface."""
    return int(struct.unpack_from("i", _ask(SIOCGIFMTU, name), 16)[0])


def interface_network(name: str) -> IPv4Network | None:
    """The network of the interface's first IPv4 address, None where it has no address."""
    try:
        address = _ask(SIOCGIFADDR, name)[20:24]
        mask = _ask(SIOCGIFNETMASK, name)[20:24]
    except OSError:
        return None
    return IPv4Network((address, socket.inet_ntoa(mask)), strict=False)
