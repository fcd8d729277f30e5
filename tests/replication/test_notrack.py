# SPDX-License-Identifier: GPL-2.0-or-later
"""NOTRACK, message by message, and how both modes hold a peer's digest against what is here."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.replication.messages import MessageErrors, before, read_message
from pyconntrack.replication.notrack import Notrack
from pyconntrack.replication.pace import BULK_RATE
from tests.core.support_flows import UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import destroy, event
from tests.core.support_network import Sent, messages_of
from tests.core.support_wire import flow_body, message

RESYNC, ALIVE, DIGEST = 2, 0x10, 1
CONTROL = 10
PEER = "192.0.2.2"
ID = bytes([0, 0, 0, 7])


def make_flow(number: int) -> KernelFlow:
    return KernelFlow(FlowTuple(bytes(4), number.to_bytes(4, "big"), UDP, (1, 53)), number)


def asks(sent: Sent) -> bool:
    """Whether a message asks the peer, and nobody else, for all that it has."""
    return (sent.flags, sent.body[:4], sent.body[8:12]) == (ALIVE | DIGEST, bytes([0, 0, 0, RESYNC]), ID)


class Pair:
    """A node under test, and another whose word is law: what it says is handed over, or lost."""

    def __init__(self, flows: int = 0) -> None:
        self.node = Notrack(InternalCache(), ExternalCache(), first_sequence=1, now=0.0)
        self.peer = Notrack(InternalCache(), ExternalCache(), first_sequence=1000, now=0.0, node_id=7)
        self.peer.says_digest = True
        self.now = 0.0
        for number in range(flows):
            self.peer.internal.follow(event(make_flow(number), True, ()), 0)

    def say(self, session: Notrack) -> tuple[list[bytes], list[Sent]]:
        datagrams, said, out = [], [], Datagrams(1472)
        while session.fill(out, self.now):
            datagrams += [out[index] for index in range(len(out))]
            said += messages_of(out)
            out.clear()
        return datagrams, said

    def tell(self, lose: bool = False) -> list[Sent]:
        """The peer speaks; what the node says to it."""
        for datagram in self.say(self.peer)[0]:
            if not lose:
                self.node.receive(datagram, PEER, self.now)
        return self.say(self.node)[1]

    def second(self) -> list[Sent]:
        """A second goes by, and the peer says its digest."""
        self.now += 1.0
        self.peer.advance(self.now)
        self.node.advance(self.now)
        return self.tell()

    def asked(self, seconds: int) -> list[int]:
        """In which of the next seconds the node asks for a resync, which nobody answers."""
        return [n for n in range(1, seconds + 1) if any(asks(sent) for sent in self.second())]


def test_changes_go_out_once() -> None:
    pair = Pair(flows=3)
    said = pair.say(pair.peer)[1]
    assert (said[0].kind, said[0].flags, said[0].body[4:]) == (CONTROL, ALIVE | DIGEST, ID)
    assert [(sent.kind, sent.flags, sent.sequence) for sent in said[1:]] == [
        (0, 0, 1001 + i) for i in range(3)
    ]
    assert pair.peer.internal.queue.unacknowledged == 0


def test_any_number_is_taken_and_losses_are_counted() -> None:
    pair = Pair()
    bodies = [flow_body(make_flow(number), 30) for number in range(4)]
    for sequence, body in zip((0xFFFFFFFE, 2, 0xFFFFFFFF, 0), bodies, strict=True):
        pair.node.receive(message(0, 0, sequence, body), PEER, 0.0)
    assert len(pair.node.external) == 4
    assert (pair.node.messages_received, pair.node.messages_lost, pair.node.messages_before) == (4, 3, 1)


def test_a_bulk_goes_out_at_its_rate() -> None:
    pair = Pair(flows=20_000)
    pair.peer.receive(message(CONTROL, RESYNC, 1, bytes(8)), "node", 0.0)
    told = len(pair.say(pair.peer)[1])
    assert told < 10_000
    while told < 20_000:
        assert pair.peer.deadline() < pair.now + 0.1
        pair.now = pair.peer.deadline()
        told += len(pair.say(pair.peer)[1])
    assert 0.8 < BULK_RATE * pair.now / 20_000 < 1.2


def test_an_alive_a_second_says_the_digest() -> None:
    pair = Pair(flows=2)
    pair.say(pair.peer)
    assert pair.peer.deadline() == 1.0
    pair.now = 1.0
    pair.peer.advance(pair.now)
    (sent,) = pair.say(pair.peer)[1]
    assert (sent.kind, sent.flags) == (CONTROL, ALIVE | DIGEST)
    assert struct.unpack(">IIQ", sent.body) == (2, 7, pair.peer.internal.digest)
    pair.peer.says_digest = False
    pair.now = 2.0
    pair.peer.advance(pair.now)
    assert [(sent.flags, sent.body) for sent in pair.say(pair.peer)[1]] == [(ALIVE | DIGEST, bytes(4) + ID)]


def test_a_difference_that_lasts_is_answered_by_a_resync_at_growing_intervals() -> None:
    pair = Pair(flows=2)
    pair.tell(lose=True)
    pair.node.request_resync(0.0)
    pair.say(pair.node)
    times = pair.asked(70)
    assert times[0] == 2
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[-1] >= 16


def test_a_peer_is_followed_once_all_was_asked_for_or_all_was_here() -> None:
    pair = Pair(flows=2)
    pair.tell(lose=True)
    assert pair.asked(10) == []
    pair.node.request_resync(pair.now)
    pair.say(pair.node)
    assert pair.asked(10)
    whole = Pair(flows=2)
    whole.tell()
    whole.second()
    whole.peer.internal.follow(destroy(make_flow(1)), 0)
    whole.tell(lose=True)
    assert whole.asked(10)


def test_a_resync_asked_for_before_any_peer_was_heard_counts() -> None:
    pair = Pair(flows=2)
    pair.node.request_resync(0.0)
    assert [sent.flags for sent in pair.say(pair.node)[1]] == [RESYNC]
    pair.tell(lose=True)
    assert pair.asked(10)


def test_a_flushed_cache_is_not_filled_unasked() -> None:
    pair = Pair(flows=2)
    pair.tell()
    pair.second()
    pair.node.external.flush()
    pair.node.external_flushed()
    assert pair.asked(10) == []


def test_what_ended_unheard_is_dropped() -> None:
    pair = Pair(flows=3)
    pair.tell()
    pair.second()
    for number in range(2):
        pair.peer.internal.follow(destroy(make_flow(number)), 0)
    pair.tell(lose=True)
    while not any(asks(sent) for sent in pair.second()):
        assert pair.now < 60
    assert len(pair.node.external) == 3
    pair.peer.send_bulk()
    pair.tell()
    pair.second()
    pair.second()
    assert len(pair.node.external) == 1


@pytest.mark.parametrize("flags", [DIGEST | 8, DIGEST | 4, DIGEST | RESYNC, ALIVE | DIGEST])
def test_a_digest_that_is_too_short_is_not_read(flags: int) -> None:
    pair = Pair()
    pair.node.receive(message(CONTROL, flags, 1, bytes(12)), PEER, 0.0)
    assert pair.node.errors.bad_size == 1


@pytest.mark.parametrize(
    ("datagram", "counter"),
    [
        (b"\x10\0\0", "truncated"),
        (b"\x20\0\0\x08\0\0\0\1", "wrong_version"),
        (b"\x10\0\0\x07\0\0\0\1", "malformed_header"),
        (b"\x10\0\0\x09\0\0\0\1", "truncated"),
    ],
)
def test_what_no_message_can_be_had_from_is_counted(datagram: bytes, counter: str) -> None:
    errors = MessageErrors()
    assert read_message(datagram, 0, errors) is None
    assert getattr(errors, counter) == 1


def test_sequence_numbers_compare_as_tcps() -> None:
    assert before(1, 2)
    assert before(0xFFFFFFFF, 0)
    assert before(0xF0000000, 0x10000000)
    assert not before(2, 1)
    assert not before(5, 5)
