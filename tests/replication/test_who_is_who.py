# SPDX-License-Identifier: GPL-2.0-or-later
"""FTFW and who is who: numbers made up, numbers said no more, nodes and addresses that are gone for good."""

from __future__ import annotations

from ipaddress import IPv4Address

from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.replication.notrack import Notrack
from pyconntrack.replication.session import LATE, NAMES_MAX, OBLIVION, SILENCE
from tests.core.support_wire import NEW, UPDATE, flow_body, message, read_table
from tests.core.test_external import whole_and_partial
from tests.replication.test_ftfw import Bench, acknowledgements, alive, control, data
from tests.replication.test_group import (
    ACK,
    HELLO,
    LEFT,
    LEFT_ID,
    PLAIN,
    RIGHT,
    RIGHT_ID,
    Group,
    answers,
    digest,
    identity,
)

MADE_UP = 0x7777


def test_a_made_up_number_does_not_shut_a_node_out() -> None:
    """What a former process says is passed over while it may be late, and no longer."""
    group = Group(flows=2, ack_window=1)
    group.hear(identity(1000, MADE_UP), sender=LEFT)
    assert group.session.peers[LEFT].node == MADE_UP
    group.wait(LATE + 0.1)
    group.hear(identity(1001, LEFT_ID), sender=LEFT)
    assert group.session.peers[LEFT].node == LEFT_ID
    assert answers(group.hear(data(1002), sender=LEFT)) == [(ACK, LEFT_ID, 1001, 1002)]
    first, last = group.tell()
    group.numbers[LEFT] = 1002
    group.answer(LEFT, ACK, first, last)
    group.answer(RIGHT, ACK, first, last)
    assert [number for number, control in group.internal.queue.list_resend(99) if not control] == []


def test_a_c_node_in_place_of_one_of_ours() -> None:
    """It says no number, and takes and gives plain acknowledgements."""
    bench = Bench(flows=2, ack_window=1)
    bench.hear(identity(998, LEFT_ID, HELLO), identity(999, LEFT_ID, 0x40), sender=LEFT)
    bench.wait(1.0)
    bench.hear(alive(5, HELLO), alive(6, 0x40), sender=LEFT)
    for number in range(7, 7 + int(SILENCE) + 2):
        bench.hear(alive(number), sender=LEFT)
        bench.wait(1.0)
    peer = bench.session.peers[LEFT]
    assert (peer.node, peer.says_digest) == (0, False)
    number = peer.expected or 0
    assert acknowledgements(bench.hear(data(number), sender=LEFT))[-1][1] == number
    bench.hear(control(number + 1, ACK, 0, bench.session.sequence - 1), sender=LEFT)
    assert bench.internal.queue.unacknowledged == 0


def test_a_node_that_was_cut_off_keeps_its_number() -> None:
    """The first that is heard of it after a silence may be data."""
    group = Group()
    group.wait(10 * SILENCE)
    group.hear(data(1000), sender=LEFT)
    group.wait(1.0)
    assert group.session.peers[LEFT].node == LEFT_ID


def test_a_silent_node_without_flows_is_forgotten_in_time() -> None:
    group = Group()
    group.hear(data(1000), sender=RIGHT)
    group.hear(bytes(3), sender=PLAIN)
    group.now += OBLIVION + 1
    for _ in range(3):
        group.session.advance(group.now)
        group.now += 1
    assert list(group.session.peers) == [RIGHT]
    group.hear(data(7_000_000), identity(7_000_001, LEFT_ID), sender=LEFT)
    assert group.session.peers[LEFT].node == LEFT_ID
    assert group.mark_of() == 0


def test_addresses_of_one_node_do_not_pile_up() -> None:
    group = Group()
    for number in range(200):
        address = str(IPv4Address("198.51.100.0") + number)
        group.hear(identity(1000 + number, LEFT_ID), sender=address)
    assert len(group.session.peers) <= NAMES_MAX + 2
    assert len(group.session.nodes) == 2
    assert group.session.peers[RIGHT].node == RIGHT_ID
    assert group.session.peers[address].expected == 1200


def test_a_node_in_the_place_of_a_forgotten_one_is_not_taken_for_it() -> None:
    """That one told flows whole; this one, which keeps no internal cache, tells what has changed."""
    whole, partial = whole_and_partial()
    node = Notrack(InternalCache(), ExternalCache(), first_sequence=1, now=0.0)
    node.receive(digest(1, LEFT_ID, 0, 0), LEFT, 0.0)
    node.advance(OBLIVION + 2)
    assert node.peers == {}
    told = message(NEW, 0, 5, flow_body(whole, 30)) + message(UPDATE, 0, 6, flow_body(partial, 600))
    node.receive(told, PLAIN, OBLIVION + 3)
    assert node.peers[PLAIN].owner == 0
    assert read_table(node.external.table).unpack(0)["mark"] == 7
