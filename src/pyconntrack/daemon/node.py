# SPDX-License-Identifier: GPL-2.0-or-later
"""One node of the cluster, put together, and what clients may ask of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from random import Random

from pyconntrack.channel.channel import ChannelError, News
from pyconntrack.channel.links import DedicatedLinks
from pyconntrack.channel.open import open_link
from pyconntrack.config import Mode, Settings, Sync, Transport
from pyconntrack.core.bypass import Bypass
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.listing import list_text
from pyconntrack.core.standby_cache import StandbyCache
from pyconntrack.daemon.availability import refusals, without_effect
from pyconntrack.daemon.committer import commit
from pyconntrack.daemon.control import Cache, CommandError, ControlServer, Table
from pyconntrack.daemon.event_filter import event_filter
from pyconntrack.daemon.expectations import Expectations
from pyconntrack.daemon.follower import KernelFollower
from pyconntrack.daemon.injection import Injection, delete_own
from pyconntrack.daemon.kernel_commands import KernelCommands
from pyconntrack.daemon.kernel_listing import kernel_text
from pyconntrack.daemon.measure import measure, names_of_nodes
from pyconntrack.daemon.node_checks import checks_of_node
from pyconntrack.daemon.replicator import Replicator
from pyconntrack.daemon.reporter import Reporter
from pyconntrack.daemon.statistics import format_statistics
from pyconntrack.daemon.watch import Watch
from pyconntrack.kernel.errors import ConntrackError
from pyconntrack.replication.alarm import Alarm
from pyconntrack.replication.ftfw import Ftfw
from pyconntrack.replication.notrack import Notrack
from pyconntrack.replication.session import Session

_COMMITTING = {
    None: "committing all external caches",
    Table.FLOWS: "committing conntrack cache",
    Table.EXPECTATIONS: "committing expectation cache",
}


class StartError(Exception):
    """The daemon cannot start; the text says why and what to do."""


class Node:
    """A node that replicates with others. Implements `control.Commands`."""

    def __init__(self, settings: Settings, reporter: Reporter) -> None:
        """Build it, with a running event loop; nothing runs yet.

        Raises StartError, ControlError, ChannelError.
        """
        sync = _replication_of(settings, reporter)
        self.settings = settings
        self.sync = sync
        self.reporter = reporter
        self.stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self.internal = _internal_cache(settings, sync, reporter)
        self.expectations = (
            Expectations(settings, sync, self.internal, reporter, self._changed)
            if sync.expectation_sync
            else None
        )
        self.injection = self._open_injection()
        self.external = self.injection.cache if self.injection is not None else self._external_cache()
        self.session = _session(sync, self.internal, self.external, self._loop.time())
        self.control = ControlServer(
            settings.general.unix_path, self, reporter.error, settings.general.unix_backlog
        )
        # First of all, so that a second daemon hears that it is one, and not that its port is in use.
        self.control.bind()
        self.links = self._open_links()
        self.replicator = Replicator(self.session, self.links, self._report_bulk_asked_for, self._report_news)
        self.follower = KernelFollower(self.internal, settings.general, reporter, self._changed)
        self.kernel = KernelCommands(self.follower, reporter)
        self.watch = Watch(reporter, checks_of_node(self))
        self._committing = asyncio.Lock()
        self._purge: asyncio.Task[None] | None = None

    @property
    def _bypasses(self) -> bool:
        """There is no internal cache."""
        return isinstance(self.internal, Bypass)

    def _open_injection(self) -> Injection | None:
        """In the place of an external cache, where it is disabled."""
        if not self.sync.disable_external_cache:
            return None
        self.reporter.notice("disabling external cache")
        assert isinstance(self.internal, StandbyCache)
        return Injection(
            self.internal,
            window_tracking=self.sync.tcp_window_tracking,
            expectations=self.expectations.external if self.expectations is not None else None,
        )

    def _external_cache(self) -> ExternalCache:
        general = self.settings.general
        return ExternalCache(
            limit=general.hash_limit or 0,
            buckets=general.hash_size,
            expectations=self.expectations.external if self.expectations is not None else None,
        )

    def _open_links(self) -> DedicatedLinks:
        try:
            links = DedicatedLinks(
                self.sync.links, open_link, Random(), silence_is_failure=self.sync.mode is not Mode.ALARM
            )
        except ChannelError:
            self.control.unbind()
            raise
        for text in links.warnings:
            self.reporter.warning(text)
        return links

    async def start(self) -> None:
        """Listen, read the kernel's table, begin to replicate. Raises ControlError, ConntrackError."""
        await self.control.start()
        self.follower.start()
        self.replicator.start()
        if self.injection is not None:
            self.injection.start()
        if not self._bypasses:
            await self.follower.resync()
        if self.expectations is not None:
            await self.expectations.start()
        self.watch.start()
        if self.sync.startup_resync:
            await self.request_resync()
        self.reporter.notice("initialization completed")

    def _changed(self) -> None:
        # Until the kernel's whole table was read, what this node has is no measure for its peers.
        self.session.says_digest = self.follower.populated and not self._bypasses
        self.replicator.flush()

    async def stop_all(self) -> None:
        """Let go of everything, in whatever state it is."""
        self._cancel_purge()
        self.watch.stop()
        self.follower.stop()
        if self.expectations is not None:
            self.expectations.stop()
        self.replicator.stop()
        if self.injection is not None:
            self.injection.stop()
        await self.control.close()

    def dump(self, cache: Cache, table: Table, xml: bool, *, whose: bool = False) -> AsyncIterator[bytes]:
        return self._dump(cache, table, xml, whose)

    async def _dump(self, cache: Cache, table: Table, xml: bool, whose: bool) -> AsyncIterator[bytes]:
        if table is Table.EXPECTATIONS:
            if self.expectations is not None:
                async for piece in self.expectations.dump(cache, xml):
                    yield piece
            return
        external = cache is Cache.EXTERNAL
        if self._bypasses and not external:
            async for piece in kernel_text(xml):
                yield piece
            return
        flows = self.external.table if external else self.internal.table
        expires = self.sync.cache_timeout if external and self.sync.mode is Mode.ALARM else 0
        cursor = 0
        while True:
            owners = names_of_nodes(self.session) if whose else None
            text, cursor = list_text(
                flows, cursor, external, xml, self._now(), expires=expires, owners=owners
            )
            if not text:
                return
            yield text
            await asyncio.sleep(0)

    def status(self) -> str:
        """One line, for the service manager and the log."""
        internal = f"{len(self.internal)} flows in the internal cache"
        if self._bypasses:
            internal = "no internal cache"
        external = f"{len(self.external)} in the external one"
        if isinstance(self.internal, StandbyCache) and self.injection is not None:
            external = f"{self.internal.lent_count} of other nodes in the kernel"
        return f"mode {self.sync.mode.value}, {internal}, {external}"

    async def statistics(self, subject: str) -> str:
        uptime = int(self._loop.time() - self._started)
        return format_statistics(measure(self, uptime, self._loop.time()), subject)

    async def commit(self, table: Table | None) -> None:
        expectations = self._expectations_of(table)
        if table is Table.EXPECTATIONS and expectations is None:
            return
        self.reporter.notice(_COMMITTING[table])
        # The flows of a node that takes over again are not to be flushed under it.
        self._cancel_purge()
        if self.injection is not None:
            self.reporter.notice("nothing to commit: the flows of other nodes are in the kernel")
            return
        async with self._committing:
            if table is not Table.EXPECTATIONS:
                await self._commit_flows()
            if expectations is not None:
                await expectations.commit(self.external.table)

    async def _commit_flows(self) -> None:
        try:
            with self.follower.creating(len(self.external)):
                await commit(self.external, self.sync, self.reporter, self.follower.catch_up)
        except (ConntrackError, OSError) as error:
            self.reporter.error(f"commit failed: {error}")
            raise CommandError(f"commit failed: {error}") from error

    def _expectations_of(self, table: Table | None) -> Expectations | None:
        """Where a command is about expectations, and they are replicated."""
        return None if table is Table.FLOWS else self.expectations

    async def flush(self, cache: Cache | None) -> None:
        if cache is None:
            self.reporter.notice("flushing caches")
        if cache is Cache.INTERNAL:
            self.reporter.notice("flushing internal cache")
        if cache is Cache.EXTERNAL:
            self.reporter.notice("flushing external cache")
        if cache is not Cache.EXTERNAL:
            if not self._bypasses:
                self.follower.flush()
            if self.expectations is not None:
                self.expectations.flush_internal()
            self._changed()
        if cache is not Cache.INTERNAL:
            self.external.flush()
            if self.expectations is not None:
                self.expectations.flush_external()
            self.session.external_flushed()

    async def flush_kernel(self, table: Table | None) -> None:
        if table is not Table.EXPECTATIONS:
            await self.kernel.flush()
        if (expectations := self._expectations_of(table)) is not None:
            await expectations.flush_kernel()

    async def resync_kernel(self, table: Table | None) -> None:
        if table is not Table.EXPECTATIONS:
            await self._resync_flows()
        if (expectations := self._expectations_of(table)) is not None:
            await expectations.resync_kernel()

    async def _resync_flows(self) -> None:
        if self._bypasses:
            self.reporter.notice("resync is unsupported in this mode")
            raise CommandError("resync is unsupported in this mode: there is no internal cache")
        if isinstance(self.internal, StandbyCache):
            self.internal.take_over()
            if self.expectations is not None:
                self.expectations.take_over()
        await self.kernel.resync()

    async def request_resync(self) -> None:
        self.reporter.notice("resync requested")
        self.session.request_resync(self._loop.time())
        self.replicator.flush()

    async def send_bulk(self) -> None:
        self.reporter.notice("sending bulk update")
        self._tell_all()
        self.session.send_bulk()
        self.replicator.flush()

    def _tell_all(self) -> None:
        """Where there is no internal cache, a bulk is what the kernel has."""
        if self._bypasses:
            self.follower.resync_soon()

    def _report_bulk_asked_for(self) -> None:
        self.reporter.notice("resync requested by other node")
        self.reporter.notice("sending bulk update")
        self._tell_all()

    def _report_news(self, news: News) -> None:
        (self.reporter.warning if news.trouble else self.reporter.notice)(news.text)

    async def reset_timers(self) -> None:
        self.reporter.notice(f"flushing conntrack table in {self.sync.purge_timeout} secs")
        self._cancel_purge()
        self._purge = self._loop.create_task(self._flush_later(self.sync.purge_timeout))

    def _cancel_purge(self) -> None:
        if self._purge is not None:
            self._purge.cancel()
            self._purge = None

    async def _flush_later(self, seconds: int) -> None:
        await asyncio.sleep(seconds)
        self.reporter.notice("flushing kernel conntrack table (scheduled)")
        try:
            if self.injection is not None and not self._bypasses:
                await delete_own(self.internal, self.follower.catch_up)
            else:
                await self.kernel.flush_now()
        except ConntrackError as error:
            self.reporter.error(f"scheduled flush of the kernel table failed: {error}")

    async def stop(self) -> None:
        self.stopped.set()

    def _now(self) -> int:
        return int(self._loop.time())


