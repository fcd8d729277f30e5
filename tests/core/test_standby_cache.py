# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose flows they are, by their events: the set of those that are lent, beside one of Python's."""

from __future__ import annotations

import sys
from dataclasses import replace
from random import Random

import pytest

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.filter import EventFilter
from pyconntrack.core.standby_cache import StandbyCache
from tests.core.support_flows import TCP, UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import destroy, dumped, event
from tests.core.support_wire import read_table

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


class Shared:
    """A cache with one connection, of which packets and a peer's messages have news."""

    def __init__(self, accepted: EventFilter | None = None) -> None:
        self.cache = StandbyCache(filter=accepted)
        self.cache.port = PORT
        original = replace(make_flow(1).original, protocol=TCP)
        self.flow = KernelFlow(original, 1)

    def tell(self, state: int, cause: int, now: int) -> None:
        self.flow.tcp = (state, 0, 0)
        self.cache.follow(caused_by(cause, event(self.flow, False, ("protocol",))), now)

    @property
    def state(self) -> int:
        return int(read_table(self.cache.table).unpack(0)["tcp_state"])


def test_an_entry_follows_what_a_message_made_of_its_flow_and_its_age_goes_on() -> None:
    shared = Shared()
    cache = shared.cache
    shared.tell(2, 0, 10)
    cache.queue.fill(Datagrams(1400), 1, 0)
    first = cache.digest
    shared.tell(3, PORT, 11)
    assert (shared.state, cache.queue.waiting, cache.lent_count) == (3, 0, 0)
    assert cache.digest != first
    shared.tell(2, PORT, 11)
    assert (shared.state, cache.digest) == (2, first)
    shared.tell(3, PORT, 12)
    assert (len(cache), cache.lent_count) == (0, 1)


def test_an_entry_does_not_follow_into_a_state_that_is_kept_out() -> None:
    shared = Shared(EventFilter(states={TCP: [2]}))
    shared.tell(2, 0, 10)
    shared.tell(3, PORT, 11)
    assert shared.state == 2
