# SPDX-License-Identifier: GPL-2.0-or-later
"""The sending queue and the resend queue, through an internal cache that fills them."""

from __future__ import annotations

from random import Random

import pytest

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.queue import write_alive, write_control, write_digest
from tests.core.support_flows import UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import destroy, event
from tests.core.support_network import messages_of, send_some
from tests.core.support_wire import DESTROY, NEW, UPDATE, cache_of, flow_body

ACK, NACK, RESYNC = 8, 4, 2
CONTROL = 10


def make_flow(number: int) -> KernelFlow:
    original = FlowTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), UDP, (number, 53))
    return KernelFlow(original, number)


def make_cache(count: int, resend_limit: int = 1000) -> tuple[InternalCache, list[KernelFlow]]:
    cache = InternalCache(resend_limit=resend_limit)
    flows = [make_flow(number) for number in range(1, count + 1)]
    for flow in flows:
        cache.follow(event(flow, True, ()), 0)
    return cache, flows


def test_flows_go_out_in_order_under_successive_numbers() -> None:
    cache, flows = make_cache(50)
    sent = send_some(cache.queue, 0xFFFFFFF0, 0x20)
    assert [message.sequence for message in sent] == [(0xFFFFFFF0 + i) & 0xFFFFFFFF for i in range(50)]
    assert [message.body for message in sent] == [flow_body(flow, flow.timeout) for flow in flows]
    assert {(message.kind, message.flags) for message in sent} == {(NEW, 0x20)}
    assert (cache.queue.waiting, cache.queue.unacknowledged, cache.queue.messages_sent) == (0, 50, 50)


def test_an_entry_waits_once_and_goes_out_as_it_is_then() -> None:
    cache, (flow,) = make_cache(1)
    for mark in (1, 2, 3):
        flow.mark = mark
        cache.follow(event(flow, False, ("mark",)), 0)
    (sent,) = send_some(cache.queue, 1)
    assert (sent.kind, sent.body) == (NEW, flow_body(flow, flow.timeout))
    flow.mark = 4
    cache.follow(event(flow, False, ("mark",)), 0)
    assert cache.queue.unacknowledged == 0
    (sent,) = send_some(cache.queue, 2)
    assert (sent.kind, sent.body) == (UPDATE, flow_body(flow, flow.timeout))


def test_a_flow_that_ends_before_it_was_told_leaves_the_table_silently() -> None:
    cache, (flow,) = make_cache(1)
    cache.follow(destroy(flow), 0)
    assert send_some(cache.queue, 7) == []
    assert (len(cache), len(cache.table)) == (0, 0)
    assert (cache.counters.created, cache.counters.destroyed) == (1, 1)


def test_a_new_flow_in_the_place_of_one_that_was_told_has_an_end_to_tell() -> None:
    cache, (flow,) = make_cache(1)
    send_some(cache.queue, 1)
    cache.follow(destroy(flow), 0)
    flow.id = 99
    cache.follow(event(flow, True, ()), 0)
    cache.follow(destroy(flow), 0)
    (sent,) = send_some(cache.queue, 7)
    assert sent.kind == DESTROY


def test_a_flow_that_ends_goes_out_as_a_destroy_and_leaves_the_table() -> None:
    cache, (flow,) = make_cache(1)
    send_some(cache.queue, 1)
    cache.queue.acknowledge(1, 1)
    cache.follow(destroy(flow), 0)
    (sent,) = send_some(cache.queue, 7)
    assert sent.kind == DESTROY
    assert (len(cache), len(cache.table)) == (0, 1)
    assert cache.queue.acknowledge(7, 7) == 1
    assert len(cache.table) == 0


def test_a_new_flow_takes_the_place_of_a_dead_one() -> None:
    cache, (flow,) = make_cache(1)
    send_some(cache.queue, 1)
    cache.follow(destroy(flow), 0)
    flow.id = 99
    flow.mark = 5
    cache.follow(event(flow, True, ()), 0)
    (sent,) = send_some(cache.queue, 2)
    assert (sent.kind, sent.body) == (NEW, flow_body(flow, flow.timeout))
    assert cache.queue.acknowledge(1, 2) == 1
    assert (len(cache), len(cache.table)) == (1, 1)


