# SPDX-License-Identifier: GPL-2.0-or-later
"""Our daemon and the C one as peers, in either role, in each mode over each kind of link."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product

import pytest

from testbed import wait_until
from testbed.configuration import Mode
from tests.peer.flows import batch_of, changed, name_of, varied_flows
from tests.peer.nodes import MANY, SOME, Field, Kind, Pair, Transport

PEERS: list[tuple[Kind, Kind]] = [("ours", "C"), ("C", "ours"), ("ours", "ours")]
MODES: list[Mode] = ["FTFW", "NOTRACK"]
IPV4: list[Transport] = ["udp", "multicast"]
IPV6: list[tuple[tuple[Kind, Kind], Mode, Transport]] = [
    (("ours", "C"), "FTFW", "udp6"),
    (("C", "ours"), "NOTRACK", "udp6"),
    (("C", "ours"), "FTFW", "multicast6"),
    (("ours", "ours"), "NOTRACK", "multicast6"),
]
MATRIX = [*product(PEERS, MODES, IPV4), *IPV6]
Case = tuple[tuple[Kind, Kind], Mode, Transport]


@pytest.fixture(params=MATRIX, ids=lambda case: f"{'-'.join(case[0])}-{case[1]}-{case[2]}")
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture
def pair(field: Field, case: Case) -> Iterator[Pair]:
    """The pair of a case, running; it must end well."""
    (sender, receiver), mode, transport = case
    with field.pair(sender, receiver, mode, transport).running() as running:
        yield running


def test_peer_has_all_flows_and_commits_them_as_they_were(pair: Pair, case: Case) -> None:
    pair.sender.create(varied_flows(MANY if case[2] == "udp" else SOME))
    pair.wait_equal()
    pair.check_commit()


def test_peer_follows_changes_and_ends(pair: Pair) -> None:
    pair.sender.create(varied_flows(SOME))
    pair.wait_equal()
    disturb(pair, random.Random(SOME))
    pair.wait_equal()
    pair.check_commit()


def disturb(pair: Pair, dice: random.Random) -> None:
    """Change and end flows of the sender, and let some begin again as something else."""
    with pair.sender.table() as table:
        flows = table.dump_batch()
        order = list(range(len(flows)))
        dice.shuffle(order)
        third = len(order) // 3
        for _ in range(2):
            assert not table.update_batch(batch_of(changed(flows, i, dice) for i in order[:third]))
        ended = batch_of(name_of(flows, i) for i in order[third : 2 * third])
        assert not table.delete_batch(ended)
        again = batch_of(
            {**name_of(flows, i), "timeout": 5000, "mark": 0xA6A1, "status": 0}
            for i in order[third : 3 * third // 2]
        )
        assert not table.create_batch(again)
    pair.sender.create(varied_flows(third, first=10 * SOME))


def test_peer_gets_what_it_lacks(pair: Pair) -> None:
    """By a request (-n), by a bulk (-B), after a restart of either, clean or not."""
    pair.sender.create(varied_flows(SOME))
    pair.wait_equal()
    empty_external(pair)
    pair.receiver.daemon.client("-n")
    pair.wait_equal()
    empty_external(pair)
    pair.sender.daemon.client("-B")
    pair.wait_equal()
    for kill in (True, False):
        pair.receiver.restart(kill=kill)
        pair.receiver.daemon.client("-n")
        pair.wait_equal()
        pair.sender.restart(kill=kill)
        pair.receiver.daemon.client("-n")
        pair.wait_equal()
    disturb(pair, random.Random(SOME))
    pair.wait_equal()
    pair.check_commit()


def empty_external(pair: Pair) -> None:
    pair.receiver.daemon.client("-f", "external")
    wait_until(lambda: pair.receiver.active("external") == 0, 10.0, "an empty external cache", pair.logs)
