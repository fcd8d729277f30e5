# SPDX-License-Identifier: GPL-2.0-or-later
"""`DisableExternalCache yes`: what the peers tell goes straight into this node's kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.expectation_cache import ExternalExpectations
from pyconntrack.core.injector import Injector
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.listing import list_flows
from pyconntrack.core.standby_cache import StandbyCache
from pyconntrack.daemon.committer import reason_of
from pyconntrack.daemon.watch import Check, Recurring
from pyconntrack.kernel.socket import ConntrackSocket
from pyconntrack.kernel.table import ConntrackTable

# Answers to sixteen requests, and what the kernel tells of as many flows, need less than this.
_RECEIVE_BUFFER = 1 << 20
# Seconds between two attempts to create flows whose masters were not there.
_RETRY = 0.5
# Flows that are deleted in one go: some milliseconds.
_STEP_FLOWS = 1024


async def delete_own(internal: InternalCache, follow: Callable[[], None]) -> None:
    """Delete this node's flows from the kernel, and leave the peers' there; `follow` takes events meanwhile.

    Raises ConntrackError.
    """
    with ConntrackTable() as table:
        cursor, reached = -1, 0
        while reached != cursor:
            cursor = reached
            batch = FlowBatch()
            reached = list_flows(internal.table, batch, cursor, _STEP_FLOWS)
            table.delete_batch(batch)
            follow()
            await asyncio.sleep(0)


class Injection:
    """The injector, its socket and its clock. `internal` learns which flows of the kernel are the peers'."""

    def __init__(
        self,
        internal: StandbyCache,
        *,
        window_tracking: bool,
        expectations: ExternalExpectations | None = None,
    ) -> None:
        """To be called with a running event loop. `expectations` take what is told of them.

        Raises ConntrackError.
        """
        self.cache = Injector(expectations=expectations)
        self._socket = ConntrackSocket(receive_buffer=_RECEIVE_BUFFER)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        internal.port = self._socket.port
        self.cache.open(internal, self._socket.fileno(), window_tracking=window_tracking)

    def start(self) -> None:
        """Begin to try again what had to wait."""
        self._retry()

    def stop(self) -> None:
        """Let go of the kernel. Harmless a second time; no message may come any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._socket.close()

    def _retry(self) -> None:
        self._timer = self._loop.call_later(_RETRY, self._retry)
        self.cache.retry(int(self._loop.time()))

    def check(self) -> Check:
        """For the log: what the kernel refused, and why."""
        told: dict[int, int] = {}

        def describe(count: int) -> str:
            failures = self.cache.failures
            times = {number: failures[number] - told.get(number, 0) for number in failures}
            told.update(failures)
            reasons = (
                f"{times[number]} times {reason_of(number)}" for number in sorted(times) if times[number]
            )
            return f"{count} flows of other nodes not put into the kernel: {'; '.join(reasons)}"

        return Recurring(lambda: sum(self.cache.failures.values()), describe)
