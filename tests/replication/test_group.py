# SPDX-License-Identifier: GPL-2.0-or-later
"""FTFW among several nodes, message by message: whom an acknowledgement means, and who is waited for."""

from __future__ import annotations

import struct

import pytest

from pyconntrack.replication.session import OBLIVION, SILENCE
from tests.core.support_network import Sent
from tests.core.support_wire import DESTROY, message
from tests.replication.test_ftfw import Bench, alive, control, data

RESYNC, NACK, ACK, ALIVE, HELLO, EXTENDED = 2, 4, 8, 0x10, 0x20, 1
CONTROL = 10
LEFT, RIGHT, PLAIN = "192.0.2.2", "192.0.2.3", "192.0.2.4"
LEFT_ID, RIGHT_ID = 0x1111, 0x2222


def identity(sequence: int, node: int, flags: int = 0) -> bytes:
    return message(CONTROL, ALIVE | EXTENDED | flags, sequence, struct.pack(">II", 0, node))


def digest(sequence: int, node: int, count: int, value: int) -> bytes:
    return message(CONTROL, ALIVE | EXTENDED, sequence, struct.pack(">IIQ", count, node, value))


class Group(Bench):
    """A node, and two others that it knows. The next number of each is 1000, and nothing is left to say."""

    def __init__(self, flows: int = 0, **options: int) -> None:
        super().__init__(flows, **options)
        self.numbers = {LEFT: 999, RIGHT: 999}
        for sender, node in ((LEFT, LEFT_ID), (RIGHT, RIGHT_ID)):
            self.hear(identity(998, node, HELLO), sender=sender)
            self.hear(identity(999, node, 0x40), sender=sender)
        self.wait(1.0)
        self.internal.queue.acknowledge(0, self.session.sequence)

    def answer(self, sender: str, flags: int, first: int, last: int, to: int | None = None) -> list[Sent]:
        """An ACK, NACK or RESYNC of the sender to this node, or to another one."""
        self.numbers[sender] += 1
        node = LEFT_ID if sender == LEFT else RIGHT_ID
        addressee = self.session.node_id if to is None else to
        body = struct.pack(">IIIII", flags, node, addressee, first & 0xFFFFFFFF, last & 0xFFFFFFFF)
        return self.hear(message(CONTROL, ALIVE | EXTENDED, self.numbers[sender], body), sender=sender)

    def tell(self) -> tuple[int, int]:
        """Send all flows. Returns the first and the last number."""
        self.internal.queue.push_all()
        said = [sent for sent in self.say() if sent.kind != CONTROL]
        return said[0].sequence, said[-1].sequence


def answers(said: list[Sent]) -> list[tuple[int, ...]]:
    """What is addressed to one node: (ACK, NACK or RESYNC, the node, first, last)."""
    found: list[tuple[int, ...]] = []
    for sent in said:
        if (sent.kind, sent.flags & (ALIVE | EXTENDED), len(sent.body)) == (CONTROL, ALIVE | EXTENDED, 20):
            kind, _, addressee, first, last = struct.unpack(">IIIII", sent.body)
            found.append((kind, addressee, first, last))
    return found


def test_each_node_gets_its_own_acknowledgement() -> None:
    group = Group(ack_window=2)
    assert answers(group.hear(data(1000), data(1001), sender=LEFT)) == [(ACK, LEFT_ID, 1000, 1001)]
    assert answers(group.hear(data(1000), data(1003), sender=RIGHT)) == [
        (NACK, RIGHT_ID, 1001, 1002),
        (ACK, RIGHT_ID, 1000, 1000),
    ]


def test_a_message_is_kept_until_all_have_it() -> None:
    group = Group(flows=4)
    first, last = group.tell()
    group.answer(LEFT, ACK, first, last)
    assert group.internal.queue.unacknowledged == 4
    group.answer(RIGHT, ACK, first, first + 1)
    assert group.internal.queue.unacknowledged == 2
    group.answer(RIGHT, ACK, first + 2, last)
    assert group.internal.queue.unacknowledged == 0


def test_what_is_meant_for_another_node_means_nothing_here() -> None:
    group = Group(flows=2)
    first, last = group.tell()
    for sender in (LEFT, RIGHT):
        assert group.answer(sender, ACK, first, last, to=0x9999) == []
        assert group.answer(sender, NACK, first, last, to=0x9999) == []
        assert group.answer(sender, RESYNC, 0, 0, to=0x9999) == []
    # And a plain one of a node of ours is for a C node.
    group.hear(control(group.numbers[LEFT] + 1, ACK, first, last), sender=LEFT)
    assert group.internal.queue.unacknowledged == 2


