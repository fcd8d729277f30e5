# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a host is there, without a word to its conntrackd: empty datagrams to its discard port (RFC 863).

A host on which nobody listens there answers by ICMP, which connect()ed sockets report. To send
at all, the kernel has to find its hardware address. Both ends of a link may be in use meanwhile.
"""

from __future__ import annotations

import enum
import errno
import select
import socket
import time

from pyconntrack.channel.sockets import socket_address
from pyconntrack.cli.doctor.addresses import neighbour_state
from pyconntrack.config import Link

_DISCARD = 9
_PATIENCE = 3.5
"""Seconds; the kernel asks three times for a hardware address, once a second."""
_TRIES = 2
_LARGE_PATIENCE = 1.0

# linux/in.h, linux/in6.h
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _DO = 10, 23, 2


class Presence(enum.Enum):
    """What is known of a host."""

    ANSWERS = "answers by ICMP"
    RESOLVED = "has told its hardware address"
    SILENT = "does not answer"
    UNKNOWN = "cannot be asked"


def presence(link: Link) -> Presence:
    """Ask for the peer of a link of one peer. Takes some seconds where it is not there."""
    assert link.peer is not None
    try:
        with _open(link) as asked:
            index = socket.if_nametoindex(link.interface)
            deadline = time.monotonic() + _PATIENCE
            _send(asked, b"")
            while time.monotonic() < deadline:
                answer = _answer(asked, 0.1)
                if answer == errno.ECONNREFUSED:
                    return Presence.ANSWERS
                state = neighbour_state(link.peer, index)
                if answer == errno.EHOSTUNREACH or state == "FAILED":
                    return Presence.SILENT
                if state in ("REACHABLE", "PERMANENT") and deadline - time.monotonic() < _PATIENCE - 1.0:
                    return Presence.RESOLVED
            return Presence.UNKNOWN if neighbour_state(link.peer, index) in ("", "NOARP") else Presence.SILENT
    except OSError:
        return Presence.UNKNOWN


def takes_whole_packets(link: Link, mtu: int) -> bool:
    """Whether a host that answered does so to packets of the link's whole MTU, too."""
    headers = 28 if link.family == 4 else 48
    for _ in range(_TRIES):
        try:
            with _open(link) as asked:
                if link.family == 4:
                    asked.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _DO)
                else:
                    asked.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _DO)
                _send(asked, bytes(mtu - headers))
                if _answer(asked, _LARGE_PATIENCE) == errno.ECONNREFUSED:
                    return True
        except OSError:
            continue
    return False


def _open(link: Link) -> socket.socket:
    assert link.peer is not None
    index = socket.if_nametoindex(link.interface)
    family = socket.AF_INET if link.family == 4 else socket.AF_INET6
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        opened.bind(socket_address(link.address, 0, index))
        opened.connect(socket_address(link.peer, _DISCARD, index))
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


def _send(asked: socket.socket, datagram: bytes) -> None:
    asked.send(datagram)


def _answer(asked: socket.socket, seconds: float) -> int:
    """The error that came back, 0 for none within so long."""
    waiting = select.poll()
    waiting.register(asked, select.POLLIN | select.POLLERR)
    waiting.poll(seconds * 1000)
    return asked.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