@pytest.mark.parametrize("first", [1, 0x7FFFFFFB, 0xFFFFFFFB])
def test_acknowledgements_name_ranges_across_the_wrap(first: int) -> None:
    cache, _ = make_cache(10)
    send_some(cache.queue, first)
    number = [(first + i) & 0xFFFFFFFF for i in range(10)]
    assert cache.queue.acknowledge((first - 100) & 0xFFFFFFFF, (first - 1) & 0xFFFFFFFF) == 0
    assert cache.queue.acknowledge(number[3], number[5]) == 3
    assert [entry[0] for entry in cache.queue.list_resend(99)] == number[:3] + number[6:]
    assert cache.queue.acknowledge(number[9], (first + 1000) & 0xFFFFFFFF) == 1
    assert cache.queue.acknowledge((first - 5) & 0xFFFFFFFF, number[9]) == 6
    assert cache.queue.unacknowledged == 0


@pytest.mark.parametrize("first", [1, 0x7FFFFFFB, 0xFFFFFFFB])
def test_what_is_asked_for_goes_out_again_as_it_is_now(first: int) -> None:
    cache, flows = make_cache(10)
    send_some(cache.queue, first)
    flows[4].mark = 77
    cache.follow(event(flows[4], False, ("mark",)), 0)
    cache.follow(destroy(flows[5]), 0)
    send_some(cache.queue, first + 10)
    assert cache.queue.send_again((first + 3) & 0xFFFFFFFF, (first + 10) & 0xFFFFFFFF) == 6
    again = send_some(cache.queue, first + 20)
    # What changed since stands in the queue at its newest number, 4 under first + 10 and 5 under first + 11.
    assert [sent.body for sent in again] == [
        flow_body(flows[i], flows[i].timeout) for i in (3, 6, 7, 8, 9, 4)
    ]
    assert [sent.sequence for sent in again] == [(first + 20 + i) & 0xFFFFFFFF for i in range(6)]


def test_a_full_resend_queue_forgets_its_oldest() -> None:
    cache, flows = make_cache(10, resend_limit=4)
    send_some(cache.queue, 1)
    assert [entry[0] for entry in cache.queue.list_resend(99)] == [7, 8, 9, 10]
    assert cache.queue.forgotten == 6
    assert cache.queue.send_again(1, 6) == 0
    cache.follow(destroy(flows[0]), 0)
    send_some(cache.queue, 11)
    assert (len(cache), len(cache.table)) == (9, 10)
    for flow in flows[1:5]:
        flow.mark = 7
        cache.follow(event(flow, False, ("mark",)), 0)
    send_some(cache.queue, 12)
    # The flow that had ended was among the forgotten, and is kept no longer.
    assert (len(cache), len(cache.table)) == (9, 9)


def test_without_a_resend_queue_nothing_is_kept() -> None:
    cache, flows = make_cache(3, resend_limit=0)
    cache.follow(destroy(flows[0]), 0)
    send_some(cache.queue, 1)
    assert (cache.queue.unacknowledged, len(cache.table)) == (0, 2)


def test_control_messages_go_first_and_are_kept() -> None:
    cache, _ = make_cache(2)
    cache.queue.push_control(ACK, 5, 9)
    sent = send_some(cache.queue, 1, 0x40)
    assert (sent[0].kind, sent[0].flags, sent[0].body) == (CONTROL, 0x48, bytes.fromhex("0000000500000009"))
    assert cache.queue.list_resend(1) == [(1, ACK)]
    assert cache.queue.send_again(1, 1) == 1
    assert send_some(cache.queue, 9)[0].body == sent[0].body
    assert cache.queue.acknowledge(1, 9) == 3
    assert len(cache.table) == 2


def test_a_peer_that_starts_anew_gets_what_it_did_not_acknowledge() -> None:
    cache, flows = make_cache(3)
    cache.queue.push_control(ACK, 5, 9)
    cache.queue.push_control(NACK, 5, 9)
    cache.queue.push_control(RESYNC, 0, 0)
    send_some(cache.queue, 1)
    assert cache.queue.unacknowledged == 6
    assert cache.queue.send_all_again() == 6
    again = send_some(cache.queue, 10)
    assert [sent.flags for sent in again if sent.kind == CONTROL] == [RESYNC]
    assert [sent.body for sent in again if sent.kind != CONTROL] == [flow_body(f, f.timeout) for f in flows]


