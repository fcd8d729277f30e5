# SPDX-License-Identifier: GPL-2.0-or-later
"""The way from the kernel to the internal cache, where events are lost or the cache is flushed meanwhile."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pyconntrack import ConntrackTable, Flow, FlowBatch, Tuple
from pyconntrack.config import General, load
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.kernel_codec import receive_flows
from pyconntrack.core.listing import list_flows
from pyconntrack.core.netlink_receiver import NetlinkReceiver
from pyconntrack.daemon import follower as follower_module
from pyconntrack.daemon.control import Cache
from pyconntrack.daemon.follower import KernelFollower
from pyconntrack.daemon.node import Node
from testbed import Testbed
from testbed.namespace import Namespace

UDP = Tuple("10.0.0.1", "10.0.0.2", 17, 1000, 53)
# More than a dump tells in one step.
MANY = 3000

CONFIGURATION = """
Sync {
  Mode FTFW { }
  UDP {
    IPv4_address 127.0.0.1
    IPv4_Destination_Address 127.0.0.2
    Port 3780
    Interface lo
  }
}
General {
  LockFile DIR/lock
  UNIX { Path DIR/ctl }
}
"""


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


class Silent:
    """A log that nobody reads."""

    def notice(self, message: str, /) -> None: ...

    def warning(self, message: str, /) -> None: ...

    def error(self, message: str, /) -> None: ...


@pytest.fixture
def namespace(bed: Testbed) -> Namespace:
    return bed.namespace("follower")


def many(count: int) -> FlowBatch:
    batch = FlowBatch()
    for number in range(count):
        source = b"\x0b" + number.to_bytes(3, "big")
        batch.pack({"original": (2, 17, source, b"\x0b\0\0\1", 1, 2, 0, 0, 0), "timeout": 600})
    return batch


def mark_of(cache: InternalCache, port: int) -> int:
    batch = FlowBatch()
    list_flows(cache.table, batch, 0, 100_000)
    flows = [batch.unpack(index) for index in range(len(batch))]
    return next(int(flow["mark"]) for flow in flows if flow["original"][4] == port)


def test_events_from_before_a_resync_do_not_overrule_it(namespace: Namespace) -> None:
    """Of two changes, the first one's event waits in a socket that had no room for the second one's."""

    async def run() -> InternalCache:
        cache = InternalCache()
        general = General(netlink_buffer_size=8192, netlink_overrun_resync=None)
        follower = KernelFollower(cache, general, Silent(), lambda: None)
        follower.start()
        with ConntrackTable() as table:
            table.create(Flow(original=UDP, timeout=600, mark=1))
            table.create_batch(many(100))
            table.update(Flow(original=UDP, mark=2))
        await follower.resync()
        # Whatever still waits is taken, too.
        follower.catch_up()
        follower.catch_up()
        assert follower.overruns == 1
        follower.stop()
        return cache

    with namespace.entered():
        cache = asyncio.run(run())
    assert len(cache) == 101
    assert mark_of(cache, UDP.source_port) == 2


def test_a_digest_is_of_the_whole_table_only(namespace: Namespace, tmp_path: Path) -> None:
    """A flush in the middle of a dump: what the dump told before is missing when it ends."""
    configuration = tmp_path / "conntrackd.conf"
    configuration.write_text(CONFIGURATION.replace("DIR", str(tmp_path)))

    async def run() -> None:
        node = Node(load(str(configuration)).settings, Silent())
        await node.start()
        assert node.session.says_digest
        await node.flush(Cache.INTERNAL)
        assert not node.session.says_digest
        resync = asyncio.create_task(node.resync_kernel(None))
        while not len(node.internal):
            await asyncio.sleep(0)
        await node.flush(Cache.INTERNAL)
        assert not resync.done()
        await resync
        assert not node.session.says_digest
        while not node.session.says_digest:
            await asyncio.sleep(0.01)
        assert len(node.internal) == MANY
        await node.stop_all()

    async def run_to_an_end() -> None:
        async with asyncio.timeout(30.0):
            await run()

    with namespace.entered():
        with ConntrackTable() as table:
            table.create_batch(many(MANY))
        asyncio.run(run_to_an_end())


def test_a_flow_that_ends_without_an_event_leaves_the_cache(namespace: Namespace) -> None:
    """A flow that began while the kernel made no events never tells of its end."""

    async def run() -> None:
        cache = InternalCache()
        follower = KernelFollower(cache, General(), Silent(), lambda: None, reread_seconds=0.1)
        follower.start()
        await follower.resync()
        assert len(cache) == cache.unheard == 1
        with ConntrackTable() as table:
            table.create(Flow(original=replace(UDP, source_port=1001), timeout=600))
            while len(cache) < 2:
                await asyncio.sleep(0.01)
            assert cache.unheard == 1
            table.delete(UDP)
        while len(cache) > 1:
            await asyncio.sleep(0.01)
        assert cache.unheard == 0
        follower.stop()

    async def run_to_an_end() -> None:
        async with asyncio.timeout(30.0):
            await run()

    with namespace.entered():
        namespace.sysctl("net.netfilter.nf_conntrack_events", "0")
        with ConntrackTable() as table:
            table.create(Flow(original=UDP, timeout=600))
        namespace.sysctl("net.netfilter.nf_conntrack_events", "2")
        asyncio.run(run_to_an_end())


def test_many_who_ask_for_a_resync_share_the_next_one(namespace: Namespace) -> None:
    """Where there is no internal cache, each bulk that a peer asks for is one, and may last."""

    async def run() -> None:
        follower = KernelFollower(InternalCache(), General(), Silent(), lambda: None)
        follower.start()
        follower.resync_soon()
        while not follower.resyncs:
            await asyncio.sleep(0)
        for _ in range(5):
            follower.resync_soon()
            await asyncio.sleep(0)
        assert follower.resyncs == 1
        while follower._tasks:
            await asyncio.sleep(0.01)
        assert follower.resyncs == 2
        follower.resync_soon()
        while follower._tasks:
            await asyncio.sleep(0.01)
        assert follower.resyncs == 3
        follower.stop()
        follower.catch_up()
        assert follower.failures == 0

    with namespace.entered():
        with ConntrackTable() as table:
            table.create_batch(many(3 * MANY))
        asyncio.run(asyncio.wait_for(run(), 30.0))


def test_a_large_iteration_limit_does_not_hold_the_loop(namespace: Namespace) -> None:
    """Other callbacks get their turn while thousands of events wait."""

    async def run() -> list[int]:
        cache = InternalCache()
        general = General(netlink_buffer_size=64 << 20, event_iteration_limit=2**31 - 1)
        follower = KernelFollower(cache, general, Silent(), lambda: None)
        follower.start()
        with ConntrackTable() as table:
            table.create_batch(many(20_000))
        seen = []
        while len(cache) < 20_000:
            await asyncio.sleep(0)
            seen.append(len(cache))
        follower.stop()
        return seen

    async def run_to_an_end() -> list[int]:
        async with asyncio.timeout(30.0):
            return await run()

    with namespace.entered():
        seen = asyncio.run(run_to_an_end())
    assert any(0 < count < 10_000 for count in seen)


class Warnings(Silent):
    """A log of warnings."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def warning(self, message: str, /) -> None:
        self.texts.append(message)


