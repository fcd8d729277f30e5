# SPDX-License-Identifier: GPL-2.0-or-later
"""The dedicated links of a node, one to four, as one channel: all receive, one is used for sending.

Which one is link_choice.py's matter. Here the interfaces are followed, and what becomes of them is told: the
descriptor that a reader waits at is readable for a datagram on any link and for news of any interface.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Sequence
from random import Random

from pyconntrack.channel.channel import (
    DATAGRAMS_AT_ONCE,
    ChannelError,
    LinkChannel,
    LinkMissingError,
    LinkState,
    News,
    Traffic,
)
from pyconntrack.channel.link_choice import Change, LinkChoice
from pyconntrack.channel.link_member import Member, news_of, none_available, took_over
from pyconntrack.channel.link_monitor import InterfaceChange, LinkMonitor
from pyconntrack.channel.log_lines import LogLines
from pyconntrack.channel.node_names import NodeNames
from pyconntrack.config import Link, Transport
from pyconntrack.core.datagrams import Datagrams

# Seconds from one attempt to open a link that was missing to the next one.
_TRY_AGAIN = 1.0
# What waits on the other links was sent after what waits on the one in use, unless that one never runs dry.
_LOOKS_AT_ONE = 256
# Seconds without a word of any node, after which what is sent goes over all links now and then: the one in
# use may carry nothing although it has its carrier.
SILENCE = 3.0
_TRY_ALL = 0.2
_COUNTERS = (
    "bytes_sent",
    "bytes_received",
    "packets_sent",
    "packets_received",
    "send_errors",
    "receive_errors",
    "strangers",
)
_HEADER_SIZE = 8
_VERSION = 1


class DedicatedLinks:
    """The links as one channel. Raises ChannelError where they cannot be set up.

    `open_link` makes the channel of one link. Where there are several, one whose interface or address is
    missing is waited for; at least one must be there. `silence_is_failure`: a node that lives says something
    at least once a second.
    """

    def __init__(
        self,
        links: Sequence[Link],
        open_link: Callable[[Link], LinkChannel],
        random: Random,
        *,
        silence_is_failure: bool = False,
    ) -> None:
        self.warnings: list[str] = []
        self._open_link = open_link
        self._news = LogLines()
        self._stirred = False
        self._members = [Member(link) for link in links]
        # Of one peer, all links lead to the same node, whichever address it has there.
        peers = [str(link.peer) for link in links if link.default and link.peer is not None]
        several = len(links) > 1
        self._peer = peers[0] if several and peers else None
        self._names = NodeNames() if several and links[0].transport is Transport.MULTICAST else None
        self._changes = 0
        self._changes_before = 0
        self._looks_at_one = 0
        self._next_try = 0.0
        self._last_heard = time.monotonic()
        self._silence = SILENCE if silence_is_failure else math.inf
        self._next_to_all = 0.0
        self._closed = False
        self._epoll = select.epoll()
        try:
            self._open_all()
            self._monitor = self._open_monitor()
        except ChannelError:
            self._close_members()
            self._epoll.close()
            raise
        self._choice = self._first_choice(random)
        self._changes_before = self._channel_changes()

    # -- what every channel offers

    @property
    def name(self) -> str:
        link = self.link
        return f"{link.transport.value} link on {link.interface}"

    @property
    def link(self) -> Link:
        return self._active.link

    @property
    def traffic(self) -> Traffic:
        """Of all together."""
        parts = [member.traffic for member in self._members]
        active = self._active.traffic
        return Traffic(
            **{name: sum(getattr(part, name) for part in parts) for name in _COUNTERS},
            last_send_error=active.last_send_error,
            last_stranger=next((part.last_stranger for part in parts if part.last_stranger), None),
            server_connected=active.server_connected,
            client_connected=active.client_connected,
        )

    @property
    def links(self) -> list[LinkState]:
        """All of them, in the order of the configuration."""
        return [
            LinkState(
                member.link,
                member.traffic,
                self._monitor.status(member.link.interface),
                member is self._active,
            )
            for member in self._members
        ]

    @property
    def changes(self) -> int:
        return self._changes + self._channel_changes() - self._changes_before

    @property
    def renewals(self) -> int:
        return sum(channel.renewals for channel in self._channels())

    @property
    def stirred(self) -> bool:
        return self._stirred or any(channel.stirred for channel in self._channels())

    def news(self) -> list[News]:
        """What happened to the links, and on each of them."""
        told = self._news.take()
        self._stirred = self._news.holds
        for channel in self._channels():
            told += channel.news()
        return told

    def _channels(self) -> list[LinkChannel]:
        """Of the links that could be opened."""
        return [member.channel for member in self._members if member.channel is not None]

    def fileno(self) -> int:
        return -1 if self._closed else self._epoll.fileno()

    def writing_fileno(self) -> int:
        channel = self._active.channel
        return -1 if channel is None else channel.writing_fileno()

    def new_datagrams(self, count: int = 64) -> Datagrams:
        """Room for `count` datagrams of a size that each of the links takes."""
        return Datagrams(min(channel.payload for channel in self._channels()), count)

    def send(self, datagrams: Datagrams, first: int = 0) -> int:
        now = time.monotonic()
        self._open_missing(now)
        if now - self._last_heard >= self._silence:
            self._send_to_others(datagrams, first, now)
        channel = self._active.channel
        if channel is None:
            self._active.traffic.send_errors += len(datagrams) - first
            return len(datagrams)
        return channel.send(datagrams, first)

    def _send_to_others(self, datagrams: Datagrams, first: int, now: float) -> None:
        """Send over the links that are not in use. Whoever hears it will answer there."""
        if now < self._next_to_all:
            return
        self._next_to_all = now + _TRY_ALL
        for member in self._members:
            if member is not self._active and member.runs and member.channel is not None:
                member.channel.send(datagrams, first)

    def receive(self) -> tuple[list[tuple[bytes, str]], int]:
        now = time.monotonic()
        ready = dict(self._epoll.poll(0))
        if self._monitor.fileno() in ready:
            self._follow_interfaces(now)
        accepted: list[tuple[bytes, str]] = []
        arrived = self._receive_from(self._choice.active, ready, accepted, now)
        if arrived >= DATAGRAMS_AT_ONCE and self._looks_at_one < _LOOKS_AT_ONE:
            self._looks_at_one += 1
            self._last_heard = now
            return accepted, arrived
        self._looks_at_one = 0
        if len(self._members) > 1:
            arrived += self._receive_from_others(ready, accepted, now)
        if accepted:
            self._last_heard = now
        return accepted, arrived

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._close_members()
            self._monitor.close()
            self._epoll.close()

    # -- setting up

    def _open_all(self) -> None:
        for member in self._members:
            try:
                self._open(member)
            except LinkMissingError as error:
                member.complaint = str(error)
        missing = [member.complaint for member in self._members if member.channel is None]
        if len(missing) == len(self._members):
            raise LinkMissingError("; ".join(missing))
        self.warnings += [f"{complaint}; it is waited for" for complaint in missing]

    def _open(self, member: Member) -> None:
        channel = self._open_link(member.link)
        member.channel = channel
        member.traffic = channel.traffic
        self.warnings += channel.warnings
        self._epoll.register(channel.fileno(), select.EPOLLIN)

    def _open_monitor(self) -> LinkMonitor:
        try:
            monitor = LinkMonitor(member.link.interface for member in self._members)
        except OSError as error:
            raise ChannelError(f"{self._members[0].link.interface} cannot be watched: {error}") from error
        self._epoll.register(monitor.fileno(), select.EPOLLIN)
        return monitor

    def _first_choice(self, random: Random) -> LinkChoice:
        for member in self._members:
            member.runs = member.can_run(self._monitor)
        default = next((i for i, member in enumerate(self._members) if member.link.default), 0)
        preference = [default, *(i for i in range(len(self._members)) if i != default)]
        running = [member.runs for member in self._members]
        choice = LinkChoice(preference, running, random, time.monotonic())
        if not choice.any_runs:
            self._tell(none_available(self._members, self._monitor), trouble=True)
        elif choice.active != default:
            self._tell(took_over(self._members[default], self._members[choice.active], self._monitor))
        return choice

    def _close_members(self) -> None:
        for channel in self._channels():
            channel.close()

    # -- receiving

    def _receive_from(
        self, number: int, ready: dict[int, int], accepted: list[tuple[bytes, str]], now: float
    ) -> int:
        channel = self._members[number].channel
        if channel is None or channel.fileno() not in ready:
            return 0
        taken, arrived = channel.receive()
        if self._peer is not None:
            accepted += [(datagram, self._peer) for datagram, _ in taken]
        elif self._names is not None:
            name = self._names.name
            accepted += [(datagram, name(number, sender, datagram, now)) for datagram, sender in taken]
        else:
            accepted += taken
        return arrived

    def _receive_from_others(
        self, ready: dict[int, int], accepted: list[tuple[bytes, str]], now: float
    ) -> int:
        """Receive from the links that are not in use: the peers may have changed over to one of them."""
        active = self._choice.active
        arrived = 0
        for number in range(len(self._members)):
            if number != active:
                taken = len(accepted)
                arrived += self._receive_from(number, ready, accepted, now)
                if any(_is_message(datagram) for datagram, _ in accepted[taken:]):
                    self._obey(self._choice.hear(number, now))
        return arrived

    # -- following the interfaces

    def _follow_interfaces(self, now: float) -> None:
        for change in self._monitor.read():
            for number, member in enumerate(self._members):
                if member.link.interface == change.name:
                    self._interface_changed(number, change, now)

    def _interface_changed(self, number: int, change: InterfaceChange, now: float) -> None:
        member = self._members[number]
        if member.channel is None:
            self._try_to_open(member)
        elif change.index:
            member.channel.interface_changed()
        self._set_running(number, now)

    def _set_running(self, number: int, now: float) -> None:
        member = self._members[number]
        runs = member.can_run(self._monitor)
        if runs == member.runs:
            return
        member.runs = runs
        change = self._choice.set_running(number, runs, now)
        if change is None:
            what = "is up" if runs else member.what_is_wrong(self._monitor)
            self._tell(f"device `{member.link.interface}' {what}: not the dedicated link in use")
        self._obey(change)

    def _open_missing(self, now: float) -> None:
        """What was missing at the start may be there by now: an address comes after its interface."""
        if now < self._next_try:
            return
        self._next_try = now + _TRY_AGAIN
        for number, member in enumerate(self._members):
            if member.channel is None and self._monitor.index(member.link.interface):
                self._try_to_open(member)
                self._set_running(number, now)

    def _try_to_open(self, member: Member) -> None:
        warned = len(self.warnings)
        try:
            self._open(member)
        except (ChannelError, OSError) as error:
            # It may have gone again at any moment.
            if str(error) != member.complaint:
                member.complaint = str(error)
                self._tell(member.complaint, trouble=True)
            return
        for text in self.warnings[warned:]:
            self._tell(text, trouble=True)

    # -- the choice

    def _tell(self, text: str, trouble: bool = False) -> None:
        self._news.tell(text, trouble)
        self._stirred = True

    @property
    def _active(self) -> Member:
        return self._members[self._choice.active]

    def _channel_changes(self) -> int:
        channel = self._active.channel
        return 0 if channel is None else channel.changes

    def _obey(self, change: Change | None) -> None:
        if change is None:
            return
        before = self._members[change.before]
        gone_by = 0 if before.channel is None else before.channel.changes - self._changes_before
        self._changes += gone_by + 1
        self._changes_before = self._channel_changes()
        if before.channel is not None and change.before != change.after:
            before.channel.abandon()
        self._tell(*news_of(change, self._members, self._monitor))


def _is_message(datagram: bytes) -> bool:
    """Whether it begins as a message does."""
    if len(datagram) < _HEADER_SIZE or datagram[0] >> 4 != _VERSION:
        return False
    return _HEADER_SIZE <= int.from_bytes(datagram[2:4]) <= len(datagram)
