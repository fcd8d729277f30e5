# SPDX-License-Identifier: GPL-2.0-or-later
"""FTFW, message by message."""

from __future__ import annotations

import itertools
import struct

import pytest

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.replication.ftfw import DEAF, FORGIVEN, Ftfw
from tests.core.support_flows import UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import event
from tests.core.support_network import Sent, messages_of
from tests.core.support_wire import NEW, flow_body, message, read_table

RESYNC, NACK, ACK, ALIVE, HELLO, HELLO_BACK, EXTENDED = 2, 4, 8, 0x10, 0x20, 0x40, 1
CONTROL = 10
FIRST = 1000
PEER = "192.0.2.2"


def make_flow(number: int = 1, mark: int = 0) -> KernelFlow:
    return KernelFlow(FlowTuple(bytes(4), number.to_bytes(4, "big"), UDP, (1, 53)), number, mark=mark)


def data(sequence: int, number: int = 1, flags: int = 0, mark: int = 0) -> bytes:
    return message(NEW, flags, sequence, flow_body(make_flow(number, mark), 30))


def control(sequence: int, flags: int, first: int = 0, last: int = 0) -> bytes:
    return message(CONTROL, flags, sequence, struct.pack(">II", first & 0xFFFFFFFF, last & 0xFFFFFFFF))


def alive(sequence: int, flags: int = 0) -> bytes:
    return message(CONTROL, ALIVE | flags, sequence)


class Bench:
    """A session at a bench: datagrams are handed in, what it says is read off."""

    def __init__(self, flows: int = 0, ack_window: int = 300, resend_limit: int = 10_000) -> None:
        self.internal = InternalCache(resend_limit=resend_limit)
        self.external = ExternalCache()
        self.session = Ftfw(
            self.internal, self.external, first_sequence=FIRST, now=0.0, ack_window=ack_window
        )
        self.now = 0.0
        for number in range(1, flows + 1):
            self.internal.follow(event(make_flow(number), True, ()), 0)

    def hear(self, *datagrams: bytes, sender: str = PEER) -> list[Sent]:
        for datagram in datagrams:
            self.session.receive(datagram, sender, self.now)
        return self.say()

    def wait(self, seconds: float) -> list[Sent]:
        said = []
        until = self.now + seconds
        while self.session.deadline() <= until:
            self.now = max(self.now, self.session.deadline())
            self.session.advance(self.now)
            said += self.say()
        self.now = until
        return said

    def say(self) -> list[Sent]:
        said, out = [], Datagrams(1472)
        while self.session.fill(out, self.now):
            said += messages_of(out)
            out.clear()
        return said

    def greet(self) -> None:
        """The peer and this node know each other; nothing is left to say. The peer's next number is 102."""
        self.hear(alive(100, HELLO))
        self.hear(alive(101, HELLO_BACK))
        self.wait(1.0)
        self.internal.queue.acknowledge(0, self.session.sequence)

    def mark_of(self, number: int = 1) -> int:
        batch = read_table(self.external.table)
        for index in range(len(batch)):
            values = batch.unpack(index)
            if values["original"][3] == number.to_bytes(4, "big"):
                return int(values.get("mark", 0))
        raise KeyError(number)


def acknowledgements(said: list[Sent]) -> list[tuple[int, ...]]:
    return [struct.unpack(">II", sent.body) for sent in said if sent.kind == CONTROL and sent.flags & ACK]


def requests(said: list[Sent]) -> list[tuple[int, ...]]:
    return [struct.unpack(">II", sent.body) for sent in said if sent.kind == CONTROL and sent.flags & NACK]


def test_hello_is_said_until_it_is_answered() -> None:
    bench = Bench(flows=2)
    said = bench.say()
    assert [(sent.kind, sent.flags, sent.sequence) for sent in said] == [
        (CONTROL, ALIVE | EXTENDED | HELLO, FIRST),
        (0, HELLO, FIRST + 1),
        (0, HELLO, FIRST + 2),
    ]
    assert bench.wait(1.0)[-1].flags == ALIVE | EXTENDED | HELLO
    bench.hear(alive(5, HELLO_BACK))
    assert bench.wait(2.0)[-1].flags & HELLO == 0


