# SPDX-License-Identifier: GPL-2.0-or-later
"""What the replicator does when the link that it sends over gives way to another one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from pyconntrack.channel.channel import News, Traffic
from pyconntrack.config import Link
from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.queue import write_alive
from pyconntrack.daemon.replicator import Replicator
from pyconntrack.replication.ftfw import Ftfw


class TwoWays:
    """A channel over the first or the second of two sockets; it takes what there is `room` for."""

    def __init__(self) -> None:
        self.ways = [socket.socketpair(), socket.socketpair()]
        self.active = 0
        self.changes = 0
        self.renewals = 0
        self.stirred = True
        self.room = 0
        self.sizes = [1472, 1000]
        self.sent: list[tuple[int, bytes]] = []
        self.name = "link"
        self.traffic = Traffic()
        self.warnings: list[str] = []

    @property
    def link(self) -> Link:
        raise NotImplementedError

    def news(self) -> list[News]:
        return []

    def fileno(self) -> int:
        return self.ways[0][1].fileno()

    def writing_fileno(self) -> int:
        return self.ways[self.active][0].fileno()

    def new_datagrams(self, count: int = 64) -> Datagrams:
        return Datagrams(self.sizes[self.active], count)

    def send(self, datagrams: Datagrams, first: int = 0) -> int:
        while self.room and first < len(datagrams):
            self.sent.append((self.active, datagrams[first]))
            first += 1
            self.room -= 1
        return first

    def receive(self) -> tuple[list[tuple[bytes, str]], int]:
        return [], 0

    def close(self) -> None:
        for pair in self.ways:
            for end in pair:
                end.close()


class Speaker(Ftfw):
    """Fills three datagrams once, and says nothing else."""

    spoke = False
    restored = 0

    def fill(self, out: Datagrams, now: float) -> int:
        written = 0
        while not self.spoke and len(out) < 3:
            write_alive(out, self.sequence, 0)
            written += self._advance_sequence(1)
        self.spoke = True
        return written

    def link_restored(self, now: float) -> None:
        self.restored += 1


@pytest.fixture
def ways() -> Iterator[TwoWays]:
    made = TwoWays()
    yield made
    made.close()


def test_what_waits_for_a_link_goes_over_the_one_that_takes_over(ways: TwoWays) -> None:
    async def run() -> None:
        session = Speaker(InternalCache(), ExternalCache(), first_sequence=1, now=0.0)
        replicator = Replicator(session, ways, lambda: None, lambda news: None)
        ways.room = 1
        # The first way is full, and stays so: its writer would be called for ever.
        fill_up(ways.ways[0][0])
        replicator.flush()
        assert [way for way, _ in ways.sent] == [0]
        ways.active, ways.room, ways.changes = 1, 100, 1
        replicator.flush()
        assert session.restored == 1
        assert [way for way, _ in ways.sent] == [0, 1, 1]
        assert len({text for _, text in ways.sent}) == 3
        assert replicator._out.size == 1000
        replicator.flush()
        assert session.restored == 1
        replicator.stop()

    asyncio.run(run())


def test_a_way_that_changes_while_another_change_is_followed_is_followed_too() -> None:
    class Restless(TwoWays):
        """Sending over the second way makes it go back to the first."""

        def __init__(self) -> None:
            super().__init__()
            self.stirred = False

        def news(self) -> list[News]:
            self.stirred = False
            return []

        def go(self, way: int) -> None:
            self.active = way
            self.changes += 1
            self.stirred = True

        def send(self, datagrams: Datagrams, first: int = 0) -> int:
            if self.active == 1:
                self.go(0)
            return super().send(datagrams, first)

    async def run() -> None:
        restless = Restless()
        session = Speaker(InternalCache(), ExternalCache(), first_sequence=1, now=0.0)
        replicator = Replicator(session, restless, lambda: None, lambda news: None)
        fill_up(restless.ways[0][0])
        replicator.flush()
        restless.room = 100
        restless.go(1)
        replicator.flush()
        replicator.flush()
        assert restless.changes == session.restored == 2
        replicator.stop()

    asyncio.run(run())


def test_who_still_works_when_it_has_stopped_sends_nothing(ways: TwoWays) -> None:
    """A resync that the daemon's end cuts short still says that the cache has changed."""

    async def run() -> None:
        session = Speaker(InternalCache(), ExternalCache(), first_sequence=1, now=0.0)
        replicator = Replicator(session, ways, lambda: None, lambda news: None)
        ways.room = 100
        replicator.start()
        session.spoke = False
        ways.sent.clear()
        replicator.stop()
        replicator.flush()
        assert not ways.sent
        assert replicator._timer is None

    asyncio.run(run())


def fill_up(end: socket.socket) -> None:
    end.setblocking(False)
    while True:
        try:
            end.send(bytes(65536))
        except BlockingIOError:
            return
