# SPDX-License-Identifier: GPL-2.0-or-later
"""What a session does when a link is back that may have lost what was under way, either way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.replication.alarm import Alarm
from pyconntrack.replication.ftfw import Ftfw
from pyconntrack.replication.notrack import Notrack
from pyconntrack.replication.session import Session
from tests.core.support_flows import UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import destroy, event
from tests.core.support_network import Sent, messages_of
from tests.core.support_wire import message

NEW, UPDATE, DESTROY, CONTROL = 0, 1, 2, 10
RESYNC, ALIVE, DIGEST = 0x02, 0x10, 0x01
PEER = "192.0.2.2"
PLAIN_ALIVE = message(CONTROL, ALIVE, 7)
DIGEST_ALIVE = message(CONTROL, ALIVE | DIGEST, 7, bytes(16))


def make_flow(number: int) -> KernelFlow:
    return KernelFlow(FlowTuple(bytes(4), number.to_bytes(4, "big"), UDP, (1, 53)), number)


def notrack(resend_limit: int = 100) -> Notrack:
    return Notrack(InternalCache(resend_limit=resend_limit), ExternalCache(), first_sequence=1, now=0.0)


def ftfw() -> Ftfw:
    return Ftfw(InternalCache(resend_limit=100), ExternalCache(), first_sequence=1, now=0.0)


def alarm() -> Alarm:
    return Alarm(InternalCache(), ExternalCache(), first_sequence=1, now=0.0)


def say(session: Session, now: float = 0.1) -> list[Sent]:
    said, out = [], Datagrams(1472)
    while session.fill(out, now):
        said += messages_of(out)
        out.clear()
    return said


def flows(said: list[Sent]) -> list[int]:
    """The kinds of messages about flows."""
    return [sent.kind for sent in said if sent.kind != CONTROL]


def asks(said: list[Sent]) -> bool:
    return any(sent.kind == CONTROL and sent.flags & RESYNC for sent in said)


def lose_three_flows(session: Session) -> None:
    """Tell of three flows, and of the end of one of them."""
    for number in (1, 2, 3):
        session.internal.follow(event(make_flow(number), True, ()), 0)
    assert flows(say(session)) == [NEW, NEW, NEW]
    session.internal.follow(destroy(make_flow(2)), 0)
    assert flows(say(session)) == [DESTROY]


def test_notrack_tells_again_what_was_lost_and_what_ended() -> None:
    session = notrack()
    session.receive(DIGEST_ALIVE, PEER, 0.0)
    lose_three_flows(session)
    session.link_restored(0.1)
    assert sorted(flows(say(session))) == [NEW, NEW, DESTROY]
    assert session.bulks_sent == 0


def test_notrack_tells_all_to_a_node_that_would_not_ask() -> None:
    session = notrack(resend_limit=1)
    session.receive(PLAIN_ALIVE, PEER, 0.0)
    lose_three_flows(session)
    session.link_restored(0.1)
    # Of what was sent the last is known; of what there is, all.
    told = flows(say(session))
    assert len(told) >= 2
    assert UPDATE in told
    assert session.bulks_sent == 1


def test_ftfw_shows_at_once_how_far_its_numbers_go() -> None:
    session = ftfw()
    lose_three_flows(session)
    session.link_restored(0.1)
    said = say(session)
    assert [(sent.kind, sent.flags & ALIVE) for sent in said] == [(CONTROL, ALIVE)]
    assert session.bulks_sent == 0


def test_alarm_waits_for_its_refresh() -> None:
    session = alarm()
    session.receive(PLAIN_ALIVE, PEER, 0.0)
    session.link_restored(0.1)
    session.link_renewed(0.1)
    assert say(session) == []


@pytest.mark.parametrize(
    ("make", "heard", "expected"),
    [
        (notrack, PLAIN_ALIVE, True),
        (notrack, DIGEST_ALIVE, True),
        (ftfw, PLAIN_ALIVE, True),
        (ftfw, DIGEST_ALIVE, False),
    ],
)
def test_what_a_peer_sent_in_vain_is_asked_for(
    make: Callable[[], Session], heard: bytes, expected: bool
) -> None:
    session = make()
    session.receive(heard, PEER, 0.0)
    say(session)
    session.link_renewed(0.1)
    assert asks(say(session)) == expected


@pytest.mark.parametrize("make", [notrack, ftfw])
def test_a_first_connection_is_no_reason_to_ask_but_an_operator_is(make: Callable[[], Session]) -> None:
    session = make()
    session.link_renewed(0.0)
    assert not asks(say(session))
    session.request_resync(0.0)
    assert asks(say(session))
    session.link_renewed(0.1)
    assert asks(say(session))


def test_connections_that_end_one_after_the_other_are_asked_after_less_and_less_often() -> None:
    session = notrack()
    session.receive(PLAIN_ALIVE, PEER, 0.0)
    say(session)
    asked = []
    for now in range(1, 100):
        session.link_renewed(float(now))
        session.advance(float(now))
        if asks(say(session, float(now))):
            asked.append(now)
    assert asked == [1, 3, 7, 15, 31, 63]
    # The last end is asked after, too, and after a quiet time there is no pause.
    for now in range(100, 200):
        session.advance(float(now))
        if asks(say(session, float(now))):
            asked.append(now)
    assert asked[6:] == [127]
    session.advance(500.0)
    assert not asks(say(session, 500.0))
    for later in (500.0, 502.0):
        session.link_renewed(later)
        assert asks(say(session, later))
