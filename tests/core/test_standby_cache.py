# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose flows they are, by their events: the set of those that are lent, beside one of Python's."""

from __future__ import annotations

import sys
from random import Random

import pytest

from pyconntrack.core.standby_cache import StandbyCache
from tests.core.support_flows import UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import destroy, dumped, event

PORT = 77
FLOWS = 3000


def make_flow(number: int) -> KernelFlow:
    return KernelFlow(FlowTuple(bytes(4), number.to_bytes(4, "big"), UDP, (1, 53)), number)


def caused_by(port: int, message: bytes) -> bytes:
    """An event that names who caused it, in the netlink header's port id."""
    return message[:12] + port.to_bytes(4, sys.byteorder) + message[16:]


@pytest.mark.parametrize("seed", range(3))
def test_many_flows_are_lent_and_leave_in_any_order(seed: int) -> None:
    random = Random(seed)
    cache = StandbyCache()
    cache.port = PORT
    lent: set[int] = set()
    for _ in range(20):
        for number in random.sample(range(FLOWS), 600):
            cache.follow(caused_by(PORT, event(make_flow(number), True, ())), 0)
            lent.add(number)
        for number in random.sample(sorted(lent), len(lent) // 2):
            cause = random.choice((0, PORT, 78))
            cache.follow(caused_by(cause, destroy(make_flow(number))), 0)
            lent.discard(number)
        assert cache.lent_count == len(lent)
    assert (len(cache), cache.queue.waiting) == (0, 0)
    # All that a dump names beside them is this node's.
    cache.begin_resync()
    cache.merge_dump(b"".join(dumped(make_flow(number), 30) for number in range(FLOWS)), 0)
    cache.end_resync()
    assert (len(cache), cache.lent_count) == (FLOWS - len(lent), len(lent))


def test_a_resync_forgets_what_was_lent_and_has_ended_unheard() -> None:
    cache = StandbyCache()
    cache.port = PORT
    for number in range(100):
        cache.follow(caused_by(PORT, event(make_flow(number), True, ())), 0)
    cache.begin_resync()
    cache.merge_dump(b"".join(dumped(make_flow(number), 30) for number in range(0, 100, 2)), 0)
    # Lent while the dump runs, too late for it, and gone while it runs.
    cache.follow(caused_by(PORT, event(make_flow(100), True, ())), 0)
    cache.follow(destroy(make_flow(0)), 0)
    cache.end_resync()
    assert (len(cache), cache.lent_count) == (0, 50)