def test_hello_is_answered_at_once_and_once() -> None:
    bench = Bench()
    assert [sent.flags for sent in bench.hear(alive(7, HELLO))] == [ALIVE | EXTENDED | HELLO | HELLO_BACK]
    assert [sent.flags & HELLO_BACK for sent in bench.wait(1.5)] == [0, 0]
    assert bench.hear(alive(8, HELLO))[0].flags & HELLO_BACK


def test_a_restarted_peer_is_followed_from_any_number_and_gets_what_it_lacks() -> None:
    bench = Bench(flows=2)
    bench.greet()
    bench.internal.queue.push_all()
    assert len(bench.say()) == 2
    again = bench.hear(alive(50, HELLO))
    assert [sent.kind for sent in again] == [1, 1]
    assert again[0].flags == HELLO_BACK
    bench.hear(data(51, mark=5))
    assert bench.mark_of() == 5


def test_messages_are_acknowledged_by_the_window_and_by_the_second() -> None:
    bench = Bench(ack_window=4)
    bench.greet()
    assert acknowledgements(bench.hear(*(data(102 + i) for i in range(3)))) == []
    assert acknowledgements(bench.hear(data(105))) == [(102, 105)]
    assert acknowledgements(bench.hear(data(106), data(107))) == []
    assert acknowledgements(bench.wait(1.0)) == [(106, 107)]
    assert acknowledgements(bench.wait(1.0)) == []


@pytest.mark.parametrize("window", [1, 2, 300])
def test_acknowledgements_are_not_answered_at_once(window: int) -> None:
    bench = Bench(ack_window=window)
    bench.greet()
    for sequence in range(102, 110):
        assert bench.hear(control(sequence, ACK, FIRST, FIRST)) == []
    assert acknowledgements(bench.wait(1.0)) == [(102, 109)]


def test_a_hole_is_asked_for_at_once_after_what_came_is_acknowledged() -> None:
    bench = Bench()
    bench.greet()
    said = bench.hear(data(102), data(103), data(107, mark=7))
    assert acknowledgements(said) == [(102, 103)]
    assert requests(said) == [(104, 106)]
    assert (bench.mark_of(), bench.session.messages_lost) == (7, 3)
    assert bench.hear(data(105, mark=5)) == []
    assert (bench.mark_of(), bench.session.messages_before) == (7, 1)


def test_a_lost_tail_shows_by_the_alive() -> None:
    bench = Bench()
    bench.greet()
    assert requests(bench.hear(alive(104))) == [(102, 103)]


def test_numbers_wrap() -> None:
    bench = Bench()
    bench.hear(alive(0xFFFFFFFE, HELLO), alive(0xFFFFFFFF, HELLO_BACK))
    assert requests(bench.hear(data(0))) == []
    assert requests(bench.hear(data(2, mark=1))) == [(1, 1)]
    bench.hear(data(0xFFFFFFF0, mark=9))
    assert bench.mark_of() == 1


def test_what_the_peer_lacks_goes_out_again_under_new_numbers() -> None:
    bench = Bench(flows=3)
    bench.greet()
    bench.internal.queue.push_all()
    first = bench.say()[0].sequence
    again = bench.hear(control(102, NACK, first + 1, first + 2))
    assert [sent.sequence for sent in again] == [first + 3, first + 4]
    assert [sent.kind for sent in again] == [1, 1]


def test_a_range_the_wrong_way_round_is_malformed() -> None:
    bench = Bench(flows=3)
    bench.greet()
    bench.internal.queue.push_all()
    first = bench.say()[0].sequence
    assert bench.hear(control(102, NACK, first + 2, first), control(103, ACK, first + 2, first)) == []
    assert bench.session.errors.malformed_header == 2
    assert bench.internal.queue.unacknowledged == 3


