# SPDX-License-Identifier: GPL-2.0-or-later
"""Walks over a table in pieces, while it changes."""

from __future__ import annotations

from random import Random

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.listing import list_flows, list_text
from tests.core.support_flows import UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import destroy, event
from tests.core.support_network import send_some
from tests.core.support_wire import DESTROY, NEW, flow_body, message


def make_flow(number: int) -> KernelFlow:
    return KernelFlow(FlowTuple(bytes([10, 0, 0, 1]), number.to_bytes(4, "big"), UDP, (1, 53)), number)


def put(cache: ExternalCache, kind: int, number: int) -> None:
    cache.apply_run(message(kind, 0, 0, flow_body(make_flow(number))), 0, 0, True, 0, 0)


def test_flows_that_stay_are_met_once_whatever_comes_and_goes() -> None:
    random = Random(1)
    cache = ExternalCache()
    staying = range(0, 3000, 3)
    for number in range(3000):
        put(cache, NEW, number)
    batch, cursor = FlowBatch(), 0
    while True:
        reached = list_flows(cache.table, batch, cursor, 100)
        if reached == cursor:
            break
        cursor = reached
        for _ in range(50):
            number = random.randrange(1000)
            put(cache, random.choice((NEW, DESTROY)), number * 3 + 1)
            put(cache, NEW, 10_000 + random.randrange(500))
    met = [int.from_bytes(batch.unpack(index)["original"][3], "big") for index in range(len(batch))]
    assert sorted(number for number in met if number % 3 == 0 and number < 3000) == list(staying)


def test_text_comes_in_pieces_of_whole_lines() -> None:
    cache = ExternalCache()
    for number in range(5000):
        put(cache, NEW, number)
    text, cursor = b"", 0
    while True:
        piece, cursor = list_text(cache.table, cursor, True, False, 7, 1000)
        if not piece:
            break
        assert piece.endswith(b"\n")
        assert piece.count(b"\n") <= 1000
        text += piece
    assert text.count(b"\n") == 5000
    assert b"active since 7s" in text


def test_ended_flows_and_control_messages_are_not_listed() -> None:
    cache = InternalCache(resend_limit=100)
    flows = [make_flow(number) for number in range(3)]
    for flow in flows:
        cache.follow(event(flow, True, ()), 0)
    cache.queue.push_control(8, 1, 2)
    send_some(cache.queue, 1)
    cache.follow(destroy(flows[1]), 0)
    text, cursor = list_text(cache.table, 0, False, False, 0)
    assert text.count(b"\n") == 2
    assert list_text(cache.table, cursor, False, False, 0)[0] == b""
    batch = FlowBatch()
    list_flows(cache.table, batch, 0)
    assert len(batch) == 2


def test_an_empty_table_has_nothing_to_list() -> None:
    cache = ExternalCache()
    assert list_text(cache.table, 0, True, True, 0) == (b"", 0)
    assert list_flows(cache.table, FlowBatch(), 0) == 0
