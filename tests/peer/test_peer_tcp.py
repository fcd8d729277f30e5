# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers over TCP whose connections end while flows change: both are equal again without anybody's command."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import pytest

from testbed import wait_until
from testbed.configuration import Mode
from tests.peer.flows import batch_of, changed, name_of, varied_flows
from tests.peer.nodes import Field, Kind, Node, Pair

PEERS: list[tuple[Kind, Kind]] = [("ours", "ours"), ("ours", "C"), ("C", "ours")]
MODES: list[Mode] = ["FTFW", "NOTRACK"]
CASES = [(*peers, mode) for peers, mode in product(PEERS, MODES)]

FLOWS = 2000
DEADLINE = 40.0

RESET = """
    table inet broken {
        chain arriving {
            type filter hook input priority filter
            tcp dport 3780 reject with tcp reset
        }
        chain leaving {
            type filter hook output priority filter
            tcp dport 3780 reject with tcp reset
        }
    }
"""
SILENT = """
    table inet broken {
        chain arriving {
            type filter hook input priority filter
            meta l4proto tcp tcp dport 3780 drop
            meta l4proto tcp tcp sport 3780 drop
        }
    }
"""


@pytest.fixture
def pair(request: pytest.FixtureRequest, field: Field) -> Iterator[Pair]:
    """A pair over TCP whose receiver has asked for all there is."""
    sender, receiver, mode = request.param
    with field.pair(sender, receiver, mode, "tcp").running() as running:
        running.receiver.daemon.client("-n")
        running.sender.create(varied_flows(FLOWS))
        running.wait_equal(DEADLINE)
        yield running


each_case = pytest.mark.parametrize("pair", CASES, ids="-".join, indirect=True)


def status(node: Node) -> tuple[str, str]:
    """What `-s` says of the two connections: the one that the peer made, and the own one."""
    found = re.search(r"^TCP traffic \(active device=sync\) server=(\w+) client=(\w+):$", said(node), re.M)
    assert found is not None, said(node)
    return found[1], found[2]


def said(node: Node) -> str:
    return node.daemon.client("-s").stdout


@contextmanager
def broken(node: Node, rules: str) -> Iterator[None]:
    """The link, as a node's firewall would have it."""
    node.namespace.nft(rules)
    try:
        yield
    finally:
        node.namespace.nft("delete table inet broken")


def disturb(pair: Pair, first: int) -> None:
    """Change some flows, end some, add some. A C node in mode NOTRACK never tells an end again."""
    dice = random.Random(first)
    with pair.sender.table() as table:
        flows = table.dump_batch()
        third = len(flows) // 3
        assert not table.update_batch(batch_of(changed(flows, i, dice) for i in range(third)))
        if pair.sender.kind == "ours" or pair.sender.configuration.mode == "FTFW":
            assert not table.delete_batch(batch_of(name_of(flows, i) for i in range(third, 2 * third)))
    pair.sender.create(varied_flows(third, first=first + 1))


@each_case
def test_both_are_equal_after_a_silence_and_after_their_connections_ended(pair: Pair) -> None:
    with broken(pair.receiver, SILENT):
        disturb(pair, FLOWS)
        pair.sender.daemon.client("-s")
    pair.wait_equal(DEADLINE)
    ours = [node for node in pair.nodes if node.kind == "ours"]
    with broken(pair.receiver, RESET):
        disturb(pair, 2 * FLOWS)
        wait_until(
            lambda: {status(node)[1] for node in ours} == {"disconnected"}, DEADLINE, "a loss", pair.logs
        )
        disturb(pair, 4 * FLOWS)
    pair.wait_equal(DEADLINE)
    # A C node sees that its connection has ended when it sends.
    wait_until(
        lambda: {status(node) for node in pair.nodes} == {("connected", "connected")},
        DEADLINE,
        "both connections",
        pair.logs,
    )
    assert all("is lost: Connection re" in node.daemon.log() for node in ours)
