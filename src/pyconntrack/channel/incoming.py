# SPDX-License-Identifier: GPL-2.0-or-later
"""The half of a TCP link that receives: this node listens, and the peer connects.

Of the peer there is one connection at a time. It may have given up the older one without this node having
heard of that, so a newer one takes its place, even where the older one ends in the middle of a message; but
what had arrived by the older one is taken first.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from pyconntrack.channel.channel import Traffic
from pyconntrack.channel.sockets import (
    connection_options,
    other_way,
    set_receive_buffer,
    setup_failure,
    socket_address,
    tie,
)
from pyconntrack.config import Link
from pyconntrack.core.stream import StreamReader

# Connections that are taken at once, and that may wait.
_ACCEPTED_AT_ONCE = 16
_BACKLOG = 8
# Receives from a connection whose successor waits; its socket buffer rarely holds more.
_LAST_RECEIVES = 64
# Strangers whose names are told; the others count.
_STRANGERS_TOLD = 20

Tell = Callable[[str, bool], None]
"""Takes a line for the log, and whether it means trouble."""


class Incoming:
    """Listens for the peer, and reads from its connection. Raises ChannelError where it cannot."""

    def __init__(self, link: Link, index: int, events: select.epoll, traffic: Traffic, tell: Tell) -> None:
        self._link = link
        self._index = index
        self._events = events
        self._traffic = traffic
        self._tell = tell
        self.received = 0
        """Bytes, those of messages that are not whole included."""
        self.connections = 0
        """How many the peer has made."""
        self.tied = False
        """Whether only who comes by the link's interface is heard."""
        self.why_not_tied: str | None = None
        self._reader = StreamReader()
        self._connection: socket.socket | None = None
        self._successor_waits = 0
        self._strangers: set[str] = set()
        self._complaint = 0
        self._listener = self._listen()
        events.register(self._listener, select.EPOLLIN)

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def fileno(self) -> int:
        """The listening socket."""
        return self._listener.fileno()

    def connection_fileno(self) -> int:
        """That of the peer's connection; -1 where there is none."""
        return -1 if self._connection is None else self._connection.fileno()

    def close(self) -> None:
        """Hear nothing more. Harmless a second time."""
        self._listener.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._traffic.server_connected = False

    def tie(self, index: int) -> None:
        """Hear only who comes by the interface, whose number this is."""
        self._index = index
        self.why_not_tied = self._tie(self._listener)

    def receive(self) -> bytes:
        """Whole messages that the peer's connection holds; empty where there are none yet."""
        if self._connection is None:
            return b""
        reader, traffic = self._reader, self._traffic
        try:
            messages = reader.receive(self._connection.fileno())
        except OSError as error:
            traffic.receive_errors += 1
            self._lose(os.strerror(error.errno or 0))
            return b""
        self.received += reader.received
        if messages:
            traffic.bytes_received += len(messages)
            traffic.packets_received += 1
        if reader.rubbish:
            traffic.receive_errors += 1
            self._lose("it sent something that is no message")
        elif reader.ended:
            self._lose("closed by the peer" + (" in the middle of a message" if reader.pending else ""))
        return messages

    def accept(self, ran_dry: bool) -> int:
        """Take the connections that wait up to one of the peer. Returns how many were seen to.

        `ran_dry` says that nothing waits in the one that there is; else it is read from for a while yet.
        """
        if self._connection is not None and not ran_dry and self._successor_waits < _LAST_RECEIVES:
            self._successor_waits += 1
            return 1
        for number in range(_ACCEPTED_AT_ONCE):
            try:
                connection, (source, *_) = self._listener.accept()
            except OSError as error:
                self._complain(error.errno or 0)
                return number
            self._complaint = 0
            address = source.partition("%")[0]
            if ip_address(address) == self._link.peer:
                self._take(connection, address)
                return number + 1
            connection.close()
            self._refuse(address)
        return _ACCEPTED_AT_ONCE

    def _take(self, connection: socket.socket, address: str) -> None:
        if self._connection is not None:
            self._lose("the peer has made another one")
        self._successor_waits = 0
        self.connections += 1
        connection.setblocking(False)
        connection_options(connection)
        self._reader.clear()
        self._connection = connection
        self._traffic.server_connected = True
        self._events.register(connection, select.EPOLLIN)
        self._tell(f"{address} is connected to this node", False)

    def _complain(self, failure: int) -> None:
        """A connection waits, and cannot be taken: it is tried again and again, and told once."""
        if failure not in (errno.EAGAIN, errno.ECONNABORTED, self._complaint):
            self._complaint = failure
            self._tell(f"a connection waits and cannot be taken: {os.strerror(failure)}", True)

    def _refuse(self, address: str) -> None:
        self._traffic.strangers += 1
        self._traffic.last_stranger = address
        if address not in self._strangers and len(self._strangers) < _STRANGERS_TOLD:
            self._strangers.add(address)
            self._tell(f"refused a connection of {address}, which is not the peer", True)

    def _lose(self, reason: str) -> None:
        assert self._connection is not None
        self._connection.close()
        self._connection = None
        self._reader.clear()
        self._traffic.server_connected = False
        self._tell(f"the connection of {self._link.peer} is lost: {reason}", True)

    def _listen(self) -> socket.socket:
        link = self._link
        family = socket.AF_INET if link.family == 4 else socket.AF_INET6
        kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if isinstance(link.address, IPv6Address):
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            set_receive_buffer(listener, link.receive_buffer)
            self.why_not_tied = self._tie(listener)
            listener.bind(socket_address(link.address, link.port, self._index))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            raise setup_failure(link, error) from error
        return listener

    def _tie(self, listener: socket.socket) -> str | None:
        self.tied = False
        try:
            reason = other_way(self._link, self._index) or tie(listener, self._link)
        except LookupError:
            return None
        self.tied = reason is None
        return reason
