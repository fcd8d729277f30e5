# SPDX-License-Identifier: GPL-2.0-or-later
"""Drives a replication session over the dedicated link: what arrives goes in, what is due goes out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from pyconntrack.channel.channel import DATAGRAMS_AT_ONCE, Channel, News
from pyconntrack.core.datagrams import Datagrams
from pyconntrack.daemon.paced_reader import PacedReader
from pyconntrack.replication.session import Session

# Batches of 64 datagrams that go out before the event loop gets its turn: about 8,000
# messages, a few milliseconds.
_BATCHES_AT_ONCE = 8
# Seconds between two looks for datagrams while some come: more than between the follower's looks for events,
# since flush() looks then; none while as many come as in a bulk, whose sender soon waits for an answer.
_PAUSE = 0.006
# Seconds after which the session has its turn while what it said still waits for room.
_STUCK = 1.0


class Replicator:
    """Session and link of one node.

    `bulk_asked_for` is called when another node has asked for the table, `report` with what
    happens to the link.
    """

    def __init__(
        self,
        session: Session,
        channel: Channel,
        bulk_asked_for: Callable[[], None],
        report: Callable[[News], None],
    ) -> None:
        self.session = session
        self.channel = channel
        self._bulk_asked_for = bulk_asked_for
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._out: Datagrams = channel.new_datagrams()
        self._reader: PacedReader | None = None
        self._unsent: int | None = None
        self._waits_at = -1
        self._changes = channel.changes
        self._renewals = channel.renewals
        self._timer: asyncio.TimerHandle | None = None
        self._more: asyncio.Handle | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin to listen and to speak."""
        self._reader = PacedReader(self.channel.fileno(), self._receive, DATAGRAMS_AT_ONCE, _PAUSE)
        self.flush()

    def stop(self) -> None:
        """Fall silent, and close the link. Harmless a second time; flush() is harmless from then on."""
        self._stopped = True
        for handle in (self._timer, self._more):
            if handle is not None:
                handle.cancel()
        self._timer = self._more = None
        if self._reader is not None:
            self._reader.stop()
            self._reader = None
        self._stop_waiting()
        self.channel.close()

    def flush(self) -> None:
        """Send what may go out now, and take what has arrived during a pause."""
        if self._reader is None or not self._reader.look_early():
            self._flush()

    def _flush(self) -> None:
        if self._stopped:
            return
        now = self._loop.time()
        if self.channel.stirred:
            self._follow_link(now)
        self._fill(now)

    def _fill(self, now: float) -> None:
        """Let the session say what it may say now."""
        if self._unsent is not None:
            self._arm(now + _STUCK)
            return
        answered = self.session.bulks_answered
        for _ in range(_BATCHES_AT_ONCE):
            self._out.clear()
            if self.session.fill(self._out, now) == 0 or not self._send(0) or self._all_said:
                break
        else:
            self._continue_soon()
        if self.session.bulks_answered != answered:
            self._bulk_asked_for()
        self._arm()

    @property
    def _all_said(self) -> bool:
        """Whether the session has no more to say after what was sent just now."""
        return len(self._out) < self._out.capacity and not self.session.internal.queue.waiting

    def _follow_link(self, now: float) -> None:
        """Tell the session where what it sends goes another way, what it hears begins anew; and the log."""
        # First of all, since it unsets `stirred`: to go on another way may stir the channel again.
        for news in self.channel.news():
            self._report(news)
        if self.channel.changes != self._changes:
            self._changes = self.channel.changes
            self._take_other_way(now)
        if self.channel.renewals != self._renewals:
            self._renewals = self.channel.renewals
            self.session.link_renewed(now)

    def _take_other_way(self, now: float) -> None:
        """Go on over the link, or the connection, that has taken over."""
        self.session.link_restored(now)
        if self._unsent is not None:
            self._stop_waiting()
            if not self._send(self._unsent):
                return
        self._out = self.channel.new_datagrams()

    def _send(self, first: int) -> bool:
        """Send the batch from datagram `first` on. False where the rest waits for room in the socket."""
        sent = self.channel.send(self._out, first)
        if sent == len(self._out):
            self._unsent = None
            return True
        self._unsent = sent
        self._waits_at = self.channel.writing_fileno()
        self._loop.add_writer(self._waits_at, self._writable)
        return False

    def _stop_waiting(self) -> None:
        if self._waits_at >= 0:
            self._loop.remove_writer(self._waits_at)
            self._waits_at = -1

    def _writable(self) -> None:
        self._stop_waiting()
        if self._send(self._unsent or 0):
            self._flush()

    def _continue_soon(self) -> None:
        if self._more is None:
            self._more = self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        self._more = None
        self._flush()

    def _receive(self) -> int | None:
        now = self._loop.time()
        accepted, arrived = self.channel.receive()
        if self.channel.stirred:
            self._follow_link(now)
        for datagram, sender in accepted:
            self.session.receive(datagram, sender, now)
        self._fill(now)
        # While acknowledgements hold up what is to be sent, each is taken as it arrives.
        return None if self.session.internal.queue.waiting else arrived

    def _arm(self, earliest: float = -math.inf) -> None:
        """Make sure that the session is heard at its deadline; a timer that is early does no harm."""
        deadline = max(self.session.deadline(), earliest)
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._due)

    def _due(self) -> None:
        self._timer = None
        self.session.advance(self._loop.time())
        self._flush()
