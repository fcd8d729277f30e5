# SPDX-License-Identifier: GPL-2.0-or-later
"""The statistics mode, section `Stats`: a node without peers that logs the flows that end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pyconntrack.config import Settings, Stats
from pyconntrack.core.listing import list_text
from pyconntrack.core.statistics_cache import StatisticsCache
from pyconntrack.daemon.availability import refusals, without_effect
from pyconntrack.daemon.control import Cache, CommandError, ControlServer, Table
from pyconntrack.daemon.event_filter import event_filter
from pyconntrack.daemon.follower import KernelFollower
from pyconntrack.daemon.kernel_commands import KernelCommands
from pyconntrack.daemon.measure import measure_cache, measure_runtime
from pyconntrack.daemon.node import StartError
from pyconntrack.daemon.node_checks import checks_of_statistics
from pyconntrack.daemon.reporter import Reporter
from pyconntrack.daemon.statistics import Statistics, format_statistics
from pyconntrack.daemon.statistics_log import StatisticsLog, outlets_of
from pyconntrack.daemon.watch import Watch


class StatisticsNode:
    """Follows the kernel's table and writes a line for each flow that ends. Implements `control.Commands`."""

    def __init__(self, settings: Settings, reporter: Reporter) -> None:
        """Build it, with a running event loop; nothing runs yet. Raises StartError, ControlError."""
        stats = _statistics_of(settings, reporter)
        general = settings.general
        self.reporter = reporter
        self.stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self.internal = StatisticsCache(
            filter=event_filter(general.filter), limit=general.hash_limit or 0, buckets=general.hash_size
        )
        self.control = ControlServer(general.unix_path, self, reporter.error, general.unix_backlog)
        self.control.bind()
        self._log = self._open_log(stats, general.syslog)
        self.internal.lines = bool(self._log)
        self._lost = 0
        self.follower = KernelFollower(self.internal, general, reporter, self._changed)
        self.kernel = KernelCommands(self.follower, reporter)
        self.limit = general.hash_limit
        self.watch = Watch(reporter, checks_of_statistics(self))

    def _open_log(self, stats: Stats, syslog: str | None) -> StatisticsLog:
        try:
            return StatisticsLog(outlets_of(stats, syslog), self.reporter)
        except OSError as error:
            self.control.unbind()
            raise StartError(f"can't open logfile `{stats.log_file}': {error.strerror}") from error

    async def start(self) -> None:
        """Listen, and read the kernel's table. Raises ControlError, ConntrackError."""
        await self.control.start()
        self.follower.start()
        await self.follower.resync()
        self.watch.start()
        self.reporter.notice("initialization completed")

    def _changed(self) -> None:
        lines = self.internal.take_lines()
        if lines:
            self._log.write(lines)
        if self.internal.lost != self._lost:
            self.reporter.error(f"no memory for {self.internal.lost - self._lost} lines about ended flows")
            self._lost = self.internal.lost

    def reopen_log(self) -> None:
        """For log rotation, the log of the flows."""
        self._log.reopen()

    async def stop_all(self) -> None:
        """Let go of everything, in whatever state it is. What ended before is in the log."""
        self.watch.stop()
        self.follower.catch_up()
        self.follower.stop()
        self._log.close()
        await self.control.close()

    def dump(self, cache: Cache, table: Table, xml: bool, *, whose: bool = False) -> AsyncIterator[bytes]:
        return self._dump(cache, table, xml)

    async def _dump(self, cache: Cache, table: Table, xml: bool) -> AsyncIterator[bytes]:
        if cache is Cache.EXTERNAL:
            raise _lacks("an external cache")
        cursor = 0
        while table is Table.FLOWS:
            text, cursor = list_text(self.internal.table, cursor, False, xml, int(self._loop.time()))
            if not text:
                return
            yield text
            await asyncio.sleep(0)

    def status(self) -> str:
        """One line, for the service manager and the log."""
        counters = self.internal.counters
        return f"statistics mode, {len(self.internal)} flows in the cache, {counters.destroyed} have ended"

    async def statistics(self, subject: str) -> str:
        uptime = int(self._loop.time() - self._started)
        statistics = Statistics(
            runtime=measure_runtime(self, uptime),
            internal=measure_cache("stats", self.internal),
            traffic_bytes=self.internal.traffic_bytes,
            traffic_packets=self.internal.traffic_packets,
        )
        return format_statistics(statistics, subject)

    async def flush(self, cache: Cache | None) -> None:
        """The cache becomes what the kernel has. To forget what lives would cost lines of the log."""
        if cache is Cache.EXTERNAL:
            raise _lacks("an external cache")
        self.reporter.notice("flushing caches")
        await self.kernel.resync()

    async def flush_kernel(self, table: Table | None) -> None:
        if table is not Table.EXPECTATIONS:
            await self.kernel.flush()

    async def resync_kernel(self, table: Table | None) -> None:
        if table is not Table.EXPECTATIONS:
            await self.kernel.resync()

    async def commit(self, table: Table | None) -> None:
        raise _lacks("an external cache")

    async def request_resync(self) -> None:
        raise _lacks("other nodes")

    async def send_bulk(self) -> None:
        raise _lacks("other nodes")

    async def reset_timers(self) -> None:
        raise _lacks("PurgeTimeout")

    async def stop(self) -> None:
        self.stopped.set()


def _lacks(what: str) -> CommandError:
    return CommandError(f"the statistics mode (section Stats) does not have {what}")


def _statistics_of(settings: Settings, reporter: Reporter) -> Stats:
    for text in without_effect(settings):
        reporter.warning(text)
    refused = refusals(settings)
    if refused:
        raise StartError("; ".join(refused))
    assert settings.stats is not None
    return settings.stats
