# SPDX-License-Identifier: GPL-2.0-or-later
"""ALARM, second by second: what goes out when, and what is dropped when."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.listing import list_text
from pyconntrack.replication.alarm import ABSENCE, Alarm
from pyconntrack.replication.pace import BULK_RATE, STEP, Hand
from tests.core.support_flows import UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import destroy, event
from tests.core.support_network import Sent, messages_of
from tests.core.support_wire import flow_body, message, read_table, records

RESYNC = 2
NEW, UPDATE, DESTROY, CONTROL = 0, 1, 2, 10
PEER = "192.0.2.2"
REFRESH_TIME = 10
CACHE_TIMEOUT = 30
# The hand moves in steps, and the clock of the caches counts whole seconds.
SLACK = 2 * STEP


def make_flow(number: int, mark: int = 0) -> KernelFlow:
    return KernelFlow(FlowTuple(bytes(4), number.to_bytes(4, "big"), UDP, (1, 53)), number, mark=mark)


class Bench:
    """A node with `flows` flows, in time that goes from one deadline to the next."""

    def __init__(self, flows: int = 0) -> None:
        self.now = 1000.0
        self.internal, self.external = InternalCache(), ExternalCache()
        self.session = Alarm(
            self.internal,
            self.external,
            first_sequence=1,
            now=self.now,
            refresh_time=REFRESH_TIME,
            cache_timeout=CACHE_TIMEOUT,
        )
        self.datagrams: list[bytes] = []
        for number in range(flows):
            self.follow(event(make_flow(number), True, ()))

    def follow(self, message: bytes) -> None:
        self.internal.follow(message, int(self.now))

    def say(self) -> list[Sent]:
        """What goes out now."""
        said, out = [], Datagrams(1472)
        while self.session.fill(out, self.now):
            said += messages_of(out)
            self.datagrams += [out[index] for index in range(len(out))]
            out.clear()
        return said

    def run(self, seconds: float) -> list[tuple[float, Sent]]:
        """What goes out in the time, and when."""
        end = self.now + seconds
        said: list[tuple[float, Sent]] = []
        while self.now < end:
            self.now = min(end, max(self.session.deadline(), self.now + 0.001))
            self.session.advance(self.now)
            said += [(self.now, sent) for sent in self.say()]
        return said

    def hear(self, *messages: bytes) -> list[Sent]:
        for datagram in messages:
            self.session.receive(datagram, PEER, self.now)
        return self.say()


def test_a_change_goes_out_at_once() -> None:
    bench = Bench(flows=3)
    assert [(sent.kind, sent.sequence) for sent in bench.say()] == [(NEW, 1), (NEW, 2), (NEW, 3)]
    bench.run(0.5)
    bench.follow(destroy(make_flow(1)))
    (sent,) = (sent for sent in bench.say() if sent.kind == DESTROY)
    assert sent.body == flow_body(make_flow(1), 30)


@pytest.mark.parametrize("flows", [1, 7, 20_000])
def test_each_entry_goes_out_again_once_in_the_refresh_time(flows: int) -> None:
    bench = Bench(flows)
    bench.run(1.0)
    times: dict[bytes, list[float]] = {}
    for time, sent in bench.run(5 * (REFRESH_TIME + SLACK)):
        assert sent.kind == UPDATE
        times.setdefault(sent.body, []).append(time)
    assert len(times) == flows
    assert min(len(moments) for moments in times.values()) >= 5
    gaps = [later - earlier for moments in times.values() for earlier, later in pairwise(moments)]
    assert min(gaps) > REFRESH_TIME - SLACK
    assert max(gaps) < REFRESH_TIME + SLACK


def test_what_goes_out_again_is_spread_over_the_time() -> None:
    bench = Bench(flows=20_000)
    bench.run(1.0)
    seconds = Counter(int(time) for time, _ in bench.run(REFRESH_TIME - 0.01))
    assert len(seconds) == REFRESH_TIME
    assert max(seconds.values()) < 1.1 * 20_000 / REFRESH_TIME


def test_no_control_message_goes_out() -> None:
    bench = Bench(flows=5)
    assert not [sent for _, sent in bench.run(60) if sent.kind == CONTROL]


def test_an_ended_flow_goes_out_no_more() -> None:
    bench = Bench(flows=2)
    bench.say()
    bench.follow(destroy(make_flow(0)))
    bench.say()
    bodies = {sent.body for _, sent in bench.run(3 * REFRESH_TIME)}
    assert bodies == {flow_body(make_flow(1), 30)}


def test_an_idle_node_with_an_empty_cache_sleeps() -> None:
    bench = Bench()
    bench.say()
    assert bench.session.deadline() >= bench.now + 1.0


def test_what_is_not_heard_of_is_dropped_after_its_timeout() -> None:
    bench = Bench()
    bench.hear(*(message(NEW, 0, number, flow_body(make_flow(number), 30)) for number in range(100)))
    bench.run(CACHE_TIMEOUT / 2)
    bench.hear(message(UPDATE, 0, 100, flow_body(make_flow(7, mark=1), 30)))
    bench.run(CACHE_TIMEOUT / 2)
    assert len(bench.external) == 100
    bench.run(3.0)
    assert (len(bench.external), bench.external.counters.destroyed) == (1, 99)
    assert bench.external.count_of(0) == 1
    bench.run(CACHE_TIMEOUT / 2)
    assert len(bench.external) == 0


def test_what_is_told_again_stays() -> None:
    bench = Bench()
    body = flow_body(make_flow(1), 30)
    for sequence in range(20):
        bench.hear(message(UPDATE, 0, sequence, body))
        bench.run(REFRESH_TIME)
    assert len(bench.external) == 1


def test_the_cache_says_when_an_entry_goes() -> None:
    bench = Bench()
    bench.hear(*(message(NEW, 0, number, flow_body(make_flow(number), 30)) for number in range(300)))
    bench.run(12.0)
    text, _ = list_text(bench.external.table, 0, True, False, int(bench.now), expires=CACHE_TIMEOUT)
    pattern = rb"udp      17 src=.* \[expires in 18s\] \[active since 12s\]"
    assert [line for line in text.splitlines() if not re.fullmatch(pattern, line)] == []
    assert text.count(b"\n") == 300
    xml, _ = list_text(bench.external.table, 0, True, True, int(bench.now), expires=CACHE_TIMEOUT)
    assert b"expires" not in xml


def test_who_stood_still_hears_first_what_was_said_meanwhile() -> None:
    bench = Bench()
    bench.hear(message(NEW, 0, 1, flow_body(make_flow(1), 30)))
    bench.now += ABSENCE + CACHE_TIMEOUT
    bench.session.advance(bench.now)
    bench.run(REFRESH_TIME - 1.0)
    assert len(bench.external) == 1
    bench.run(4.0)
    assert len(bench.external) == 0


def test_all_goes_out_when_a_peer_or_an_operator_asks() -> None:
    bench = Bench(flows=500)
    bench.say()
    assert len(bench.hear(message(CONTROL, RESYNC, 1, bytes(8)))) == 500
    assert bench.session.bulks_answered == 1
    bench.session.send_bulk()
    assert len(bench.say()) == 500


def test_a_bulk_goes_out_at_its_rate_and_changes_before_it() -> None:
    bench = Bench(flows=50_000)
    bench.run(1.0)
    bench.session.send_bulk()
    begin, told = bench.now, len(bench.say())
    assert told < 10_000
    bench.follow(event(make_flow(60_000), True, ()))
    bench.now = bench.session.deadline()
    assert bench.say()[0].kind == NEW
    told += sum(1 for _ in bench.run(50_000 / BULK_RATE - (bench.now - begin)))
    assert 0.9 < told / 50_000 < 1.1


def test_a_resync_is_asked_for_where_an_operator_wants_it() -> None:
    bench = Bench()
    bench.session.request_resync(bench.now)
    assert [(sent.kind, sent.flags) for sent in bench.say()] == [(CONTROL, RESYNC)]


def test_what_was_lost_is_there_when_the_refresh_time_has_passed() -> None:
    speaker, listener = Bench(flows=2000), Bench()
    speaker.run(3.0)
    for number in range(0, 2000, 3):
        speaker.follow(event(make_flow(number, mark=number), False, ("mark",)))
    speaker.run(3.0)
    speaker.datagrams.clear()
    assert len(listener.external) == 0
    listener.now = speaker.now
    speaker.run(REFRESH_TIME + SLACK)
    listener.hear(*speaker.datagrams)
    assert records(read_table(listener.external.table)) == records(read_table(speaker.internal.table))


def test_losses_are_counted() -> None:
    bench = Bench()
    bodies = [flow_body(make_flow(number), 30) for number in range(3)]
    bench.hear(*(message(NEW, 0, sequence, body) for sequence, body in zip((5, 9, 6), bodies, strict=True)))
    assert (bench.session.messages_received, bench.session.messages_lost) == (3, 3)
    assert bench.session.messages_before == 1


def test_a_hand_survives_a_table_that_was_emptied() -> None:
    hand = Hand(10.0, 0.0)
    assert hand.move(hand.due(1000, 5.0), 1000) == (0, 500)
    assert hand.due(0, 6.0) == 0
    assert hand.move(hand.due(20, 7.0), 20) == (0, 2)


def test_a_hand_that_was_late_goes_round_once() -> None:
    hand = Hand(10.0, 0.0)
    assert hand.due(1000, 10_000.0) == 1000
    hand.move(1000, 1000)
    assert hand.due(1000, 10_000.0) == 0
    assert 10_000.0 < hand.deadline(1000) <= 10_000.0 + STEP
