# SPDX-License-Identifier: GPL-2.0-or-later
"""What a channel must know of its network interface: MTU, IPv4 network, whether the peer is behind it.

See netdevice(7), rtnetlink(7).
"""

from __future__ import annotations

import fcntl
import socket
import struct
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from pyconntrack.core.netlink import attributes, messages

SIOCGIFADDR = 0x8915
SIOCGIFNETMASK = 0x891B
SIOCGIFMTU = 0x8921
_REQUEST_SIZE = 40

# linux/rtnetlink.h
RTM_NEWROUTE = 24
RTM_GETROUTE = 26
RTA_DST = 1
RTA_SRC = 2
RTA_OIF = 4
NLM_F_REQUEST = 1
_ROUTE_HEADERS = 28  # nlmsghdr, rtmsg


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


def route_interface(peer: IPv4Address | IPv6Address, own: IPv4Address | IPv6Address) -> int | None:
    """Index of the interface by which datagrams from `own` leave for `peer`; None where there is no way."""
    ends = [(RTA_DST, peer)] if own.is_unspecified else [(RTA_DST, peer), (RTA_SRC, own)]
    body = b"".join(
        struct.pack("=HH", 4 + len(address.packed), kind) + address.packed for kind, address in ends
    )
    family, bits = (socket.AF_INET, 32) if peer.version == 4 else (socket.AF_INET6, 128)
    route = struct.pack("=8BI", family, bits, 0 if own.is_unspecified else bits, 0, 0, 0, 0, 0, 0)
    request = struct.pack("=IHHII", _ROUTE_HEADERS + len(body), RTM_GETROUTE, NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as routes:
        routes.send(request + route + body)
        answer = routes.recv(8192)
    for kind, _, _, message in messages(answer):
        if kind == RTM_NEWROUTE:
            index = attributes(message[_ROUTE_HEADERS:]).get(RTA_OIF)
            return None if index is None else int(struct.unpack("=I", index)[0])
    return None
