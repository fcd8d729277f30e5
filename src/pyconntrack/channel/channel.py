# SPDX-License-Identifier: GPL-2.0-or-later
"""What every dedicated link offers to the one who drives a replication session over it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from pyconntrack.config import Link
from pyconntrack.core.datagrams import Datagrams


class ChannelError(Exception):
    """A dedicated link cannot be set up; the text says which, why, and what to do."""


@dataclass(slots=True)
class Traffic:
    """What went over a link, as `conntrackd -s` counts it."""

    bytes_sent: int = 0
    bytes_received: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    send_errors: int = 0
    receive_errors: int = 0
    strangers: int = 0
    """Datagrams, or connections, of others than the configured peers: dropped."""
    last_stranger: str | None = None


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
    channel: Channel | None
    """The link's own channel; None while it could not be opened."""


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
        """Datagrams of whole messages, each with its sender, none of strangers; and how many arrived."""
        ...

    def close(self) -> None:
        """Close it. Harmless a second time."""
        ...