def test_numbers_that_were_never_sent_are_another_nodes() -> None:
    bench = Bench(flows=3)
    bench.greet()
    bench.internal.queue.push_all()
    first = bench.say()[0].sequence
    assert bench.hear(control(102, ACK, first, first + 500), control(103, NACK, first, first + 500)) == []
    assert bench.internal.queue.unacknowledged == 3


def test_a_hello_that_was_overtaken_takes_nothing_back() -> None:
    """While both nodes greet each other, numbers alone do not tell an old message from a new process."""
    bench = Bench(ack_window=1)
    bench.hear(data(10, flags=HELLO), data(12, mark=2, flags=HELLO))
    bench.hear(data(11, mark=1, flags=HELLO))
    assert bench.mark_of() == 2
    assert requests(bench.hear(data(13, number=2))) == []


def test_a_process_that_starts_again_while_greeting_is_followed() -> None:
    bench = Bench()
    bench.hear(data(10, flags=HELLO), data(11, flags=HELLO), data(12, flags=HELLO))
    bench.wait(0.6)
    bench.hear(data(11, mark=1, flags=HELLO))
    assert bench.mark_of() == 1


def test_a_peer_is_not_ignored_for_ever() -> None:
    """After a stray message with a number far ahead, or a HELLO that went unnoticed, it is heard again."""
    bench = Bench()
    bench.greet()
    bench.hear(alive(500_000_000))
    bench.wait(1.0)
    bench.hear(data(103, mark=3))
    with pytest.raises(KeyError):
        bench.mark_of()
    bench.wait(DEAF)
    bench.hear(data(104, mark=4))
    assert bench.mark_of() == 4
    assert requests(bench.hear(data(105, mark=5))) == []


def test_a_message_without_meaning_has_a_number() -> None:
    """Were it a hole, two nodes would ask for it and send it again and again."""
    bench = Bench()
    bench.greet()
    strange = [message(7, 0, 102), message(CONTROL, 0x80, 103), message(CONTROL, ACK | NACK, 104, bytes(8))]
    said = bench.hear(b"".join([*strange, data(105, mark=5)]))
    assert (requests(said), bench.mark_of()) == ([], 5)
    assert (bench.session.errors.bad_type, bench.session.errors.bad_size) == (1, 2)


def test_a_resync_is_answered_with_all_there_is() -> None:
    bench = Bench(flows=50)
    bench.say()
    bench.hear(alive(100, HELLO_BACK))
    bench.internal.queue.acknowledge(0, bench.session.sequence)
    assert len([sent for sent in bench.hear(control(101, RESYNC)) if sent.kind == 1]) == 50


def test_a_resync_asked_for_while_the_peer_restarts_still_stands() -> None:
    bench = Bench()
    bench.greet()
    bench.session.request_resync(bench.now)
    assert bench.say()[0].flags & RESYNC
    assert bench.hear(alive(5, HELLO))[0].flags & RESYNC


def count_news(said: list[Sent]) -> int:
    return len([sent for sent in said if sent.kind == 0])


def test_sending_waits_for_acknowledgements() -> None:
    bench = Bench(flows=5000, resend_limit=2048)
    said = bench.hear(alive(99, HELLO_BACK))
    assert len(said) - 1 == bench.session.window == 2048
    assert bench.session.deadline() < bench.now + 0.1
    said += bench.hear(control(100, ACK, FIRST, FIRST + 1000))
    assert count_news(said) == 3048
    assert count_news(bench.wait(1.0)) == 5000 - 3048


def test_what_arrives_widens_the_window_and_a_loss_narrows_it() -> None:
    bench = Bench(flows=20_000, resend_limit=5000)
    sent = len(bench.hear(alive(99, HELLO_BACK)))
    windows = []
    for number in range(3):
        sent += len(bench.hear(control(100 + number, ACK, FIRST, FIRST + sent - 1)))
        assert bench.internal.queue.unacknowledged == bench.session.window
        windows.append(bench.session.window)
    assert windows == [4096, 5000, 5000]
    bench.hear(control(104, NACK, FIRST + sent - 10, FIRST + sent - 10))
    assert bench.session.window == 2500
    said = bench.hear(control(105, ACK, FIRST, FIRST + sent - 1))
    assert len(said) == bench.internal.queue.unacknowledged == bench.session.window == 2500
    for number in range(3):
        bench.hear(control(106 + number, NACK, FIRST + sent, FIRST + sent))
    assert bench.session.window == 2048


