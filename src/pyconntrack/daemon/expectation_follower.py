# SPDX-License-Identifier: GPL-2.0-or-later
"""Follows the kernel's expectations: events into the internal cache, dumps where events do not tell all.

The kernel tells of the begin and the end of an expectation, whatever ends it, with these exceptions: events
that were lost; masters that began while nobody listened (unless net.netfilter.nf_conntrack_events is 1); and
a timeout that a helper extends. So all expectations, which are few, are read again after an overrun, when
one should have ended by what is known of it, and every few seconds as long as there are such masters.

Nor does it tell how the sequence numbers of a flow are adjusted since its helper translated what it said: the
master of each translated expectation is asked for.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

from pyconntrack.config import General
from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core.expectation_cache import InternalExpectations
from pyconntrack.core.expectation_codec import receive_expectations, table_request
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.kernel_codec import DONE, INTERRUPTED
from pyconntrack.core.netlink_receiver import NetlinkReceiver
from pyconntrack.core.requests import RequestBatch
from pyconntrack.daemon.paced_reader import PacedReader
from pyconntrack.daemon.readable import readable
from pyconntrack.daemon.reporter import Reporter
from pyconntrack.kernel.changing import QUESTION_BYTES, reread
from pyconntrack.kernel.errors import ConntrackError, conntrack_error
from pyconntrack.kernel.expectations import DATAGRAM_SIZE, DATAGRAMS, DUMP_ATTEMPTS, GET, NLM_F_DUMP
from pyconntrack.kernel.socket import (
    GROUP_EXPECTATION_DESTROY,
    GROUP_EXPECTATION_NEW,
    GROUP_EXPECTATION_UPDATE,
    ConntrackSocket,
)

_EVENTS_AT_ONCE = 1000
_STEP = 256
# Seconds between two looks for events while some come.
_PAUSE = 0.002
# Seconds between two looks for what is overdue.
_TICK = 5.0
# Seconds from an expectation's event until its master is asked for: by then the helper has done its work.
_MANGLED = 0.01
# Seconds until all is read again after an overrun, and after an attempt that failed.
_PROMPT = 1.0
_AFTER_FAILURE = 5.0


class ExpectationFollower:
    """The way from the kernel's expectations to the internal cache.

    `flows` is the cache of their masters, `changed` is called when one of both may have changed. Only start()
    and resync() raise, ConntrackError.
    """

    def __init__(
        self,
        cache: InternalExpectations,
        flows: InternalCache,
        general: General,
        reporter: Reporter,
        changed: Callable[[], None],
    ) -> None:
        self.cache = cache
        self.flows = flows
        self.general = general
        self.reporter = reporter
        self.changed = changed
        self.overruns = 0
        self._flushes = 0
        self._batch = ExpectationBatch()
        self._loop = asyncio.get_running_loop()
        self._socket: ConntrackSocket | None = None
        self._receiver: NetlinkReceiver | None = None
        self._reader: PacedReader | None = None
        self._resyncing = asyncio.Lock()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Subscribe to events, or with PollSecs plan to read all again and again."""
        if self.general.poll_seconds is None:
            self._socket = ConntrackSocket(
                GROUP_EXPECTATION_NEW | GROUP_EXPECTATION_UPDATE | GROUP_EXPECTATION_DESTROY,
                receive_buffer=self.general.netlink_buffer_size,
                reliable=self.general.netlink_events_reliable,
            )
            self._receiver = NetlinkReceiver(self._socket.fileno())
            self._listen()
        self._tick_later()

    def stop(self) -> None:
        """Let go of the kernel. Harmless a second time."""
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._deafen()
        self._receiver = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def flushed(self) -> None:
        """The internal cache was emptied. A dump that runs does not say any more what is left over."""
        self.cache.flushed()
        self._flushes += 1

    def _listen(self) -> None:
        if self._socket is not None and self._reader is None:
            self._reader = PacedReader(self._socket.fileno(), self._follow, _EVENTS_AT_ONCE, _PAUSE)

    def _deafen(self) -> None:
        if self._reader is not None:
            self._reader.stop()
            self._reader = None

    def _follow(self) -> int:
        taken = self._take_events()
        if taken:
            self.changed()
        return taken

    def _take_events(self) -> int:
        """Take what waits, up to a limit. Returns how many events there were."""
        if self._receiver is None:
            return 0
        self._batch.clear()
        _, number, _ = receive_expectations(self._receiver, self._batch, _EVENTS_AT_ONCE, True)
        self.cache.follow(self._batch, self._now())
        if number == errno.ENOBUFS:
            self._overrun()
        if len(self.cache.masters) and "masters" not in self._timers:
            self._timers["masters"] = self._loop.call_later(_MANGLED, self._read_masters)
        return len(self._batch)

    def _read_masters(self) -> None:
        """Learn how the sequence numbers of translated masters are adjusted."""
        del self._timers["masters"]
        try:
            with ConntrackSocket() as questions:
                answers = reread(questions, self.cache.masters, RequestBatch(QUESTION_BYTES))
            self.flows.learn(answers, self._now())
        except OSError as error:
            self.reporter.error(f"cannot read the masters of expectations: {error}")
        finally:
            self.cache.masters.clear()
        self.changed()

    def _now(self) -> int:
        return int(self._loop.time())

    def _overrun(self) -> None:
        """The kernel has dropped events."""
        self.overruns += 1
        if self.general.netlink_overrun_resync is not None and "resync" not in self._timers:
            self.reporter.warning("events of expectations were lost: reading them all again")
            self._resync_later(_PROMPT)

    def _resync_later(self, seconds: float) -> None:
        if "resync" not in self._timers:
            self._timers["resync"] = self._loop.call_later(seconds, self._resync_planned)

    def _resync_planned(self) -> None:
        del self._timers["resync"]
        self._resync_soon()

    def _tick_later(self) -> None:
        seconds = self.general.poll_seconds or _TICK
        self._timers["tick"] = self._loop.call_later(seconds, self._tick)

    def _tick(self) -> None:
        self._tick_later()
        polls = self.general.poll_seconds is not None
        if (polls or self.cache.overdue(self._now()) or self.flows.unheard) and not self._resyncing.locked():
            self._resync_soon()

    def _resync_soon(self) -> None:
        task = self._loop.create_task(self._resync_quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resync_quietly(self) -> None:
        try:
            await self.resync()
        except OSError as error:
            self.reporter.error(f"cannot read the kernel's expectations: {error}")
            self._resync_later(_AFTER_FAILURE)

    async def resync(self) -> int:
        """Read all expectations into the cache. Returns how many entries were too many.

        Events that come meanwhile wait, so that they are followed after it. Raises ConntrackError.
        """
        async with self._resyncing:
            self._deafen()
            try:
                while self._take_events():
                    self.changed()
                    await asyncio.sleep(0)
                return await self._read_all()
            finally:
                self._listen()
                self.changed()

    async def _read_all(self) -> int:
        """Begin anew where the table was changed under the dump, some times."""
        for _ in range(DUMP_ATTEMPTS):
            flushes = self._flushes
            self.cache.begin_dump()
            complete = False
            try:
                complete = await self._dump() and self._flushes == flushes
            finally:
                removed = self.cache.end_dump(complete)
            if complete:
                return removed
        raise conntrack_error(errno.EINTR)

    async def _dump(self) -> bool:
        """Merge one dump. Whether it was whole."""
        try:
            with ConntrackSocket() as dump:
                return await self._merge(dump)
        except ConntrackError:
            raise
        except OSError as error:
            raise conntrack_error(error.errno or 0) from error

    async def _merge(self, dump: ConntrackSocket) -> bool:
        dump.socket.setblocking(False)
        receiver = NetlinkReceiver(dump.fileno(), DATAGRAMS, DATAGRAM_SIZE)
        batch = ExpectationBatch()
        interrupted = False
        dump.socket.send(table_request(GET, NLM_F_DUMP, dump.next_sequence()))
        while True:
            batch.clear()
            found, number, unread = receive_expectations(receiver, batch, _STEP, False)
            self.cache.merge(batch, self._now())
            interrupted = interrupted or bool(found & INTERRUPTED) or unread > 0
            if number:
                raise conntrack_error(number)
            if found & DONE:
                return not interrupted
            if len(batch):
                await asyncio.sleep(0)
            else:
                await readable(dump.fileno())
