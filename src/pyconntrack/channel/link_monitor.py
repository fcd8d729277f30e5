# SPDX-License-Identifier: GPL-2.0-or-later
"""Follows whether network interfaces are there, up and connected, by the kernel's own messages.

See rtnetlink(7), netdevice(7), linux/rtnetlink.h, linux/if_link.h. An interface is known by its name: one
that is made anew under the name has another index.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pyconntrack.channel.channel import LinkStatus
from pyconntrack.core.netlink import attributes, messages

RTMGRP_LINK = 1
RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
IFLA_IFNAME = 3

IFF_UP = 0x1
# Up, and its operational state (RFC 2863) is up or not known, as that of the loopback: it has its carrier.
IFF_RUNNING = 0x40

_NETLINK_HEADER = 16
_HEADERS = 32  # nlmsghdr, ifinfomsg
# A bridge tells of its ports in messages of the same types, and a port that leaves it is not gone.
_FAMILY_OF_LINKS = socket.AF_UNSPEC
_LONGEST = 65536
# Messages that are taken in one go: whoever floods the socket does not hold up the rest.
_MESSAGES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class InterfaceEvent:
    """What one message says of an interface."""

    index: int
    name: str
    flags: int
    removed: bool


@dataclass(frozen=True, slots=True)
class InterfaceChange:
    """An interface that is followed is not as it was."""

    name: str
    status: LinkStatus
    index: int
    """0 where there is none of the name."""


def parse_events(datagram: bytes) -> list[InterfaceEvent]:
    """The events in a datagram of the kernel's, which may hold anything; what is malformed is left out."""
    try:
        found = messages(datagram)
    except ValueError:
        return []
    events = [_parse(kind, message) for kind, _, _, message in found]
    return [event for event in events if event is not None]


def _parse(kind: int, message: bytes) -> InterfaceEvent | None:
    if kind not in (RTM_NEWLINK, RTM_DELLINK) or len(message) < _HEADERS:
        return None
    family, index, flags = struct.unpack_from("=BxxxiI", message, _NETLINK_HEADER)
    if family != _FAMILY_OF_LINKS or index <= 0:
        return None
    try:
        name = attributes(message[_HEADERS:])[IFLA_IFNAME].partition(b"\0")[0]
    except (ValueError, KeyError):
        return None
    return InterfaceEvent(index, os.fsdecode(name), flags, kind == RTM_DELLINK)


def status_of(flags: int) -> LinkStatus:
    """What an interface's flags say of it."""
    if not flags & IFF_UP:
        return LinkStatus.DOWN
    return LinkStatus.RUNNING if flags & IFF_RUNNING else LinkStatus.NO_CARRIER


class Interfaces:
    """What is known of some interfaces. `find` gives the index of a name, 0 where there is none of it."""

    def __init__(self, names: Iterable[str], find: Callable[[str], int]) -> None:
        self.status = dict.fromkeys(names, LinkStatus.DOWN)
        self.index = dict.fromkeys(self.status, 0)
        self._find = find

    def take(self, event: InterfaceEvent) -> list[InterfaceChange]:
        """What changed by an event."""
        changes = []
        for name in self.status:
            if event.removed or not self._is_called(event, name):
                # Gone, or it is called otherwise now.
                if event.index == self.index[name]:
                    changes += self.set(name, LinkStatus.DOWN, 0)
            else:
                changes += self.set(name, status_of(event.flags), event.index)
        return changes

    def set(self, name: str, status: LinkStatus, index: int) -> list[InterfaceChange]:
        """The change, if it is one."""
        if self.status[name] is status and self.index[name] == index:
            return []
        self.status[name] = status
        self.index[name] = index
        return [InterfaceChange(name, status, index)]

    def _is_called(self, event: InterfaceEvent, name: str) -> bool:
        # An alternative name (ip-link(8), altname) is not in the message.
        return event.name == name or (event.index == self.index[name] == self._find(name))


class LinkMonitor:
    """Follows interfaces by name. Raises OSError where the kernel does not let it."""

    def __init__(self, names: Iterable[str]) -> None:
        self._interfaces = Interfaces(names, _index_of)
        self._socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            socket.NETLINK_ROUTE,
        )
        try:
            self._socket.bind((0, RTMGRP_LINK))
            self.look()
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when read() has something to tell."""
        return self._socket.fileno()

    def close(self) -> None:
        """Follow them no more. Harmless a second time."""
        self._socket.close()

    def status(self, name: str) -> LinkStatus:
        """How an interface was when that was last heard."""
        return self._interfaces.status[name]

    def index(self, name: str) -> int:
        """An interface's index, 0 while there is none of the name."""
        return self._interfaces.index[name]

    def read(self) -> list[InterfaceChange]:
        """What changed since the last time, in order."""
        changes: list[InterfaceChange] = []
        for _ in range(_MESSAGES_AT_ONCE):
            try:
                datagram, _, flags, sender = self._socket.recvmsg(_LONGEST)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # Some are lost, and what the others say may be of before.
                changes += self.look()
                continue
            if sender[0] != 0:
                continue  # Any process may send to this socket; the kernel's number is 0.
            if flags & socket.MSG_TRUNC:
                changes += self.look()
                continue
            for event in parse_events(datagram):
                changes += self._interfaces.take(event)
        return changes

    def look(self) -> list[InterfaceChange]:
        """Ask the kernel how they are now."""
        changes: list[InterfaceChange] = []
        for name in self._interfaces.status:
            index = _index_of(name)
            event = _ask(index) if index else None
            if event is None:
                changes += self._interfaces.set(name, LinkStatus.DOWN, 0)
            else:
                changes += self._interfaces.set(name, status_of(event.flags), event.index)
        return changes


def _index_of(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _ask(index: int) -> InterfaceEvent | None:
    """What the kernel says of an interface; None where it is gone."""
    request = struct.pack("=IHHII", _HEADERS, RTM_GETLINK, NLM_F_REQUEST, 1, 0)
    question = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        asking.bind((0, 0))
        asking.send(request + question)
        answer = asking.recv(_LONGEST)
    events = parse_events(answer)
    return events[0] if events and not events[0].removed else None
