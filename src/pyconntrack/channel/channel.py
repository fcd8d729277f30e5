# SPDX-License-Identifier: GPL-2.0-or-later
"""What every dedicated link offers to the one who drives a replication session over it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pyconntrack.config import Link
from pyconntrack.core.datagrams import Datagrams

# As many a channel takes at most in one receive(): where it says that so many arrived, there may be more.
DATAGRAMS_AT_ONCE = 32
# Bytes of a datagram, as the usual MTU leaves them. A link with a larger one, or a stream, brings in as much
# with fewer.
_USUAL_SIZE = 1472


def datagrams_of(size: int) -> int:
    """To how many datagrams of the usual MTU `size` bytes amount."""
    return -(-size // _USUAL_SIZE)


class ChannelError(Exception):
    """A dedicated link cannot be set up; the text says which, why, and what to do."""


class LinkMissingError(ChannelError):
    """Its interface, or its own address, is not there; it may come yet."""


class News(NamedTuple):
    """What happened to a link, a line for the log."""

    text: str
    trouble: bool = False
    """Whether the administrator may have to do something."""


@dataclass(slots=True)
class Traffic:
    """What went over a link, as `conntrackd -s` counts it."""

    bytes_sent: int = 0
    bytes_received: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    send_errors: int = 0
    last_send_error: int = 0
    """The number of the last one, see errno(3)."""
    receive_errors: int = 0
    strangers: int = 0
    """Datagrams, or connections, of others than the configured peers: dropped."""
    last_stranger: str | None = None
    server_connected: bool = False
    """TCP: the peer is connected to this node, and can send."""
    client_connected: bool = False
    """TCP: this node is connected to the peer, and can send."""


class LinkStatus(enum.Enum):
    """Whether a link's interface can carry anything, in the words of `conntrackd -s link`."""

    RUNNING = "RUNNING"
    NO_CARRIER = "NO-CARRIER"
    """Up, but nothing is at the other end of the cable."""
    DOWN = "DOWN"
    """Set down, or not there at all."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """One of a channel's links as it is at the moment."""

    link: Link
    traffic: Traffic
    status: LinkStatus
    active: bool
    """What is sent goes over this one."""


class Channel(Protocol):
    """One dedicated link, or several that stand in for one another. Nothing here blocks."""

    @property
    def name(self) -> str:
        """How messages call it: `UDP link on eth2`."""
        ...

    @property
    def link(self) -> Link:
        """The link that is in use."""
        ...

    @property
    def traffic(self) -> Traffic:
        """What went over it."""
        ...

    @property
    def warnings(self) -> list[str]:
        """What the administrator should know of it as it was set up."""
        ...

    @property
    def changes(self) -> int:
        """How often what is sent began to go another way: by another link, over a new connection.

        What was under way then may be lost.
        """
        ...

    @property
    def renewals(self) -> int:
        """How often the peer began to send over a new connection, and can be asked for what is lost."""
        ...

    @property
    def stirred(self) -> bool:
        """Whether something happened of which `changes`, `renewals` or news() tell, until news() has told it.

        Asked for after each send() and receive(), it saves asking for all of them.
        """
        ...

    def news(self) -> list[News]:
        """What happened to it since this was last asked, in order."""
        ...

    def fileno(self) -> int:
        """A descriptor, always the same, that is readable while receive() has something to do."""
        ...

    def writing_fileno(self) -> int:
        """The descriptor that becomes writable when send() can go on, after it came back early."""
        ...

    def new_datagrams(self, count: int = 64) -> Datagrams:
        """Room for `count` datagrams as large as the link takes."""
        ...

    def send(self, datagrams: Datagrams, first: int = 0) -> int:
        """Send from number `first` on. Returns the number of the first that must wait for room."""
        ...

    def receive(self) -> tuple[list[tuple[bytes, str]], int]:
        """Datagrams of whole messages, each with its sender, none of strangers; and how many arrived.

        Those of strangers are counted in, and larger ones as several: see datagrams_of().
        """
        ...

    def close(self) -> None:
        """Close it. Harmless a second time."""
        ...


class LinkChannel(Channel, Protocol):
    """The channel of one link, which may stand in for others, and others for it."""

    @property
    def payload(self) -> int:
        """Bytes of the longest datagram that it takes."""
        ...

    def abandon(self) -> None:
        """Another link has taken over: what was sent and has not arrived is not to arrive later."""
        ...

    def interface_changed(self) -> None:
        """Its interface came up, or is another one of the same name: what hangs on that is to be renewed."""
        ...