def test_a_bulk_has_every_living_flow_once() -> None:
    cache, flows = make_cache(5)
    send_some(cache.queue, 1)
    cache.follow(destroy(flows[0]), 0)
    flows[1].mark = 3
    cache.follow(event(flows[1], False, ("mark",)), 0)
    cache.queue.push_all()
    sent = send_some(cache.queue, 10)
    assert sorted(message.kind for message in sent) == [UPDATE] * 4 + [DESTROY]
    bodies = [message.body for message in sent if message.kind == UPDATE]
    assert cache_of(bodies).settle(0, len(cache), cache.digest)


def test_a_flush_keeps_control_messages_where_they_wait() -> None:
    cache, _ = make_cache(5)
    cache.queue.push_control(ACK, 1, 2)
    send_some(cache.queue, 1, limit=3)
    cache.queue.push_control(NACK, 3, 4)
    assert cache.flush() == 5
    assert (len(cache), cache.digest, len(cache.table)) == (0, 0, 0)
    assert cache.queue.list_resend(9) == [(1, ACK)]
    assert [(sent.flags, sent.body[3]) for sent in send_some(cache.queue, 9)] == [(NACK, 3)]
    assert (cache.queue.controls, cache.queue.controls_kept) == (2, 2)
    assert cache.queue.acknowledge(1, 9) == 2
    assert (cache.queue.controls, cache.queue.controls_kept) == (0, 0)
    assert cache.queue.push_control(ACK, 5, 6)


def test_messages_stop_at_the_limit_and_at_full_datagrams() -> None:
    cache, _ = make_cache(100)
    out = Datagrams(600, 2)
    assert cache.queue.fill(out, 1, 0, 5) == 5
    written = cache.queue.fill(out, 6, 0)
    assert 5 + written == len(messages_of(out)) < 100
    assert all(len(out[index]) <= 600 for index in range(len(out)))
    assert cache.queue.fill(out, 99, 0) == 0
    assert cache.queue.waiting == 100 - 5 - written


def test_alives_and_plain_control_messages() -> None:
    out = Datagrams(600, 1)
    assert write_alive(out, 7, 0x20)
    assert write_digest(out, 8, 0, 0x0A0B0C0D, 3, 0x0102030405060708)
    assert write_control(out, 9, RESYNC, 1, 2)
    alive, digest, control = messages_of(out)
    assert (alive.flags, alive.body) == (0x30, b"")
    assert (digest.flags, digest.body) == (0x11, bytes.fromhex("000000030a0b0c0d0102030405060708"))
    assert (control.flags, control.body) == (RESYNC, bytes.fromhex("0000000100000002"))
    while write_digest(out, 1, 0, 0, 0, 0):
        pass
    assert not write_control(out, 1, 0, 0, 0) or not write_digest(out, 1, 0, 0, 0, 0)


def test_queues_against_a_model() -> None:
    """Random changes, sends, acknowledgements and requests; what is sent last of each flow is what it is."""
    random = Random(4)
    for limit in (10, 1000):
        cache = InternalCache(resend_limit=limit)
        alive: dict[int, KernelFlow] = {}
        peer: dict[bytes, bytes] = {}
        sequence = 0xFFFFFE00
        for step in range(3000):
            kind = random.random()
            number = random.randrange(1, 30)
            if kind < 0.4:
                flow = alive.get(number)
                if flow is None:
                    flow = alive[number] = make_flow(number)
                    flow.id = step
                    cache.follow(event(flow, True, ()), 0)
                else:
                    flow.mark = step
                    cache.follow(event(flow, False, ("mark",)), 0)
            elif kind < 0.55 and number in alive:
                cache.follow(destroy(alive.pop(number)), 0)
            elif kind < 0.75:
                sent = send_some(cache.queue, sequence, limit=random.randrange(12))
                sequence += len(sent)
                for message in sent:
                    if message.kind == DESTROY:
                        peer.pop(message.body[:44], None)
                    else:
                        peer[message.body[:44]] = message.body
            elif kind < 0.87:
                first = sequence - random.randrange(40)
                cache.queue.acknowledge(first & 0xFFFFFFFF, (first + random.randrange(20)) & 0xFFFFFFFF)
            else:
                first = sequence - random.randrange(40)
                cache.queue.send_again(first & 0xFFFFFFFF, (first + random.randrange(20)) & 0xFFFFFFFF)
            assert cache.queue.unacknowledged <= limit
            assert len(cache) == len(alive)
            listed = [entry[0] for entry in cache.queue.list_resend(10_000)]
            assert len(listed) == cache.queue.unacknowledged
            ages = [(sequence - number) & 0xFFFFFFFF for number in listed]
            assert ages == sorted(ages, reverse=True)
        for message in send_some(cache.queue, sequence):
            if message.kind == DESTROY:
                peer.pop(message.body[:44], None)
            else:
                peer[message.body[:44]] = message.body
        assert sorted(peer.values()) == sorted(flow_body(flow, flow.timeout) for flow in alive.values())
        assert cache_of(list(peer.values())).settle(0, len(cache), cache.digest)


