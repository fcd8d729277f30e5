# SPDX-License-Identifier: GPL-2.0-or-later
"""The channel over TCP: an endless stream of messages each way, and a connection for each.

Each node listens, and connects to the other one; data goes from who connected to who listens, and nothing
goes the other way. So either connection may be there without the other. Both are behind one epoll descriptor,
with the timer of the next attempt to connect; nobody else has to know of any of it.

A stream ends where its connection does. What was sent and had not arrived by then, what was to be sent until
there is another one, and a message that has arrived in part, are lost: `changes` and `renewals` tell of that
when the link is whole again.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time

from pyconntrack.channel.channel import ChannelError, News, Traffic, datagrams_of
from pyconntrack.channel.incoming import Incoming
from pyconntrack.channel.log_lines import LogLines
from pyconntrack.channel.outgoing import Outgoing
from pyconntrack.channel.sockets import link_name, link_payload
from pyconntrack.channel.timer import Timer
from pyconntrack.config import Link
from pyconntrack.core.datagrams import Datagrams

_IPV4_HEADERS = 40
_IPV6_HEADERS = 60

# Seconds between two looks whether the interface is still the one that it was.
_LOOK_SECONDS = 1.0
# Seconds for which the other connection is waited for, once the one is there, to tell of both together.
_BOTH_SECONDS = 1.0


class StreamChannel:
    """One dedicated link over TCP. Raises ChannelError where it cannot be set up."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.traffic = Traffic()
        self.warnings: list[str] = []
        """What the administrator should know of the link as it was set up."""
        self.changes = 0
        self.renewals = 0
        self.stirred = False
        self.payload = link_payload(link, _IPV4_HEADERS if link.family == 4 else _IPV6_HEADERS)
        self._sender = str(link.peer)
        self._index = socket.if_nametoindex(link.interface)
        self._next_look = 0.0
        self._news = LogLines()
        self._connections_told = 0
        self._losses_told = 0
        self._waiting = False
        self._renewal_due = False
        try:
            self._open()
        except OSError as error:
            raise ChannelError(f"{self.name}: {error.strerror}") from error
        if self.incoming.why_not_tied is not None:
            reason = self.incoming.why_not_tied
            self.warnings.append(f"{self.name}: {reason}, so connections are taken from any interface")

    def _open(self) -> None:
        with contextlib.ExitStack() as opened:
            self._events = opened.enter_context(contextlib.closing(select.epoll()))
            given = (self.link, self._index, self._events, self.traffic, self._tell)
            self._patience = opened.enter_context(contextlib.closing(Timer()))
            self.incoming = opened.enter_context(contextlib.closing(Incoming(*given)))
            self.outgoing = Outgoing(*given)
            self._events.register(self._patience, select.EPOLLIN)
            opened.pop_all()

    @property
    def name(self) -> str:
        """How messages call the link: `TCP link on eth2`."""
        return link_name(self.link)

    def news(self) -> list[News]:
        """Connections made and lost, and strangers refused."""
        told = self._news.take()
        self.stirred = self._news.holds
        return told

    def close(self) -> None:
        """Close all connections. Harmless a second time."""
        self.incoming.close()
        self.outgoing.close()
        self._patience.close()
        self._events.close()

    def fileno(self) -> int:
        """Readable for data, a connection that comes or goes, and a time that has come; -1 once closed."""
        return -1 if self._events.closed else self._events.fileno()

    def writing_fileno(self) -> int:
        """Writable when what waits can be sent, or will never be."""
        return self.outgoing.gate_fileno()

    def new_datagrams(self, count: int = 64) -> Datagrams:
        """Room for `count` datagrams that fill a segment each."""
        return Datagrams(self.payload, count)

    def send(self, datagrams: Datagrams, first: int = 0) -> int:
        """Send from number `first` on. Returns the number of the first that must wait for room in the socket.

        They are lost, and counted, while there is no connection.
        """
        now = time.monotonic()
        self._follow_interface(now)
        if self.outgoing.connecting:
            self._attend()
        sent = self.outgoing.send(datagrams, first)
        self._tell_of_changes()
        return sent

    def receive(self) -> tuple[list[tuple[bytes, str]], int]:
        """Whole messages of the peer, and how much arrived; connections are seen to, too."""
        ready = self._attend()
        messages = b""
        from_peer = ready.get(self.incoming.connection_fileno(), 0)
        if from_peer:
            messages = self.incoming.receive()
        arrived = datagrams_of(len(messages))
        if ready.get(self.incoming.fileno()):
            connections = self.incoming.connections
            arrived += self.incoming.accept(ran_dry=not from_peer)
            if self.incoming.connections != connections:
                self.outgoing.hurry()
        self._tell_of_changes(ready.pop(self._patience.fileno(), 0) != 0, bool(messages))
        return ([(messages, self._sender)] if messages else []), max(arrived, 1 if ready else 0)

    def abandon(self) -> None:
        """Connect anew: what the old connection still holds would come after newer things."""
        self.outgoing.abandon()

    def interface_changed(self) -> None:
        """Look at once whether the interface was made anew, and connect at once where no connection is."""
        self._next_look = 0.0
        self._follow_interface(time.monotonic())
        self.outgoing.hurry()

    def _attend(self) -> dict[int, int]:
        """See to the outgoing connection. Returns what else is ready."""
        ready = dict(self._events.poll(0))
        happened = ready.pop(self.outgoing.connection_fileno(), 0)
        if happened:
            self.outgoing.attend(happened)
        if ready.pop(self.outgoing.timer_fileno(), 0):
            self.outgoing.expire()
        return ready

    def _follow_interface(self, now: float) -> None:
        """Look once a second whether the interface was made anew, or can be tied to meanwhile."""
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        with contextlib.suppress(OSError):
            index = socket.if_nametoindex(self.link.interface)
            if index != self._index or not self.incoming.tied:
                self._index = self.outgoing.index = index
                self.incoming.tie(index)

    def _tell_of_changes(self, waited: bool = False, heard: bool = False) -> None:
        """Count what is there again, or for the first time.

        The peer can send once something is `heard` of it: its connection is there before it knows.
        `waited` says that its connection was waited for long enough.
        """
        incoming, outgoing = self.incoming, self.outgoing
        if incoming.connections != self._connections_told:
            self._connections_told = incoming.connections
            self._renewal_due = True
        restored = outgoing.connected and outgoing.losses != self._losses_told
        if restored and not incoming.connected and not waited:
            if not self._waiting:
                self._waiting = True
                self._patience.start(_BOTH_SECONDS)
            return
        if self._waiting:
            self._waiting = False
            self._patience.stop()
        if restored:
            self._losses_told = outgoing.losses
            self._renewal_due = True
            self.changes += 1
            self.stirred = True
        if self._renewal_due and heard and outgoing.connected:
            self._renewal_due = False
            self.renewals += 1
            self.stirred = True

    def _tell(self, text: str, trouble: bool) -> None:
        self._news.tell(f"{self.name}: {text}", trouble)
        self.stirred = True