def test_what_one_lacks_goes_out_again_and_all_must_have_it() -> None:
    group = Group(flows=3)
    first, last = group.tell()
    group.answer(LEFT, ACK, first, last)
    again = group.answer(RIGHT, NACK, first, last)
    assert [sent.sequence for sent in again] == [last + 1, last + 2, last + 3]
    group.answer(RIGHT, ACK, last + 1, last + 3)
    assert group.internal.queue.unacknowledged == 3
    group.answer(LEFT, ACK, last + 1, last + 3)
    assert group.internal.queue.unacknowledged == 0


def test_who_does_not_answer_is_not_waited_for() -> None:
    group = Group(flows=3)
    first, last = group.tell()
    group.answer(LEFT, ACK, first, last)
    for _ in range(int(SILENCE) + 2):
        assert group.internal.queue.unacknowledged >= 3 or group.now > SILENCE
        group.hear(identity(group.numbers[RIGHT] + 1, RIGHT_ID), sender=RIGHT)
        group.numbers[RIGHT] += 1
        group.wait(1.0)
        group.answer(LEFT, ACK, group.session.sequence - 1, group.session.sequence - 1)
    assert [flags for _, flags in group.internal.queue.list_resend(99) if not flags] == []


def test_whoever_answers_again_is_waited_for_again() -> None:
    group = Group(flows=3)
    for _ in range(int(SILENCE) + 2):
        group.wait(1.0)
        group.answer(LEFT, ACK, group.session.sequence - 1, group.session.sequence - 1)
    group.answer(RIGHT, ACK, group.session.sequence - 1, group.session.sequence - 1)
    first, last = group.tell()
    group.answer(LEFT, ACK, first, last)
    assert group.internal.queue.unacknowledged >= 3


def test_what_an_answer_passes_by_goes_out_again_to_who_lacks_it() -> None:
    group = Group(flows=4)
    first, last = group.tell()
    group.answer(LEFT, ACK, first, last)
    group.answer(RIGHT, ACK, last, last)
    said = group.wait(1.0)
    group.answer(LEFT, ACK, last + 1, group.session.sequence - 1)
    group.answer(RIGHT, ACK, last + 1, group.session.sequence - 1)
    said += group.wait(1.1)
    assert len([sent for sent in said if sent.kind != CONTROL]) == 3


def test_an_answer_that_is_repeated_late_hides_nothing_that_was_passed_by() -> None:
    """Several answers go out the newest first, and one that was lost comes behind newer ones."""
    group = Group(flows=4)
    first, last = group.tell()
    group.answer(LEFT, ACK, first, last)
    group.answer(RIGHT, ACK, last, last)
    group.answer(RIGHT, ACK, first, first)
    assert [sent for sent in group.wait(0.9) if sent.kind != CONTROL] == []
    assert len([sent for sent in group.wait(1.2) if sent.kind != CONTROL]) == 2


def test_a_node_that_starts_again_is_known_by_its_number() -> None:
    """Its HELLO may be lost: another number at its address says the same."""
    group = Group(flows=2)
    first, last = group.tell()
    group.answer(RIGHT, ACK, first, last)
    again = group.hear(identity(5, 0x3333), sender=LEFT)
    assert [sent.kind for sent in again if sent.kind != CONTROL] == [1, 1]
    group.hear(data(6, mark=3), sender=LEFT)
    assert group.mark_of() == 3
    # What its former process sent is too late.
    group.hear(identity(1000, LEFT_ID) + data(1001, mark=9), sender=LEFT)
    assert group.mark_of() == 3


def test_what_a_former_process_told_goes_also_where_it_was_never_seen_to_be_equal() -> None:
    group, source = Group(), Group(flows=2)
    source.internal.queue.push_all()
    flows = [sent for sent in source.say() if sent.kind != CONTROL]
    for number, sent in enumerate(flows, start=1000):
        group.hear(message(sent.kind, 0, number, sent.body), sender=LEFT)
    assert len(group.external) == 2
    kept = Group(flows=1).internal
    group.hear(identity(5, 0x3333, HELLO), sender=LEFT)
    group.hear(message(flows[0].kind, 0, 6, flows[0].body), sender=LEFT)
    group.hear(digest(7, 0x3333, 1, kept.digest), sender=LEFT)
    group.wait(1.0)
    assert len(group.external) == 1


def test_a_node_at_a_second_address_is_the_same_node() -> None:
    group = Group()
    group.hear(data(1000), data(1001, number=2), sender=LEFT)
    other = "192.0.2.77"
    said = group.hear(identity(1004, LEFT_ID) + data(1005, number=3), sender=other)
    assert answers(said) == [(NACK, LEFT_ID, 1002, 1003), (ACK, LEFT_ID, 1000, 1001)]
    peer = group.session.peers[LEFT]
    assert group.session.peers[other] is peer
    assert group.external.count_of(peer.owner) == 3


