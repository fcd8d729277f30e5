# SPDX-License-Identifier: GPL-2.0-or-later
"""Our daemon and the C one as peers, in either role, each mode and kind of link, through a whole life.

What `-n` and `-B` mean is defined for the modes FTFW and NOTRACK. In mode ALARM a C node does nothing at
either; the next refresh brings what the command would have brought, within `REFRESH_TIME` and one second
more. There the commands are given all the same, for they must do no harm.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import pytest

from testbed import Configuration, in_user_namespace, wait_until
from testbed.configuration import Mode
from tests.peer.flows import batch_of, changed, name_of, varied_flows
from tests.peer.nodes import MANY, Cache, Field, Kind, Node, Pair, Transport

Peers = tuple[Kind, Kind]
Case = tuple[Peers, Mode, Transport]

PEERS: list[Peers] = [("ours", "ours"), ("ours", "C"), ("C", "ours")]
MODES: list[Mode] = ["FTFW", "NOTRACK", "ALARM"]
LINKS: list[Transport] = ["multicast", "udp", "tcp"]
IPV6: list[Case] = [
    (("ours", "C"), "FTFW", "udp6"),
    (("C", "ours"), "NOTRACK", "udp6"),
    (("C", "ours"), "FTFW", "multicast6"),
    (("ours", "C"), "ALARM", "multicast6"),
    (("C", "ours"), "FTFW", "tcp6"),
    (("ours", "C"), "NOTRACK", "tcp6"),
]
MATRIX: list[Case] = [*product(PEERS, MODES, LINKS), *IPV6]
LARGE: list[Case] = [
    (("C", "ours"), "FTFW", "udp"),
    (("ours", "C"), "FTFW", "multicast"),
    (("ours", "C"), "NOTRACK", "udp"),
    (("ours", "ours"), "ALARM", "udp"),
    (("ours", "ours"), "FTFW", "tcp"),
]

# The C daemon's event socket is small in a user namespace, and what overran it is missing for half a minute.
FLOWS = 200 if in_user_namespace() else 1000
REFRESH_TIME = 1
# So long that no entry goes while a busy machine lets a refresh wait.
CACHE_TIMEOUT = 20


def name(case: Case) -> str:
    (sender, receiver), mode, transport = case
    return f"{sender}-{receiver}-{mode}-{transport}"


@pytest.fixture
def pair(request: pytest.FixtureRequest, field: Field) -> Iterator[Pair]:
    """The pair of a case, running; it must end well."""
    (sender, receiver), mode, transport = request.param
    with field.pair(sender, receiver, mode, transport, adapt).running() as running:
        yield running


def adapt(configuration: Configuration) -> None:
    if configuration.mode == "ALARM":
        configuration.mode_lines = [f"RefreshTime {REFRESH_TIME}", f"CacheTimeout {CACHE_TIMEOUT}"]


@pytest.mark.parametrize("pair", MATRIX, ids=name, indirect=True)
def test_peers_are_equal_through_a_whole_life(pair: Pair) -> None:
    pair.sender.create(varied_flows(FLOWS))
    pair.wait_equal()
    disturb(pair, FLOWS)
    pair.wait_equal()
    resync(pair)
    bulk(pair)
    commit(pair)
    if pair.receiver.kind == "C":
        # After a commit it does not flush its external cache, until it is started again.
        restart(pair, pair.receiver, kill=False)
    flush(pair)
    for kill in (True, False):
        restart(pair, pair.receiver, kill=kill)
        restart(pair, pair.sender, kill=kill)
    disturb(pair, 2 * FLOWS)
    pair.wait_equal()
    commit(pair)


@pytest.mark.parametrize("pair", LARGE, ids=name, indirect=True)
def test_peer_has_all_of_a_large_table_and_commits_it_as_it_was(pair: Pair) -> None:
    pair.sender.create(varied_flows(MANY))
    pair.wait_equal()
    disturb(pair, MANY)
    pair.wait_equal()
    commit(pair)


def disturb(pair: Pair, first: int) -> None:
    """Change and end flows of the sender, let some begin again as something else, and add some.

    `first` is more than the number of any flow there is.
    """
    dice = random.Random(first)
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
    pair.sender.create(varied_flows(third, first=first + 1))


def resync(pair: Pair) -> None:
    """The receiver asks for what it lacks."""
    empty(pair, pair.receiver, "external")
    pair.receiver.daemon.client("-n")
    pair.wait_equal()


def bulk(pair: Pair) -> None:
    """The sender tells all that it has."""
    empty(pair, pair.receiver, "external")
    pair.sender.daemon.client("-B")
    pair.wait_equal()


def commit(pair: Pair) -> None:
    """Compare the kernels attribute by attribute; the receiver's is left empty."""
    pair.check_commit()
    pair.receiver.daemon.client("-F")
    wait_until(lambda: not len(pair.receiver.kernel()), 10.0, "an empty kernel table", pair.logs)
    pair.wait_equal()


def flush(pair: Pair) -> None:
    """Either cache alone, which leaves the others, then both."""
    entries = len(pair.sender.kernel())
    empty(pair, pair.receiver, "external")
    assert pair.sender.active("internal") == entries
    pair.receiver.daemon.client("-n")
    pair.wait_equal()
    empty(pair, pair.sender, "internal")
    assert pair.receiver.active("external") == entries
    refill(pair)
    with silence(pair.sender):
        pair.receiver.daemon.client("-f")
        wait_empty(pair, pair.receiver, "external")
    pair.sender.daemon.client("-f")
    wait_empty(pair, pair.sender, "internal")
    refill(pair)


def refill(pair: Pair) -> None:
    """Fill the sender's internal cache from its kernel, and tell all."""
    pair.sender.daemon.client("-R")
    entries = len(pair.sender.kernel())
    wait_until(lambda: pair.sender.active("internal") == entries, 10.0, "a full internal cache", pair.logs)
    pair.sender.daemon.client("-B")
    pair.wait_equal()


def restart(pair: Pair, node: Node, *, kill: bool) -> None:
    node.restart(kill=kill)
    pair.wait_connected()
    pair.receiver.daemon.client("-n")
    pair.wait_equal()


def empty(pair: Pair, node: Node, cache: Cache) -> None:
    """Flush a cache, which is then empty as long as nothing is told."""
    other = pair.sender if node is pair.receiver else pair.receiver
    with silence(other):
        node.daemon.client("-f", cache)
        wait_empty(pair, node, cache)


def wait_empty(pair: Pair, node: Node, cache: Cache) -> None:
    wait_until(lambda: node.active(cache) == 0, 10.0, f"an empty {cache} cache", pair.logs)


@contextmanager
def silence(node: Node) -> Iterator[None]:
    """Hold a daemon still: in mode ALARM it would tell all again at any moment."""
    node.daemon.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        node.daemon.process.send_signal(signal.SIGCONT)