def leave_out(batch: FlowBatch) -> int:
    """A part of a dump that tells no flows."""
    batch.clear()
    return 0


def cannot_be_read(batch: FlowBatch) -> int:
    """A part of a dump with a flow that cannot be read."""
    rest = batch.unpack(0)
    batch.clear()
    batch.pack(rest)
    return 1


@pytest.mark.parametrize("spoil", [leave_out, cannot_be_read])
@pytest.mark.parametrize("times", [2, 100])
def test_a_dump_that_leaves_flows_out_ends_none(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[FlowBatch], int], times: int
) -> None:
    """The kernel does not always flag a dump that is not whole. One that never seems whole is believed."""
    spoiled = 0

    def receive(
        receiver: NetlinkReceiver, batch: FlowBatch, limit: int, events: bool
    ) -> tuple[int, int, int]:
        nonlocal spoiled
        found, number, malformed = receive_flows(receiver, batch, limit, events)
        if len(batch) and spoiled < times:
            spoiled += 1
            malformed = spoil(batch)
        return found, number, malformed

    async def run(log: Warnings) -> list[int]:
        cache = InternalCache()
        follower = KernelFollower(cache, General(netlink_buffer_size=1 << 20), log, lambda: None)
        follower.start()
        with ConntrackTable() as table:
            table.create_batch(many(200))
        follower.catch_up()
        monkeypatch.setattr(follower_module, "receive_flows", receive)
        sizes = []
        for _ in range(4):
            await follower.resync()
            sizes.append(len(cache))
        follower.stop()
        return sizes

    log = Warnings()
    with namespace.entered():
        sizes = asyncio.run(run(log))
    if times == 2:
        assert sizes == [200, 200, 200, 200]
        assert log.texts == []
    else:
        assert sizes[:3] == [200, 200, 200]
        assert sizes[3] < 200
        assert len(log.texts) == 1
        assert "of the 200 that it counts" in log.texts[0]


def test_of_many_flows_that_this_process_creates_no_events_are_heard(namespace: Namespace) -> None:
    """They are read from the table afterwards, but whatever else happens meanwhile is heard."""
    flows = many(follower_module._HEARD_MOST)

    async def run() -> None:
        follower = KernelFollower(
            InternalCache(), General(netlink_buffer_size=8 << 20), Silent(), lambda: None
        )
        follower.start()
        with ConntrackTable() as table:
            table.create(Flow(original=UDP, timeout=600))
            await until(lambda: len(follower.cache) == 1)
            heard = follower.events_received
            with follower.creating(len(flows)):
                table.create_batch(flows)
                table.update(Flow(original=UDP, mark=7))
                follower.catch_up()
                assert follower.events_received == heard + 1
                assert mark_of(follower.cache, UDP.source_port) == 7
                assert not follower.populated
            await until(lambda: follower.populated)
            assert len(follower.cache) == len(flows) + 1
            table.create(Flow(original=replace(UDP, source_port=1001), timeout=600))
            await until(lambda: len(follower.cache) == len(flows) + 2)
            assert follower.resyncs == 1
        follower.stop()

    with namespace.entered():
        asyncio.run(asyncio.wait_for(run(), 30.0))


