# SPDX-License-Identifier: GPL-2.0-or-later
"""The half of a TCP link that sends: this node connects to the peer, again and again until that succeeds.

A message goes out whole or, where its connection ends, not at all: what a socket does not take of a datagram
is kept, and comes before all others; the next connection begins with the next datagram. While there is no
connection, datagrams are lost, as on a link whose other end is not there.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time

from pyconntrack.channel.channel import Traffic
from pyconntrack.channel.incoming import Tell
from pyconntrack.channel.sockets import connection_options, set_send_buffer, socket_address
from pyconntrack.channel.timer import Timer
from pyconntrack.config import Link
from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.stream import send_stream

# Seconds to the next attempt, twice as many each time.
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 4.0
# Seconds after which an attempt that was not answered is begun anew. The kernel would wait longer each time.
_PATIENCE = 3.0
# A connection that lasted for so long was a good one.
_GOOD = 5.0
# Bytes that are thrown away at once of what a peer sends where it is to listen.
_DISCARDED = 65536
# linux/eventfd: it can be written to, and so is writable, unless it holds this.
_SHUT = 0xFFFFFFFFFFFFFFFE

_WATCHED = select.EPOLLIN | select.EPOLLRDHUP

# struct linger, socket(7): a connection that is closed ends at once, by a reset.
_RESET = struct.pack("=ii", 1, 0)


class Outgoing:
    """Connects to the peer, and writes to it. Raises OSError where the system has no descriptor left."""

    def __init__(self, link: Link, index: int, events: select.epoll, traffic: Traffic, tell: Tell) -> None:
        self._link = link
        self.index = index
        """Of the link's interface, for addresses that mean nothing without."""
        self._events = events
        self._traffic = traffic
        self._tell = tell
        self.losses = 0
        """How often a connection to the peer ended, or something could not be sent for want of one."""
        self._connection: socket.socket | None = None
        self._connecting = False
        self._connected_at = 0.0
        self._pause = _FIRST_PAUSE
        self._complaints: set[int] = set()
        self._rest = b""
        self._full = False
        self._timer = Timer()
        try:
            self._gate = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except OSError:
            self._timer.close()
            raise
        events.register(self._timer.fileno(), select.EPOLLIN)
        self._connect()

    @property
    def connected(self) -> bool:
        return self._connection is not None and not self._connecting

    @property
    def connecting(self) -> bool:
        return self._connecting

    def connection_fileno(self) -> int:
        """That of the connection, perhaps to be; -1 where there is none."""
        return -1 if self._connection is None else self._connection.fileno()

    def timer_fileno(self) -> int:
        return self._timer.fileno()

    def gate_fileno(self) -> int:
        """A descriptor, always the same, that is writable while send() can take something."""
        return self._gate

    def close(self) -> None:
        """Send nothing more. Harmless a second time."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._traffic.client_connected = False
        self._timer.close()
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1

    def hurry(self) -> None:
        """Try to connect at once: there is a sign that the peer can be reached."""
        if not self.connected:
            self._pause = _FIRST_PAUSE
            self._drop()
            self._connect()

    def abandon(self) -> None:
        """End the connection with all that has not arrived, and connect anew."""
        if self._connection is not None and not self._connecting:
            self._reset()
            self.losses += 1
            self._pause = _FIRST_PAUSE
            self._try_later()

    def send(self, datagrams: Datagrams, first: int) -> int:
        """Write from number `first` on. Returns the number of the first that must wait for room."""
        if not self.connected:
            return self._forget(datagrams, first)
        assert self._connection is not None
        if self._rest and not self._write_rest():
            return first if self.connected else self._forget(datagrams, first)
        written, size, rest, failure = send_stream(datagrams, self._connection.fileno(), first)
        self._traffic.packets_sent += written - first
        self._traffic.bytes_sent += size
        if failure == 0:
            return written
        if failure != errno.EAGAIN:
            self._lose(failure)
            return self._forget(datagrams, written)
        self._rest = rest
        self._wait_for_room()
        return written

    def expire(self) -> None:
        """The timer has ended: begin an attempt, perhaps anew."""
        self._timer.stop()
        if self._connecting:
            self._fail(errno.ETIMEDOUT)
        elif self._connection is None:
            self._connect()

    def attend(self, events: int) -> None:
        """Something happened to the connection."""
        if self._connection is None:
            return
        failure = self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if self._connecting:
            if failure:
                self._fail(failure)
            elif events & select.EPOLLOUT:
                self._begin()
            return
        if failure:
            self._lose(failure)
        elif events & (_WATCHED | select.EPOLLHUP) and self._ended():
            self._lose(0)
        elif events & select.EPOLLOUT and (not self._rest or self._write_rest()):
            self._go_on()

    def _connect(self) -> None:
        link = self._link
        assert link.peer is not None
        family = socket.AF_INET if link.family == 4 else socket.AF_INET6
        kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            connection = socket.socket(family, kind)
        except OSError as error:
            self._fail(error.errno or 0)
            return
        self._connection = connection
        self._connecting = True
        try:
            connection_options(connection)
            set_send_buffer(connection, link.send_buffer)
            if not link.address.is_unspecified:
                connection.bind(socket_address(link.address, 0, self.index))
            failure = connection.connect_ex(socket_address(link.peer, link.port, self.index))
        except OSError as error:
            failure = error.errno or 0
        if failure not in (0, errno.EINPROGRESS):
            self._fail(failure)
            return
        self._events.register(connection, select.EPOLLOUT)
        self._timer.start(_PATIENCE)

    def _begin(self) -> None:
        """The connection is there."""
        assert self._connection is not None
        self._connecting = False
        self._connected_at = time.monotonic()
        self._complaints.clear()
        self._timer.stop()
        self._traffic.client_connected = True
        self._events.modify(self._connection, _WATCHED)
        self._tell(f"connected to {self._link.peer}", False)

    def _fail(self, failure: int) -> None:
        """An attempt came to nothing; each reason is told once until there is a connection."""
        self._drop()
        if failure not in self._complaints:
            self._complaints.add(failure)
            reason = os.strerror(failure)
            self._tell(f"cannot connect to {self._link.peer}: {reason}; it is tried again and again", True)
        self._try_later()

    def _lose(self, failure: int) -> None:
        """The connection has ended; 0 where it was the peer that closed it."""
        self._reset()
        self.losses += 1
        reason = os.strerror(failure) if failure else "closed by the peer"
        self._complaints.add(failure)
        self._tell(f"the connection to {self._link.peer} is lost: {reason}", True)
        if time.monotonic() - self._connected_at >= _GOOD:
            self._pause = _FIRST_PAUSE
        self._try_later()

    def _try_later(self) -> None:
        self._timer.start(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _reset(self) -> None:
        """Drop the connection with all that it holds: it must not come after what the next one carries."""
        if self._connection is not None:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._connecting = False
        self._traffic.client_connected = False
        self._rest = b""
        self._open_gate()

    def _forget(self, datagrams: Datagrams, first: int) -> int:
        lost = len(datagrams) - first
        if lost:
            self._traffic.send_errors += lost
            self._traffic.last_send_error = errno.ENOTCONN
            self.losses += 1
        return len(datagrams)

    def _write_rest(self) -> bool:
        """Write what is left of a datagram. Whether all of it went."""
        assert self._connection is not None
        try:
            sent = self._connection.send(self._rest, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._lose(error.errno or 0)
            return False
        self._traffic.bytes_sent += sent
        self._rest = self._rest[sent:]
        if self._rest:
            self._wait_for_room()
        return not self._rest

    def _wait_for_room(self) -> None:
        if not self._full:
            assert self._connection is not None
            self._full = True
            os.eventfd_write(self._gate, _SHUT)
            self._events.modify(self._connection, _WATCHED | select.EPOLLOUT)

    def _go_on(self) -> None:
        """There is room again."""
        assert self._connection is not None
        self._events.modify(self._connection, _WATCHED)
        self._open_gate()

    def _open_gate(self) -> None:
        if self._full:
            self._full = False
            os.eventfd_read(self._gate)

    def _ended(self) -> bool:
        """Whether the peer has closed the connection. What it says on it is nothing to be heard."""
        assert self._connection is not None
        try:
            return not self._connection.recv(_DISCARDED, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True