def send_all(cache: InternalCache, sequence: int) -> None:
    out = Datagrams(1472)
    while sent := cache.queue.fill(out, sequence, 0):
        sequence += sent
        out.clear()


@pytest.mark.parametrize("first", [1, 0xFFFFFFF0, 0x7FFFFFF0])
def test_ranges_are_found_wherever_they_stand(first: int) -> None:
    """One peer answers what is oldest, another one what is newest, a third goes on in between."""
    cache, _ = make_cache(2000, resend_limit=20_000)
    sent = 0
    while sent < 2000:
        sent += len(send_some(cache.queue, first + sent))
    left = set(range(2000))
    places = {"old": 0, "middle": 900, "new": 1990}
    random = Random(first)
    while len(left) > 100:
        name = random.choice(list(places))
        begin, count = places[name], random.randrange(1, 40)
        places[name] = begin - count if name == "new" and begin > 1000 else begin + count
        taken = {number for number in left if begin <= number < begin + count}
        assert cache.queue.acknowledge(
            (first + begin) & 0xFFFFFFFF, first + begin + count - 1 & 0xFFFFFFFF
        ) == len(taken)
        left -= taken
        assert cache.queue.unacknowledged == len(left)
        assert cache.queue.oldest == (first + min(left)) & 0xFFFFFFFF
        places = {key: place if place < 1999 else random.randrange(2000) for key, place in places.items()}
    listed = [number for number, _ in cache.queue.list_resend(1000)]
    assert listed == [(first + number) & 0xFFFFFFFF for number in sorted(left)]


def test_an_addressed_message_is_kept_for_its_node() -> None:
    cache, _ = make_cache(0)
    cache.queue.push_addressed(ACK, 7, 9, 100, 0xFFFFFFFF)
    cache.queue.push_addressed(NACK, 7, 8, 5, 6)
    cache.queue.push_addressed(RESYNC, 7, 9, 0, 0)
    cache.queue.push_control(ACK, 1, 2)
    sent = send_some(cache.queue, 50)
    assert [message.flags for message in sent] == [ACK, 0x11, 0x11, 0x11]
    assert sent[3].body == bytes.fromhex("00000008 00000007 00000009 00000064 ffffffff")
    assert cache.queue.list_resend(9) == [(50, ACK), (51, RESYNC), (52, NACK), (53, ACK)]
    # The node 9 has started anew: what it was told of its former numbers is void, but a RESYNC still stands.
    assert cache.queue.send_all_again(9) == 4
    assert [message.body[:12].hex() for message in send_some(cache.queue, 60)] == [
        "000000020000000700000009",
        "000000040000000700000008",
    ]
    assert cache.queue.controls == 2
    # What is addressed to one node need not go out again for another one.
    assert cache.queue.send_again(60, 61, 9) == 1
    assert cache.queue.send_again(60, 61, 8) == 1


def test_control_messages_go_out_though_many_wait_for_an_answer() -> None:
    """Two nodes that each kept that many, and could not say that the other's arrived, would wait for ever."""
    cache, _ = make_cache(0, resend_limit=10_000)
    for number in range(1500):
        assert cache.queue.push_control(ACK, number, number)
        assert len(send_some(cache.queue, number)) == 1
    assert (cache.queue.controls, cache.queue.controls_kept) == (1024, 1024)
    pushed = [cache.queue.push_control(NACK, number, number) for number in range(1500)]
    assert pushed.count(True) == 1024