@pytest.mark.parametrize("before", [0, follower_module._HEARD_MOST])
def test_of_flows_that_are_few_events_are_heard(namespace: Namespace, before: int) -> None:
    """Few, or fewer than are there already."""

    async def run() -> None:
        follower = KernelFollower(
            InternalCache(), General(netlink_buffer_size=8 << 20), Silent(), lambda: None
        )
        follower.start()
        with ConntrackTable() as table:
            table.create_batch(many(before))
            flows = before or follower_module._HEARD_MOST - 1
            with follower.creating(flows):
                table.create(Flow(original=UDP, timeout=600))
            await until(lambda: len(follower.cache) == before + 1)
            assert follower.resyncs == 0
        follower.stop()

    with namespace.entered():
        asyncio.run(asyncio.wait_for(run(), 30.0))


@pytest.mark.parametrize("flushed", [False, True])
def test_what_a_commit_creates_is_not_read_again_and_again(namespace: Namespace, flushed: bool) -> None:
    """The kernel tells of the ends of its flows; but after a flush, nobody knows which those are."""

    async def run() -> None:
        follower = KernelFollower(
            InternalCache(), General(netlink_buffer_size=8 << 20), Silent(), lambda: None
        )
        with ConntrackTable() as table:
            table.create(Flow(original=UDP, timeout=600))
            follower.start()
            await follower.resync()
            assert follower.cache.unheard == 1
            with follower.creating(follower_module._HEARD_MOST):
                table.create_batch(many(MANY))
                if flushed:
                    follower.flush()
            await until(lambda: follower.populated)
            assert follower.cache.unheard == (MANY + 1 if flushed else 1)
            table.flush()
            await until(lambda: len(follower.cache) <= 1)
        follower.stop()

    with namespace.entered():
        asyncio.run(asyncio.wait_for(run(), 30.0))


def test_a_resync_while_new_flows_go_unheard_does_not_make_the_cache_whole(namespace: Namespace) -> None:
    """Nor one that began then and ends later."""

    async def run() -> None:
        follower = KernelFollower(
            InternalCache(), General(netlink_buffer_size=8 << 20), Silent(), lambda: None
        )
        follower.start()
        with ConntrackTable() as table:
            with follower.creating(follower_module._HEARD_MOST):
                table.create_batch(many(MANY))
                await follower.resync()
                assert len(follower.cache) == MANY
                assert not follower.populated
                begun = asyncio.create_task(follower.resync())
                while follower.resyncs < 2:
                    await asyncio.sleep(0)
                table.create(Flow(original=UDP, timeout=600))
            await begun
            assert not follower.populated
            await until(lambda: follower.populated)
            assert len(follower.cache) == MANY + 1
        follower.stop()

    with namespace.entered():
        asyncio.run(asyncio.wait_for(run(), 30.0))


def test_a_resync_that_fails_takes_no_other_ones_place(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is planned, since events were lost; a client asks for one before, which fails."""

    async def fail(*_: object) -> bool:
        raise OSError(errno.ENOMEM, "no memory")

    async def run() -> None:
        follower = KernelFollower(InternalCache(), General(), Silent(), lambda: None)
        follower.start()
        follower._overrun()
        with monkeypatch.context() as patch:
            patch.setattr(follower, "_dump", fail)
            patch.setattr(follower_module, "_AFTER_FAILURE", 0.01)
            with pytest.raises(OSError, match="no memory"):
                await follower.resync()
        await until(lambda: follower.populated)
        follower.stop()

    with namespace.entered():
        asyncio.run(asyncio.wait_for(run(), 20.0))


def test_a_flush_ends_a_resync_and_the_next_one_is_the_last(namespace: Namespace) -> None:
    async def run() -> None:
        follower = KernelFollower(
            InternalCache(), General(netlink_buffer_size=8 << 20), Silent(), lambda: None
        )
        with ConntrackTable() as table:
            table.create_batch(many(MANY))
        follower.start()
        resync = asyncio.create_task(follower.resync())
        while not len(follower.cache):
            await asyncio.sleep(0)
        follower.flush()
        await resync
        assert not follower.populated
        assert len(follower.cache) == 0
        await follower.resync()
        assert follower.populated
        assert len(follower.cache) == MANY
        assert follower._scheduled is None
        follower.stop()

    with namespace.entered():
        asyncio.run(asyncio.wait_for(run(), 30.0))
