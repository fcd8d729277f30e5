# SPDX-License-Identifier: GPL-2.0-or-later
"""The set of flows that ended during a resync, through the cache that keeps it: growth, and being emptied."""

from __future__ import annotations

from pyconntrack.core.identity_set import IdentitySet
from pyconntrack.core.internal import InternalCache
from tests.core.support_flows import UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import destroy, dumped

COUNT = 4000


def make_flow(number: int) -> KernelFlow:
    return KernelFlow(FlowTuple(bytes(4), number.to_bytes(4, "big"), UDP, (1, 53)), number)


def test_a_set_begins_empty() -> None:
    assert len(IdentitySet()) == 0


def test_many_ends_are_remembered_and_no_others() -> None:
    cache = InternalCache()
    flows = [make_flow(number) for number in range(COUNT)]
    cache.begin_resync()
    for flow in flows[::2]:
        cache.follow(destroy(flow) + destroy(flow), 0)
    for flow in flows:
        cache.merge_dump(dumped(flow, 1), 0)
    assert len(cache) == COUNT // 2
    cache.begin_resync()
    for flow in flows:
        cache.merge_dump(dumped(flow, 1), 0)
    assert len(cache) == COUNT


def test_another_id_of_the_tuple_has_not_ended() -> None:
    cache = InternalCache()
    flow = make_flow(0)
    cache.begin_resync()
    cache.follow(destroy(flow), 0)
    for number in (1, 0xFFFFFFFF):
        flow.id = number
        cache.merge_dump(dumped(flow, 1), 0)
    assert len(cache) == 1
    flow.id = 0
    cache.begin_resync()
    cache.follow(destroy(flow), 0)
    cache.merge_dump(dumped(flow, 1), 0)
    assert cache.counters.created == 1
