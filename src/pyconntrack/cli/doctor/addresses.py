# SPDX-License-Identifier: GPL-2.0-or-later
"""The addresses of this machine and its neighbours, asked of the kernel: see rtnetlink(7)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from pyconntrack.config import Address
from pyconntrack.core.netlink import attributes, messages

# linux/rtnetlink.h, linux/if_addr.h, linux/neighbour.h
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30
_NLM_F_REQUEST, _NLM_F_DUMP = 0x001, 0x300
_NLMSG_DONE = 3
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NDA_DST = 1
_NETLINK_HEADER, _ADDRESS_HEADER, _NEIGHBOUR_HEADER = 16, 8, 12

_NEIGHBOUR_STATES = {
    0x01: "INCOMPLETE",
    0x02: "REACHABLE",
    0x04: "STALE",
    0x08: "DELAY",
    0x10: "PROBE",
    0x20: "FAILED",
    0x40: "NOARP",
    0x80: "PERMANENT",
}


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """One address of one interface."""

    address: Address
    prefix: int
    index: int


def local_addresses() -> list[LocalAddress]:
    """All addresses of this network namespace. Raises OSError."""
    found = []
    for message in _dump(_RTM_GETADDR, _RTM_NEWADDR, _ADDRESS_HEADER):
        _, prefix, _, _, index = struct.unpack_from("=BBBBI", message, _NETLINK_HEADER)
        of = attributes(message[_NETLINK_HEADER + _ADDRESS_HEADER :])
        packed = of.get(_IFA_LOCAL, of.get(_IFA_ADDRESS))
        if packed is not None:
            found.append(LocalAddress(ip_address(packed), prefix, index))
    return found


def neighbour_state(address: Address, index: int) -> str:
    """The state of a neighbour as ip-neighbour(8) shows it; empty where the kernel knows none of the address.

    Raises OSError.
    """
    for message in _dump(_RTM_GETNEIGH, _RTM_NEWNEIGH, _NEIGHBOUR_HEADER):
        _, at, state = struct.unpack_from("=BxxxiH", message, _NETLINK_HEADER)
        packed = attributes(message[_NETLINK_HEADER + _NEIGHBOUR_HEADER :]).get(_NDA_DST)
        if at == index and packed == address.packed:
            return _NEIGHBOUR_STATES.get(state, "")
    return ""


def _dump(request: int, answer: int, header: int) -> Iterator[bytes]:
    question = struct.pack(
        "=IHHII", _NETLINK_HEADER + header, request, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0
    ) + bytes(header)
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    ) as asked:
        asked.settimeout(5.0)
        asked.send(question)
        while True:
            for kind, _, _, message in messages(asked.recv(1 << 16)):
                if kind == answer:
                    yield message
                elif kind <= _NLMSG_DONE:
                    return