def test_an_address_that_changes_hands() -> None:
    """What the node had that sent from there before is not the other's."""
    group = Group()
    group.hear(data(1000), sender=LEFT)
    left = group.session.peers[LEFT]
    group.hear(identity(1000, RIGHT_ID), sender=LEFT)
    assert group.session.peers[LEFT] is group.session.peers[RIGHT]
    assert left in group.session.nodes
    assert group.external.count_of(left.owner) == 1


def test_what_came_from_a_second_address_before_its_name_was_known_is_kept_and_asked_for_again() -> None:
    """An end of a flow among it ended nothing: the flow was not yet known to be that node's."""
    group = Group()
    group.hear(data(1000), sender=LEFT)
    other = "192.0.2.77"
    said = group.hear(data(1002, number=2), data(1003, number=3), sender=other)
    said += group.hear(identity(1004, LEFT_ID), sender=other)
    assert (NACK, LEFT_ID, 1001, 1003) in answers(said)
    peer = group.session.peers[other]
    assert (peer, peer.expected) == (group.session.peers[LEFT], 1005)
    assert [group.external.count_of(owner) for owner in range(4)] == [3, 0, 0, 0]


def test_only_the_node_that_differs_is_asked_for_all_it_has() -> None:
    group = Group()
    for number in range(4):
        group.session.peers[LEFT].followed = group.session.peers[RIGHT].followed = True
        group.hear(digest(1000 + number, LEFT_ID, 0, 0), sender=LEFT)
        said = group.hear(digest(1000 + number, RIGHT_ID, 5, 12345), sender=RIGHT)
        if number == 1:
            assert answers(said) == [(RESYNC, RIGHT_ID, 0, 0)]
        group.wait(1.0)
    group.numbers[LEFT] = 1003
    assert group.answer(LEFT, RESYNC, 0, 0) == []
    assert group.session.bulks_answered == 1


def test_a_full_cache_does_not_ask_for_what_it_has_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group()
    group.session.external = group.external = type(group.external)(limit=1)
    group.hear(data(1000), sender=LEFT)
    for number in range(9):
        group.session.peers[LEFT].followed = True
        group.hear(digest(1001 + number, LEFT_ID, 5, 12345), sender=LEFT)
        group.wait(1.0)
    assert group.session.resyncs_requested == 0


def test_plain_acknowledgements_release_nothing_among_nodes_of_ours() -> None:
    group = Group(flows=3)
    first, last = group.tell()
    group.hear(alive(5), control(6, ACK, first, last), sender=PLAIN)
    assert group.internal.queue.unacknowledged >= 3
    assert len(group.hear(control(7, NACK, first, last), sender=PLAIN)) >= 3
    # It asks again and again for what is not lost, and gets it now and then.
    assert group.hear(control(8, NACK, first + 3, last + 3), sender=PLAIN) == []


def test_a_c_node_gets_plain_acknowledgements() -> None:
    group = Group(ack_window=1)
    said = group.hear(data(5, number=9), sender=PLAIN)
    assert [(sent.flags, sent.body) for sent in said if sent.flags & ACK] == [(ACK, struct.pack(">II", 5, 5))]
    # Before it this node says who it is, for the others to know that it is not for them.
    assert said[0].flags == ALIVE | EXTENDED


def test_what_is_left_of_a_dead_node_goes_once_all_is_taken_over() -> None:
    group = Group()
    group.hear(data(1000, 1), data(1001, 2), sender=LEFT)
    group.hear(data(1000, 1, mark=1), sender=RIGHT)
    left, right = (group.session.peers[name] for name in (LEFT, RIGHT))
    sequence = 1001
    while group.now < OBLIVION + 10:
        group.now += 100
        group.hear(identity(sequence, RIGHT_ID), sender=RIGHT)
        sequence += 1
        group.session.advance(group.now)
    assert left.silent
    assert not right.silent
    assert group.external.count_of(left.owner) == 2
    group.hear(data(sequence, 2, mark=1), sender=RIGHT)
    for _ in range(5):
        group.session.advance(group.now)
        group.now += 1
    assert (group.external.count_of(left.owner), group.external.claims) == (0, 0)


def test_a_dead_nodes_claims_do_not_come_up_again() -> None:
    group = Group()
    group.hear(data(1000, 1), sender=LEFT)
    group.hear(data(1000, 1, mark=1), sender=RIGHT)
    group.wait(SILENCE + 2)
    body = data(0, 1)[8:]
    group.hear(message(DESTROY, 0, 1001, body), sender=RIGHT)
    assert (len(group.external), group.external.claims) == (0, 0)