def test_what_one_window_lost_narrows_the_window_once() -> None:
    bench = Bench(flows=60_000, resend_limit=16_000)
    numbers = itertools.count(99)
    bench.hear(alive(next(numbers), HELLO_BACK))

    def window_after(control_flag: int, first: int, last: int) -> int:
        bench.hear(control(next(numbers), control_flag, first, last))
        return bench.session.window

    for _ in range(3):
        widest = window_after(ACK, FIRST, bench.session.sequence - 1)
    end = bench.session.sequence
    assert widest == 16_000
    assert [window_after(NACK, end - lost, end - lost) for lost in (9000, 8000, 7000, 1)] == [8000] * 4
    # What goes out only now belongs to another window.
    assert window_after(ACK, FIRST, end - 1) == 8000
    assert window_after(NACK, end - 1, end) == 4000
    assert window_after(NACK, end + 1, end + 1) == 4000


def test_a_loss_of_long_ago_does_not_narrow_the_window_for_ever() -> None:
    bench = Bench(flows=40_000, resend_limit=5000)
    sent = len(bench.hear(alive(99, HELLO_BACK)))
    for number in range(3):
        bench.hear(control(100 + number, NACK, FIRST, FIRST + sent - 1))
    windows = [bench.session.window]
    number = 103
    for hours in (0.9, 0.2, 4.0):
        bench.now += hours * FORGIVEN
        bench.session.advance(bench.now)
        for _ in range(3):
            last = bench.session.sequence - 1
            bench.hear(control(number, ACK, FIRST, last))
            number += 1
        windows.append(bench.session.window)
    assert windows == [2048, 2048, 4096, 5000]


def test_an_acknowledgement_that_held_nothing_up_widens_nothing() -> None:
    bench = Bench(flows=2000)
    sent = len(bench.hear(alive(99, HELLO_BACK)))
    bench.hear(control(100, ACK, FIRST, FIRST + sent - 1))
    assert (bench.internal.queue.unacknowledged, bench.session.window) == (0, 2048)


def test_where_nobody_answers_little_goes_out_at_once() -> None:
    bench = Bench(flows=9000)
    sent = len(bench.hear(alive(99, HELLO_BACK)))
    sent += len(bench.hear(control(100, ACK, FIRST, FIRST + sent - 1)))
    assert bench.session.window == 4096
    assert count_news(bench.wait(0.001)) == 0
    assert count_news(bench.wait(0.03)) == 2048


def test_strangers_do_not_fill_the_house() -> None:
    bench = Bench()
    for number in range(64):
        bench.hear(data(1, number), sender=f"node {number}")
    bench.hear(data(1, 99), sender="late")
    assert (len(bench.external), bench.session.senders_refused) == (64, 1)


def test_who_has_nothing_makes_room() -> None:
    bench = Bench()
    for number in range(100):
        bench.now += 1
        bench.hear(alive(1), sender=f"stranger {number}")
    bench.hear(data(1), sender="late")
    assert (len(bench.external), bench.session.senders_refused) == (1, 0)
    assert "stranger 0" not in bench.session.peers


def test_resyncs_do_not_multiply() -> None:
    bench = Bench(flows=50)
    bench.greet()
    for number in range(80):
        bench.hear(control(101 + number, RESYNC))
    assert bench.session.bulks_answered == 1
    bench.wait(1.5)
    assert bench.session.bulks_answered == 2


def test_made_up_numbers_do_not_fill_the_queues() -> None:
    bench = Bench(resend_limit=100_000)
    for number in range(5000):
        bench.session.receive(alive(number * 10), PEER, bench.now)
    assert bench.internal.queue.controls <= 1024
