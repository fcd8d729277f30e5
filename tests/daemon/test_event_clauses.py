# SPDX-License-Identifier: GPL-2.0-or-later
"""What the clauses about the kernel's events do: each beside the same without it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pyconntrack import ConntrackTable
from pyconntrack.config import General
from pyconntrack.core.internal import InternalCache
from pyconntrack.daemon.follower import KernelFollower
from testbed import Testbed
from testbed.namespace import Namespace
from tests.peer.flows import plain_tcp_flows

MANY = 1500
# Room for a few events.
SMALL = 8192
DEADLINE = 30.0


class Log:
    """Keeps what is logged, and counts how often the cache may have changed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.turns = 0

    def notice(self, message: str, /) -> None:
        self.lines.append(message)

    warning = error = notice

    def changed(self) -> None:
        self.turns += 1


@pytest.fixture
def namespace(bed: Testbed) -> Namespace:
    return bed.namespace("clauses")


def follow(
    namespace: Namespace, general: General, work: Callable[[KernelFollower, Log], Awaitable[None]]
) -> tuple[KernelFollower, Log]:
    """Do something in a namespace with a follower."""

    async def run() -> tuple[KernelFollower, Log]:
        log = Log()
        follower = KernelFollower(InternalCache(), general, log, log.changed)
        follower.start()
        try:
            async with asyncio.timeout(DEADLINE):
                await work(follower, log)
        finally:
            follower.stop()
        return follower, log

    with namespace.entered():
        return asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def turns_with(namespace: Namespace, limit: int) -> int:
    """In how many turns of the event loop a burst of events is taken."""

    async def burst(follower: KernelFollower, log: Log) -> None:
        with ConntrackTable() as table:
            table.flush()
            assert not table.create_batch(plain_tcp_flows(MANY))
        await until(lambda: len(follower.cache) == MANY)

    general = General(netlink_buffer_size=16 << 20, event_iteration_limit=limit)
    return follow(namespace, general, burst)[1].turns


def test_event_iteration_limit_bounds_what_is_taken_in_a_turn(namespace: Namespace) -> None:
    few, many = turns_with(namespace, 4000), turns_with(namespace, 100)
    # Events are received in groups of up to 64, so that a turn may take a few more than the limit.
    assert many >= MANY // 164 > few


@pytest.mark.parametrize("reliable", [True, False])
def test_reliable_events_wait_until_there_is_room_for_them(namespace: Namespace, reliable: bool) -> None:
    async def end_all_at_once(follower: KernelFollower, log: Log) -> None:
        with ConntrackTable() as table:
            for first in range(1, 400, 4):
                assert not table.create_batch(plain_tcp_flows(4, first=first))
                follower.catch_up()
            assert len(follower.cache) == 400
            table.flush()
        if reliable:
            await until(lambda: len(follower.cache) == 0)
            assert follower.overruns == 0
        else:
            await until(lambda: follower.overruns > 0)
            follower.catch_up()
            assert len(follower.cache) > 0

    general = General(
        netlink_buffer_size=SMALL,
        netlink_buffer_size_max_growth=SMALL,
        netlink_overrun_resync=None,
        netlink_events_reliable=reliable,
    )
    follow(namespace, general, end_all_at_once)
