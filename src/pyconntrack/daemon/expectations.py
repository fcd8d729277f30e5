# SPDX-License-Identifier: GPL-2.0-or-later
"""ExpectationSync: a node's expectations and the other nodes', and what clients may ask of them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable

from pyconntrack.config import Mode, Settings, Sync
from pyconntrack.core.expectation_cache import ExternalExpectations, InternalExpectations
from pyconntrack.core.expectation_commit import ExpectationCommit, ExpectationInjector, ExpectationRequests
from pyconntrack.core.expectation_listing import list_text
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.table import FlowTable
from pyconntrack.daemon.committer import errno_name
from pyconntrack.daemon.control import Cache, CommandError
from pyconntrack.daemon.expectation_follower import ExpectationFollower
from pyconntrack.daemon.reporter import Reporter
from pyconntrack.kernel.errors import ConntrackError
from pyconntrack.kernel.expectations import ExpectationTable
from pyconntrack.kernel.socket import ConntrackSocket

_REASONS = {
    "EBUSY": "the kernel expects the same for another flow",
    "EINVAL": "the kernel does not take the expectation as its peer described it; NAT needs its modules",
    "EMFILE": "the helper or the kernel expects as many as it may: net.netfilter.nf_conntrack_expect_max",
    "ENOENT": "its master is not in the kernel",
    "EOPNOTSUPP": "its master has no helper in the kernel, or the kernel lacks the module for it",
    "EPERM": "CAP_NET_ADMIN is needed",
}
# Seconds between two looks for other nodes' expectations that have run out.
_EXPIRY = 5.0
# Seconds between two looks for what is to be put straight into the kernel.
_INJECTION = 0.05


class Expectations:
    """The caches of expectations, and what keeps them up to date; beside a node's caches of flows.

    Each command raises CommandError.
    """

    def __init__(
        self,
        settings: Settings,
        sync: Sync,
        internal: InternalCache,
        reporter: Reporter,
        changed: Callable[[], None],
    ) -> None:
        """With a running event loop; nothing runs yet.

        `changed` is called when there may be something to send.
        """
        named = sync.expectation_sync
        limit = settings.general.hash_limit or 0
        self.internal = InternalExpectations(
            internal.table,
            internal.queue,
            limit=limit,
            helpers=named if isinstance(named, frozenset) else (),
        )
        self.external = ExternalExpectations(limit=limit)
        self.follower = ExpectationFollower(self.internal, internal, settings.general, reporter, changed)
        self._injector = ExpectationInjector(self.external) if sync.disable_external_cache else None
        if self._injector is not None:
            self.internal.lent = self.external
        self._injection: asyncio.TimerHandle | None = None
        self._injection_fails = False
        self._age = sync.cache_timeout if sync.mode is Mode.ALARM else 0
        self._reporter = reporter
        self._loop = asyncio.get_running_loop()
        self._expiry: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Follow the kernel. Raises ConntrackError."""
        self.follower.start()
        await self.follower.resync()
        self._expire()
        if self._injector is not None:
            self._inject(self._injector)

    def stop(self) -> None:
        """Let go of the kernel. Harmless a second time."""
        self.follower.stop()
        for timer in (self._expiry, self._injection):
            if timer is not None:
                timer.cancel()

    def _expire(self) -> None:
        self.external.expire(int(self._loop.time()), self._age)
        self._expiry = self._loop.call_later(_EXPIRY, self._expire)

    def _inject(self, injector: ExpectationInjector) -> None:
        """Where there is no external cache: what other nodes expect goes straight into the kernel."""
        self._injection = self._loop.call_later(_INJECTION, self._inject, injector)
        if not self.external.waiting and not len(self.external.ended):
            return
        failed = injector.failed
        try:
            with ConntrackSocket(receive_buffer=injector.receive_buffer) as requests:
                injector.step(requests.fileno(), int(self._loop.time()))
            self._injection_fails = False
        except OSError as error:
            if not self._injection_fails:
                self._reporter.error(f"cannot put other nodes' expectations into the kernel: {error}")
            self._injection_fails = True
        if injector.failed != failed and not failed:
            self._report_failures("put expectations of other nodes into the kernel", injector)

    def take_over(self) -> None:
        """What other nodes expected and this kernel expects, too, is this node's from now on."""
        if self._injector is not None:
            self.external.flush()

    async def dump(self, cache: Cache, xml: bool) -> AsyncIterator[bytes]:
        """`-i expect`, `-e expect`."""
        table = self.external.table if cache is Cache.EXTERNAL else self.internal.table
        cursor, before = 0, -1
        while cursor != before:
            before = cursor
            text, cursor = list_text(table, cursor, xml, int(self._loop.time()))
            if text:
                yield text
            await asyncio.sleep(0)

    async def commit(self, flows: FlowTable) -> None:
        """`-c expect`: the other nodes' expectations into the kernel, where their masters are already.

        `flows` are those that the other nodes told of, with their zones.
        """
        work = ExpectationCommit(self.external.table, flows)
        begin = time.perf_counter()
        try:
            with ConntrackSocket(receive_buffer=work.receive_buffer) as requests:
                while work.step(requests.fileno()):
                    await asyncio.sleep(0)
        except (ConntrackError, OSError) as error:
            self._reporter.error(f"commit of expectations failed: {error}")
            raise CommandError(f"commit of expectations failed: {error}") from error
        self._report(work, time.perf_counter() - begin)

    def _report(self, work: ExpectationCommit, seconds: float) -> None:
        self._reporter.notice(f"Committed {work.committed} new expectations")
        if work.failed:
            self._reporter.notice(f"{work.failed} expectations can't be committed")
        self._report_failures("commit", work)
        self._reporter.notice(f"commit has taken {seconds:.6f} seconds")

    def _report_failures(self, what: str, work: ExpectationRequests) -> None:
        for number, count in sorted(work.failures.items()):
            name = errno_name(number)
            reason = _REASONS.get(name, os.strerror(number))
            self._reporter.error(f"{what}: {count} times {name}, {reason}")

    def flush_internal(self) -> None:
        """The internal cache was emptied, and with it the table that the expectations stand in."""
        self.follower.flushed()

    def flush_external(self) -> None:
        """The external cache is emptied, unless there is none.

        What went straight into the kernel stays there, and other nodes'.
        """
        if self._injector is None:
            self.external.flush()

    async def flush_kernel(self) -> None:
        """`-F expect`."""
        self._reporter.notice("flushing kernel expect table")
        try:
            await self._loop.run_in_executor(None, _flush_table)
        except ConntrackError as error:
            raise CommandError(f"can't flush the kernel's expectations: {error}") from error

    async def resync_kernel(self) -> None:
        """`-R expect`."""
        self._reporter.notice("resync with master expect table")
        try:
            await self.follower.resync()
        except ConntrackError as error:
            raise CommandError(f"cannot read the kernel's expectations: {error}") from error


def _flush_table() -> None:
    with ExpectationTable() as kernel:
        kernel.flush()