def _replication_of(settings: Settings, reporter: Reporter) -> Sync:
    for text in without_effect(settings):
        reporter.warning(text)
    refused = refusals(settings)
    if refused:
        raise StartError("; ".join(refused))
    assert settings.sync is not None
    return settings.sync


def _internal_cache(settings: Settings, sync: Sync, reporter: Reporter) -> InternalCache:
    kind = StandbyCache if sync.disable_external_cache else InternalCache
    if sync.disable_internal_cache:
        reporter.notice("disabling internal cache")
        kind = Bypass
    return kind(
        filter=event_filter(settings.general.filter),
        limit=settings.general.hash_limit or 0,
        buckets=settings.general.hash_size,
        resend_limit=sync.resend_queue_size if _tells_again(sync) else 0,
        timeouts=sync.commit_timeout is None,
        window_scale=sync.tcp_window_tracking,
    )


def _tells_again(sync: Sync) -> bool:
    """Whether what was sent is kept for a while: for a peer that lacks it, or a connection that ends."""
    over_tcp = any(link.transport is Transport.TCP for link in sync.links)
    return sync.mode is Mode.FTFW or (sync.mode is Mode.NOTRACK and over_tcp)


def _session(sync: Sync, internal: InternalCache, external: ExternalCache, now: float) -> Session:
    first = int(time.time()) & 0xFFFFFFFF
    if sync.mode is Mode.FTFW:
        return Ftfw(internal, external, first_sequence=first, now=now, ack_window=sync.ack_window_size)
    if sync.mode is Mode.ALARM:
        return Alarm(
            internal,
            external,
            first_sequence=first,
            now=now,
            refresh_time=sync.refresh_time,
            cache_timeout=sync.cache_timeout,
        )
    return Notrack(internal, external, first_sequence=first, now=now)
