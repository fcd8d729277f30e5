# SPDX-License-Identifier: GPL-2.0-or-later
"""The external cache: runs of messages, owners, and the books that are kept of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from tests.core.support_flows import UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import event
from tests.core.support_wire import DESTROY, NEW, UPDATE, flow_body, message, read_table, records


def body(number: int, mark: int = 0) -> bytes:
    original = FlowTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), UDP, (number, 53))
    return flow_body(KernelFlow(original, number, mark=mark), 30)


def take(cache: ExternalCache, kind: int, data: bytes, owner: int = 0) -> None:
    datagram = message(kind, 0, 7, data)
    assert cache.apply_run(datagram, 0, 7, True, owner, 0) == len(datagram)


def digest_of(*bodies: bytes) -> tuple[int, int]:
    """What a node would say whose internal cache holds these, by sending them to one that adds up."""
    total = InternalCache()
    for number in range(256):
        original = FlowTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), UDP, (number, 53))
        for mark in range(4):
            flow = KernelFlow(original, number, mark=mark)
            if flow_body(flow, 30) in bodies:
                total.follow(event(flow, True, ()), 0)
    assert len(total) == len(bodies)
    return len(total), total.digest


def test_messages_come_in_runs() -> None:
    cache = ExternalCache()
    parts = [message(NEW, 0, 5 + i, body(i)) for i in range(4)]
    datagram = b"".join(parts)
    assert cache.apply_run(datagram, 0, 5, True, 0, 0) == len(datagram)
    assert (cache.run_length, len(cache)) == (4, 4)


def test_a_run_ends_where_the_numbers_jump() -> None:
    cache = ExternalCache()
    datagram = (
        message(NEW, 0, 0xFFFFFFFF, body(1)) + message(NEW, 0, 0, body(2)) + message(NEW, 0, 2, body(3))
    )
    first_two = len(message(NEW, 0, 0, body(1))) * 2
    assert cache.apply_run(datagram, 0, 0xFFFFFFFF, True, 0, 0) == first_two
    assert (cache.run_length, len(cache)) == (2, 2)
    assert cache.apply_run(datagram, first_two, 1, True, 0, 0) == first_two
    assert cache.run_length == 0
    assert cache.apply_run(datagram, first_two, 1, False, 0, 0) == len(datagram)


def test_a_run_ends_where_the_flags_change() -> None:
    cache = ExternalCache()
    hello = message(NEW, 0x20, 5, body(1)) + message(NEW, 0x20, 6, body(2))
    datagram = hello + message(NEW, 0, 7, body(3))
    assert cache.apply_run(datagram, 0, 5, True, 0, 0) == 0
    assert cache.apply_run(datagram, 0, 5, True, 0, 0, 0x20) == len(hello)
    assert (cache.run_length, len(cache)) == (2, 2)
    assert cache.apply_run(datagram, len(hello), 7, True, 0, 0) == len(datagram)


def test_a_run_may_be_longer_than_a_group() -> None:
    cache = ExternalCache()
    bodies = [body(i) for i in range(40)]
    datagram = b"".join(message(NEW, 0, i, each) for i, each in enumerate(bodies + bodies[:20]))
    datagram += message(DESTROY, 0, 60, bodies[0])
    assert cache.apply_run(datagram, 0, 0, True, 0, 0) == len(datagram)
    assert (cache.run_length, len(cache), cache.counters.updated) == (61, 39, 20)


@pytest.mark.parametrize(
    "stop",
    [message(10, 0x10, 6), b"\x20\0\0\x08\0\0\0\6", b"\x10\0\0\x07\0\0\0\6", b"\x10\0\xff\xff\0\0\0\6",
     b"\x16\0\0\x08\0\0\0\6", b"\x10\x04\0\x08\0\0\0\6", b"\x10\0\0\x08\0\0\0"],
)  # fmt: skip
def test_a_run_ends_before_what_is_no_sound_data(stop: bytes) -> None:
    cache = ExternalCache()
    first = message(NEW, 0, 5, body(1))
    assert cache.apply_run(first + stop, 0, 5, True, 0, 0) == len(first)
    assert (cache.run_length, len(cache)) == (1, 1)


def test_malformed_bodies_and_expectations_are_counted_and_passed() -> None:
    cache = ExternalCache()
    datagram = message(NEW, 0, 1, b"\0\1") + message(3, 0, 2, b"any") + message(UPDATE, 0, 3, body(1))
    assert cache.apply_run(datagram, 0, 1, True, 0, 0) == len(datagram)
    assert (cache.run_length, cache.malformed, cache.ignored, len(cache)) == (3, 1, 1, 1)


def test_offsets_and_owners_are_checked() -> None:
    cache = ExternalCache()
    assert cache.apply_run(b"", 0, 0, True, 0, 0) == 0
    assert cache.apply_run(b"\x10", 4_000_000_000, 0, True, 0, 0) == 4_000_000_000
    with pytest.raises(ValueError, match="owner 64"):
        cache.apply_run(message(NEW, 0, 0, body(1)), 0, 0, True, 64, 0)


def test_a_message_replaces_the_entry() -> None:
    cache = ExternalCache()
    take(cache, NEW, body(1, mark=1))
    take(cache, UPDATE, body(1, mark=2))
    assert read_table(cache.table).unpack(0)["mark"] == 2
    take(cache, NEW, body(1, mark=0))
    assert "mark" not in read_table(cache.table).unpack(0)
    counters = cache.counters
    assert (counters.created, counters.updated, counters.destroyed) == (1, 2, 0)
    take(cache, DESTROY, body(1, mark=3))
    take(cache, DESTROY, body(1))
    assert (len(cache), counters.destroyed, counters.destroy_failed) == (0, 1, 0)


def test_the_limit_holds() -> None:
    cache = ExternalCache(limit=2)
    for number in range(3):
        take(cache, NEW, body(number))
    assert (len(cache), cache.counters.create_failed) == (2, 1)
    take(cache, UPDATE, body(0, mark=1))
    take(cache, DESTROY, body(1))
    take(cache, NEW, body(2))
    assert (len(cache), cache.counters.create_failed) == (2, 1)


def test_a_difference_is_told() -> None:
    cache = ExternalCache()
    assert cache.settle(0, 0, 0)
    take(cache, NEW, body(1))
    count, digest = digest_of(body(1))
    assert cache.settle(0, count, digest)
    assert not cache.settle(0, count, digest + 1)
    assert not cache.settle(0, count + 1, digest)
    assert not cache.settle(0, *digest_of(body(1, mark=1)))
    assert not cache.settle(0, *digest_of(body(1), body(2)))


def test_what_is_left_over_is_dropped_after_a_resync() -> None:
    cache = ExternalCache()
    for number in range(6):
        take(cache, NEW, body(number))
    take(cache, NEW, body(9), owner=1)
    cache.begin_resync(0)
    assert not cache.settle(0, *digest_of(body(4), body(5, mark=1)))
    take(cache, UPDATE, body(4))
    take(cache, UPDATE, body(5, mark=1))
    assert cache.settle(0, *digest_of(body(4), body(5, mark=1)))
    assert cache.sweep(2)
    while cache.sweep(2):
        pass
    assert (len(cache), cache.count_of(0), cache.count_of(1)) == (3, 2, 1)
    assert cache.settle(0, *digest_of(body(4), body(5, mark=1)))
    assert not cache.sweep(2)


def test_a_new_resync_stops_the_sweep() -> None:
    cache = ExternalCache()
    for number in range(6):
        take(cache, NEW, body(number))
    cache.begin_resync(0)
    assert cache.settle(0, 0, 0)
    assert cache.sweep(2)
    cache.begin_resync(0)
    assert not cache.sweep(100)
    assert len(cache) == 4


def test_a_resync_of_an_empty_peer_empties() -> None:
    cache = ExternalCache()
    take(cache, NEW, body(1))
    cache.begin_resync(0)
    assert cache.settle(0, 0, 0)
    assert not cache.sweep(100)
    assert len(cache) == 0


def test_a_flush_leaves_nothing() -> None:
    cache = ExternalCache()
    for number in range(100):
        take(cache, NEW, body(number), owner=number % 3)
    cache.begin_resync(0)
    cache.settle(0, 0, 0)
    assert cache.flush() == 100
    assert (len(cache), cache.count_of(0), cache.counters.destroyed) == (0, 0, 100)
    assert not cache.sweep(10)
    take(cache, NEW, body(1))
    assert cache.settle(0, *digest_of(body(1)))


def test_what_is_old_goes_slot_by_slot() -> None:
    cache = ExternalCache()
    for number in range(100):
        datagram = message(NEW, 0, number, body(number))
        cache.apply_run(datagram, 0, number, True, number % 2, number)
    assert cache.expire(0, 50, 120, 90) == 30
    assert cache.expire(50, 50, 120, 90) == 0
    assert (cache.count_of(0), cache.count_of(1)) == (35, 35)
    datagram = message(UPDATE, 0, 7, body(30))
    cache.apply_run(datagram, 0, 7, True, 0, 200)
    assert cache.expire(0, 0xFFFFFFFF, 200, 99) == 69
    assert (len(cache), cache.counters.destroyed) == (1, 99)
    assert cache.expire(0xFFFFFFFF, 5, 10_000, 1) == 0
    # A clock that stands behind drops nothing.
    assert cache.expire(0, 100, 100, 1) == 0


def whole_and_partial() -> tuple[KernelFlow, KernelFlow]:
    """A flow with everything, and what an event tells of it whose timeout and status alone have changed."""
    original = FlowTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), UDP, (1, 53))
    flow = KernelFlow(
        original, 1, mark=7, helper="ftp", labels=bytes([1] * 16), nat_source=bytes([10, 9, 9, 9])
    )
    return flow, replace(flow, status=14, mark=0, helper="", labels=None, nat_source=None)


def test_an_update_that_tells_only_what_changed_leaves_the_rest_as_it_was() -> None:
    """As a node sends it that keeps no internal cache."""
    whole, partial = whole_and_partial()
    cache = ExternalCache()
    cache.completes = True
    take(cache, NEW, flow_body(whole, 30))
    take(cache, UPDATE, flow_body(partial, 600))
    expected = ExternalCache()
    take(expected, NEW, flow_body(replace(whole, status=14), 600))
    assert records(read_table(cache.table)) == records(read_table(expected.table))
    # Each translation is told with the others.
    take(cache, UPDATE, flow_body(replace(partial, nat_source=None, nat_source_port=7), 600))
    translated = read_table(cache.table).unpack(0)
    assert (translated["source_nat_port"], translated.get("source_nat_address"), translated["mark"]) == (
        7,
        None,
        7,
    )


def test_an_update_of_a_node_that_says_a_digest_tells_all() -> None:
    whole, partial = whole_and_partial()
    cache = ExternalCache()
    cache.completes = True
    take(cache, NEW, flow_body(whole, 30))
    cache.settle(0, 5, 5)
    take(cache, UPDATE, flow_body(partial, 600))
    flow = read_table(cache.table).unpack(0)
    assert not flow.keys() & {"mark", "helper_name", "labels", "source_nat_address"}
    take(cache, UPDATE, flow_body(whole, 600))
    cache.tells_changes(0)
    take(cache, UPDATE, flow_body(partial, 600))
    assert read_table(cache.table).unpack(0)["mark"] == 7


def test_a_new_flow_takes_nothing_from_the_one_before_it() -> None:
    whole, partial = whole_and_partial()
    cache = ExternalCache()
    cache.completes = True
    take(cache, NEW, flow_body(whole, 30))
    take(cache, NEW, flow_body(partial, 30))
    assert "mark" not in read_table(cache.table).unpack(0)


def test_what_changed_is_laid_over_what_the_same_node_said() -> None:
    whole, partial = whole_and_partial()
    cache = ExternalCache()
    cache.completes = True
    take(cache, NEW, flow_body(whole, 30), owner=1)
    take(cache, NEW, flow_body(replace(whole, mark=9), 30), owner=2)
    take(cache, UPDATE, flow_body(partial, 600), owner=1)
    assert read_table(cache.table).unpack(0)["mark"] == 7
