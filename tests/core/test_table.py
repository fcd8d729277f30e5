# SPDX-License-Identifier: GPL-2.0-or-later
"""The flow table, through the caches on it: against a dict, at its limits, in growth."""

from __future__ import annotations

import struct
from random import Random

import pytest

from pyconntrack.core.external import ExternalCache
from pyconntrack.core.table import FlowTable
from tests.core.support_flows import PORT_PROTOCOLS, UDP, FlowTuple, KernelFlow, random_flow, random_tuple
from tests.core.support_wire import DESTROY, NEW, attribute, flow_body, message, read_table

HERE, THERE = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])


def take(cache: ExternalCache, kind: int, data: bytes) -> None:
    cache.apply_run(message(kind, 0, 0, data), 0, 0, True, 0, 0)


def plain_body(number: int) -> bytes:
    """A flow named by a number of 32 bits, without the detour of a KernelFlow."""
    return (
        attribute(0, struct.pack(">II", 0x0A000001, number)) + attribute(5, b"\0\0\0\1")
        + attribute(2, b"\x11") + attribute(3, b"\0\1\0\2")
    )  # fmt: skip


def test_the_table_against_a_dict() -> None:
    random = Random(1)
    cache = ExternalCache()
    held: dict[object, bytes] = {}
    tuples = [(random_tuple(random, hosts=9), random.choice((0, 0, 1, 0xFFFF))) for _ in range(400)]
    for step in range(20_000):
        original, zone = random.choice(tuples)
        if random.random() < 0.55:
            data = flow_body(random_flow(random, step, original, zone), step % 100, True, True)
            take(cache, NEW, data)
            held[original, zone] = data
        elif (original, zone) in held:
            take(cache, DESTROY, held.pop((original, zone)))
        assert len(cache) == len(held)
    copy = ExternalCache()
    for data in held.values():
        take(copy, NEW, data)
    assert bytes_of(copy) == bytes_of(cache)


def bytes_of(cache: ExternalCache) -> list[str]:
    batch = read_table(cache.table)
    return sorted(repr(batch.unpack(index)) for index in range(len(batch)))


@pytest.mark.parametrize("buckets", [0, 1, 100_000])
def test_growth_keeps_every_entry(buckets: int) -> None:
    cache = ExternalCache(buckets=buckets)
    count = 40_000
    for number in range(count):
        take(cache, NEW, plain_body(number))
    assert len(cache) == count
    for number in range(0, count, 2):
        take(cache, DESTROY, plain_body(number))
    assert len(cache) == count // 2
    for number in range(count):
        take(cache, NEW, plain_body(number))
    assert (len(cache), cache.counters.updated) == (count, count // 2)
    for number in range(count):
        take(cache, DESTROY, plain_body(number))
    assert (len(cache), cache.counters.destroy_failed) == (0, 0)


def test_what_one_flow_leaves_the_next_one_takes() -> None:
    cache = ExternalCache()
    for number in range(5000):
        take(cache, NEW, plain_body(number))
    memory = cache.table.memory
    for number in range(5000, 60_000):
        take(cache, DESTROY, plain_body(number - 5000))
        take(cache, NEW, plain_body(number))
    assert len(cache) == 5000
    # The index may have grown once more where a part of it filled up.
    assert cache.table.memory <= memory * 1.25


def test_an_entry_costs_little() -> None:
    cache = ExternalCache()
    for number in range(100_000):
        take(cache, NEW, plain_body(number) + attribute(4, b"\3"))
    assert cache.table.memory / len(cache) < 160


def test_a_flush_gives_memory_back() -> None:
    cache = ExternalCache()
    empty = cache.table.memory
    for number in range(20_000):
        take(cache, NEW, plain_body(number))
    full = cache.table.memory
    cache.flush()
    assert empty <= cache.table.memory < full / 2
    take(cache, NEW, plain_body(1))
    assert len(cache) == 1


@pytest.mark.parametrize(
    "differing",
    [
        FlowTuple(HERE, THERE, 6, (1, 2)),
        FlowTuple(THERE, HERE, UDP, (1, 2)),
        FlowTuple(HERE, THERE, UDP, (2, 1)),
        FlowTuple(HERE, THERE, 50),
        FlowTuple(HERE + bytes(12), THERE + bytes(12), UDP, (1, 2)),
        FlowTuple(HERE, THERE, 1, icmp=(8, 0, 1)),
        FlowTuple(HERE, THERE, 1, icmp=(8, 1, 1)),
        FlowTuple(HERE, THERE, 1, icmp=(8, 0, 2)),
        FlowTuple(HERE, THERE, 1, icmp=(0, 0, 1)),
        FlowTuple(HERE, THERE, 47),
        FlowTuple(HERE, THERE, 47, (1, 2)),
    ],
)
def test_each_part_of_the_key_counts(differing: FlowTuple) -> None:
    cache = ExternalCache()
    flows = [KernelFlow(FlowTuple(HERE, THERE, UDP, (1, 2)), 1), KernelFlow(differing, 2)]
    flows += [KernelFlow(flow.original, 3, zone=4) for flow in flows]
    for flow in flows:
        take(cache, NEW, flow_body(flow))
    assert len(cache) == 4
    for flow in flows:
        take(cache, NEW, flow_body(flow))
    assert (len(cache), cache.counters.updated) == (4, 4)
    for flow in flows:
        take(cache, DESTROY, flow_body(flow))
    assert (len(cache), cache.counters.destroy_failed) == (0, 0)


def test_ports_of_zero_are_ports() -> None:
    cache = ExternalCache()
    for protocol in sorted(PORT_PROTOCOLS):
        for ports in ((0, 0), (0, 1), (1, 0)):
            take(cache, NEW, flow_body(KernelFlow(FlowTuple(bytes(4), bytes(4), protocol, ports), 1)))
    assert len(cache) == 3 * len(PORT_PROTOCOLS)


def test_a_table_tells_its_limit_and_size() -> None:
    table = FlowTable(limit=5)
    assert (len(table), table.limit) == (0, 5)
    assert table.memory > 0


def body_between(addresses: bytes, port: int) -> bytes:
    return (
        attribute(0 if len(addresses) == 8 else 1, addresses) + attribute(5, b"\0\0\0\1")
        + attribute(2, b"\x11") + attribute(3, struct.pack(">HH", port, 53))
    )  # fmt: skip


@pytest.mark.parametrize(
    "addresses",
    [
        struct.pack("=Q", 0xA0761D6478BD642F),
        struct.pack("=Q", 0xA0761D6478BD642F) + bytes(24),
        bytes(16) + struct.pack("=Q", 0xE7037ED1A0B428DB) + bytes(8),
    ],
)
def test_no_addresses_cancel_the_ports(addresses: bytes) -> None:
    """Addresses that equal a constant of the hash function, which are anybody's to choose."""
    attacked, usual = ExternalCache(), ExternalCache()
    for port in range(2000):
        take(attacked, NEW, body_between(addresses, port))
        take(usual, NEW, body_between(bytes(len(addresses)), port))
    # Flows that all have one hash pile up in one part of the index, which grows for them alone.
    assert attacked.table.memory < usual.table.memory + 16_384
