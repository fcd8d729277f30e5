# SPDX-License-Identifier: GPL-2.0-or-later
"""Our daemon and the C one as peers, in either role, in each mode over each kind of link."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from testbed.configuration import Mode
from tests.peer.flows import varied_flows
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


@pytest.fixture(params=MATRIX, ids=lambda case: f"{'-'.join(case[0])}-{case[1]}-{case[2]}")
def case(request: pytest.FixtureRequest) -> tuple[tuple[Kind, Kind], Mode, Transport]:
    chosen: tuple[tuple[Kind, Kind], Mode, Transport] = request.param
    return chosen


@pytest.fixture
def pair(field: Field, case: tuple[tuple[Kind, Kind], Mode, Transport]) -> Iterator[Pair]:
    """The pair of a case, running; it must end well."""
    (sender, receiver), mode, transport = case
    made = field.pair(sender, receiver, mode, transport)
    made.start()
    yield made
    made.stop()


def test_peer_has_all_flows_and_commits_them_as_they_were(
    pair: Pair, case: tuple[tuple[Kind, Kind], Mode, Transport]
) -> None:
    pair.sender.create(varied_flows(MANY if case[2] == "udp" else SOME))
    pair.wait_equal()
    pair.check_commit()
