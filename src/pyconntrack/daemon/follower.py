# SPDX-License-Identifier: GPL-2.0-or-later
"""Follows the kernel's table: events into the internal cache, a dump where events may have been missed.

After an overrun the cache is read anew from the kernel, again and again until a dump went through without
another overrun: then it is exact, and since every difference joins the sending queue, so will the peers be.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path

from pyconntrack.config import General
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.bypass import Bypass
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.kernel_codec import DONE, INTERRUPTED, receive_flows
from pyconntrack.core.netlink_receiver import NetlinkReceiver
from pyconntrack.core.requests import RequestBatch, table_request
from pyconntrack.core.standby_cache import StandbyCache
from pyconntrack.daemon.event_filter import filter_in_kernel
from pyconntrack.daemon.event_losses import EventLosses
from pyconntrack.daemon.paced_reader import PacedReader
from pyconntrack.daemon.readable import readable
from pyconntrack.daemon.reporter import Reporter
from pyconntrack.kernel.changing import QUESTION_BYTES, reread
from pyconntrack.kernel.dump import NLM_F_DUMP, hash_buckets
from pyconntrack.kernel.errors import conntrack_error
from pyconntrack.kernel.socket import GROUP_DESTROY, GROUP_NEW, GROUP_UPDATE, ConntrackSocket
from pyconntrack.kernel.statistics import table_statistics
from pyconntrack.kernel.table import GET

# The dump comes in datagrams of 32 KiB, some 130 flows each; a step takes a few milliseconds.
_DUMP_DATAGRAMS = 8
_DUMP_DATAGRAM_SIZE = 32768
_STEP_FLOWS = 1024
# Events that are taken before each step of a dump or a commit: they must not wait for it.
_EVENTS_PER_STEP = 4000
# Entries that are looked at, or removed, in one go when the dump is done.
_SWEEP_SLOTS = 50_000
# Seconds between two looks for events while some come: hundreds are then taken at once. Fewer where the
# receive buffer has no room for what so many events a second, of so many bytes each as the kernel counts,
# leave there meanwhile.
_PAUSE = 0.005
_EVENTS_PER_SECOND = 100_000
_EVENT_BYTES = 1024
# Seconds until a resync that broke off is tried again, and one that failed.
_PROMPT = 1.0
_AFTER_FAILURE = 5.0
# Flows that this process may create and hear of each.
_HEARD_MOST = 4096
# Messages that may wait, where a dump becomes messages.
_WAITING_MOST = 20_000
# How often in a row a dump that seems to leave flows out is not believed. See _seems_whole.
_DOUBTS = 3
_DOUBTED_BELOW = 0.9
_DOUBTED_FROM = 64


# The kernel tells nothing of a flow that began while nobody listened, also not its end, unless this is 1.
_EVENTS_SYSCTL = Path("/proc/sys/net/netfilter/nf_conntrack_events")
# While there are such flows the table is read again, every so many seconds, or so many times what it takes.
_REREAD_SECONDS = 60.0
_REREAD_FACTOR = 100.0


class KernelFollower:
    """The way from the kernel to the internal cache.

    `changed` is called when the cache may have changed. Errors of the kernel's are logged; only start()
    raises, ConntrackError.
    """

    def __init__(
        self,
        cache: InternalCache,
        general: General,
        reporter: Reporter,
        changed: Callable[[], None],
        *,
        reread_seconds: float = _REREAD_SECONDS,
    ) -> None:
        self.cache = cache
        self.general = general
        self.reporter = reporter
        self.changed = changed
        # A larger number would hold the event loop for as long as events come faster than they are taken.
        self._events_at_once = min(general.event_iteration_limit, _EVENTS_PER_STEP)
        self.events_received = 0
        self.resyncs = 0
        self.failures = 0
        self.populated = False
        """The cache holds all that was in the kernel's table when it was last read, and followed it since."""
        self._breaks = 0
        """How often something was done after which a resync that ran could not make the cache whole."""
        self._hears_of_new = True
        self._doubts = 0
        self._losses = EventLosses(general, reporter)
        self._loop = asyncio.get_running_loop()
        self._socket: ConntrackSocket | None = None
        self._receiver: NetlinkReceiver | None = None
        self._reader: PacedReader | None = None
        self._resyncing = asyncio.Lock()
        self._scheduled: asyncio.TimerHandle | None = None
        self._due = False
        self._reread: asyncio.TimerHandle | None = None
        self._reread_seconds = reread_seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Subscribe to events. From here on nothing in the kernel's table changes unnoticed.

        With PollSecs there are none: each resync plans the next one.
        """
        if self.general.poll_seconds is not None:
            self.reporter.notice("running in polling mode")
            return
        self._socket = ConntrackSocket(
            GROUP_NEW | GROUP_UPDATE | GROUP_DESTROY,
            receive_buffer=self.general.netlink_buffer_size,
            reliable=self.general.netlink_events_reliable,
        )
        self.reporter.notice(
            f"netlink event socket buffer size has been set to {self._socket.receive_buffer} bytes"
        )
        filter_in_kernel(self._socket, self.general.filter, self.reporter)
        if _events_mode() == 0:
            self.reporter.warning(
                "the kernel makes no events, so changes are seen late: "
                "set net.netfilter.nf_conntrack_events to 1"
            )
        self._receiver = NetlinkReceiver(self._socket.fileno())
        room = self._socket.receive_buffer // _EVENT_BYTES
        pause = min(_PAUSE, room / _EVENTS_PER_SECOND)
        self._reader = PacedReader(
            self._socket.fileno(), self._follow, self._events_at_once, pause, much=room // 2
        )

    def stop(self) -> None:
        """Let go of the kernel. Harmless a second time."""
        for timer in (self._scheduled, self._reread):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        if self._reader is not None:
            self._reader.stop()
            self._reader = None
        self._receiver = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def overruns(self) -> int:
        """How often the kernel has dropped events."""
        return self._losses.count

    @property
    def receive_buffer(self) -> int:
        """The event socket's buffer, bytes."""
        return self._socket.receive_buffer if self._socket is not None else 0

    def flush(self) -> None:
        """Empty the cache. A dump that runs does not make it whole any more: what it told before is gone."""
        self.cache.flush()
        self.cache.listened = False
        self._breaks += 1
        self.populated = False

    def catch_up(self) -> None:
        """Take the events of work that makes many at once, step by step, before the socket overruns."""
        self._take_events(_EVENTS_PER_STEP)
        self.changed()

    @contextlib.contextmanager
    def creating(self, flows: int) -> Iterator[None]:
        """While this process itself creates so many flows in the kernel's table, which the cache is to have.

        Where they are the most of it, the kernel makes no events of new flows meanwhile, and afterwards the
        table is read: that takes half the time. Raises ConntrackError.
        """
        if self._socket is None or isinstance(self.cache, Bypass) or not _are_most(flows):
            yield
            return
        whole, breaks = self.populated, self._breaks
        self.populated = self._hears_of_new = False
        self._socket.leave(GROUP_NEW)
        try:
            yield
        finally:
            # The daemon may have been stopped meanwhile.
            if self._socket is not None:
                self._socket.join(GROUP_NEW)
                self._hears_of_new = True
                # The kernel tells of the ends of all that began meanwhile.
                self.cache.listened = whole and breaks == self._breaks and _events_mode() != 0
                # A resync that is due begins from here on; one that runs has begun too early.
                self._breaks += 1
                if not self._due:
                    self._resync_now()

    def _follow(self) -> int:
        taken = self._take_events(self._events_at_once)
        self.changed()
        return taken

    def _take_events(self, limit: int) -> int:
        """Take about `limit` events at most. Returns how many."""
        taken = 0
        if self._receiver is None:
            return taken
        try:
            taken = self.cache.receive_events(self._receiver, limit, self._now())
            self.events_received += taken
            self._complete()
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                self._overrun()
            else:
                self.failures += 1
        return taken

    def _complete(self) -> None:
        """Ask for all that the kernel has of flows of which an event has told only a part. Raises OSError."""
        cache = self.cache
        if not isinstance(cache, StandbyCache) or not len(cache.incomplete):
            return
        try:
            with ConntrackSocket() as questions:
                answers = reread(questions, cache.incomplete, RequestBatch(QUESTION_BYTES))
            cache.learn(answers, self._now())
        finally:
            cache.incomplete.clear()

    def _now(self) -> int:
        return int(self._loop.time())

    def _overrun(self) -> None:
        """The kernel has dropped events: more room for the next burst, and a resync soon."""
        assert self._socket is not None
        self._losses.happened(self._socket, self._loop.time())
        delay = self.general.netlink_overrun_resync
        if delay is not None and self._scheduled is None:
            self._scheduled = self._loop.call_later(delay, self._resync_now)

    def resync_soon(self) -> None:
        """Read the kernel's table again, unless that is about to be done."""
        if self._scheduled is None and not self._due:
            self._resync_now()

    def _resync_now(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        self._due = True
        task = self._loop.create_task(self._resync_quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resync_quietly(self) -> None:
        try:
            await self.resync()
        except OSError as error:
            self.reporter.error(f"resync with the kernel table failed: {error}")
            self.failures += 1

    async def resync(self) -> int:
        """Read the kernel's table into the cache. Returns how many entries were too many.

        Raises ConntrackError.
        """
        async with self._resyncing:
            self._due = False
            # Whatever one was planned for is in the table by now.
            if self._scheduled is not None:
                self._scheduled.cancel()
                self._scheduled = None
            self.resyncs += 1
            begin = self._loop.time()
            await self._take_queued_events()
            self.cache.begin_resync()
            breaks = self._breaks
            complete = False
            removed = 0
            try:
                with ConntrackSocket() as dump:
                    complete = await self._dump(dump)
                while complete and self.cache.sweep(_SWEEP_SLOTS):
                    self.changed()
                    await asyncio.sleep(0)
            except OSError:
                # Also where a client asked for it: another one may have been planned before.
                if self._scheduled is None:
                    self._scheduled = self._loop.call_later(_AFTER_FAILURE, self._resync_now)
                raise
            finally:
                complete = complete and self._breaks == breaks
                removed = self.cache.end_resync(complete)
                self.populated = self.populated or (complete and self._hears_of_new)
                self.cache.listened = self.cache.listened and not self.populated
                self.changed()
            if complete and self._scheduled is None:
                self._losses.made_good(len(self.cache), removed)
            if not complete and self._scheduled is None:
                self._scheduled = self._loop.call_later(_PROMPT, self._resync_now)
            self._reread_later(self._loop.time() - begin)
            return removed

    def _reread_later(self, duration: float) -> None:
        """Plan to read the table again.

        With PollSecs always; else where some of its flows may end without an event.
        """
        if self._reread is not None:
            self._reread.cancel()
            self._reread = None
        poll = self.general.poll_seconds
        if poll is not None:
            self._reread = self._loop.call_later(max(poll - duration, duration), self._resync_now)
        elif self.cache.unheard and _events_mode() != 1:
            seconds = max(self._reread_seconds, _REREAD_FACTOR * duration)
            self._reread = self._loop.call_later(seconds, self._resync_now)

    async def _take_queued_events(self) -> None:
        """Take the events that wait: the dump to come is newer. See core/internal.pyx."""
        overruns = self.overruns
        while self._take_events(_EVENTS_PER_STEP) or self.overruns != overruns:
            overruns = self.overruns
            self.changed()
            await asyncio.sleep(0)

    async def _dump(self, dump: ConntrackSocket) -> bool:
        """Merge one dump. Whether it named the whole table; not so where the table was rebuilt meanwhile.

        Nor where it seems to leave flows out; but one that always seems so is taken as it is, with a warning.
        """
        before = table_statistics(dump).entries
        buckets = hash_buckets()
        told, malformed, interrupted = await self._merge(dump)
        if interrupted or hash_buckets() != buckets:
            return False
        entries = min(before, table_statistics(dump).entries)
        if _seems_whole(told, malformed, entries):
            self._doubts = 0
            return True
        self._doubts += 1
        if self._doubts <= _DOUBTS:
            return False
        self._doubts = 0
        self.reporter.warning(
            f"the kernel told {told} flows of the {entries} that it counts, and {malformed} that cannot be "
            f"read, {_DOUBTS + 1} times: taken for the whole table"
        )
        return True

    async def _merge(self, dump: ConntrackSocket) -> tuple[int, int, bool]:
        """Flows that a dump told, unreadable messages, and whether the kernel says it was interrupted."""
        dump.socket.setblocking(False)
        receiver = NetlinkReceiver(dump.fileno(), _DUMP_DATAGRAMS, _DUMP_DATAGRAM_SIZE)
        batch = FlowBatch(_STEP_FLOWS + 1024)
        told = malformed = 0
        interrupted = False
        breaks = self._breaks
        request = table_request(GET, NLM_F_DUMP, dump.next_sequence())
        dump.socket.send(request)
        while True:
            if self._breaks != breaks:
                # The rest would not make the cache whole.
                return told, malformed, True
            self._take_events(_EVENTS_PER_STEP)
            batch.clear()
            found, number, unread = receive_flows(receiver, batch, _STEP_FLOWS, False)
            told += len(batch)
            malformed += unread
            self.cache.merge_batch(batch, self._now())
            self.changed()
            while isinstance(self.cache, Bypass) and self.cache.queue.waiting > _WAITING_MOST:
                # Each flow of the table is a message, and they go out at their pace.
                await asyncio.sleep(_PAUSE)
                self._take_events(_EVENTS_PER_STEP)
                self.changed()
            interrupted = interrupted or bool(found & INTERRUPTED)
            if number:
                raise conntrack_error(number)
            if found & DONE:
                dump.socket.setblocking(True)
                return told, malformed, interrupted
            if len(batch) == 0:
                await readable(dump.fileno())
            else:
                await asyncio.sleep(0)


def _seems_whole(told: int, malformed: int, entries: int) -> bool:
    """Whether a dump told about as many flows as the kernel counts.

    It counts flows, too, that no dump tells: of packets that are still on their way, and ended ones that
    somebody still holds.
    """
    return malformed == 0 and told >= _DOUBTED_BELOW * entries - _DOUBTED_FROM


def _are_most(flows: int) -> bool:
    """Whether so many flows are too many to hear of each, and more than the kernel has now.

    Raises ConntrackError.
    """
    if flows < _HEARD_MOST:
        return False
    with ConntrackSocket() as kernel:
        return flows > table_statistics(kernel).entries


def _events_mode() -> int:
    """The sysctl. 0: no events are made; 1: of all flows; 2: of flows that begin while somebody listens."""
    try:
        return int(_EVENTS_SYSCTL.read_text())
    except (OSError, ValueError):
        return 2
