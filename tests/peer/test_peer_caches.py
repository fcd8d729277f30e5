# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes without an external cache: what the peer has goes straight into their kernels.

Flows are made by hand in the sender's kernel. The receiver's kernel is to be as the sender's, and none of it
is to go back.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import product

import pytest

from testbed import Configuration, wait_until
from testbed.configuration import Mode
from tests.peer.flows import batch_of, changed, name_of, varied_flows
from tests.peer.nodes import Field, Kind, Node, Pair
from tests.peer.tables import differences

PEERS: list[tuple[Kind, Kind]] = [("ours", "ours"), ("ours", "C"), ("C", "ours")]
MODES: list[Mode] = ["FTFW", "NOTRACK"]
FLOWS = 600


def inject(configuration: Configuration) -> None:
    configuration.mode_lines = [*configuration.mode_lines, "DisableExternalCache yes"]


@pytest.fixture(params=product(PEERS, MODES), ids=lambda case: f"{case[0][0]}-{case[0][1]}-{case[1]}")
def pair(request: pytest.FixtureRequest, field: Field) -> Iterator[Pair]:
    (sender, receiver), mode = request.param
    with field.pair(sender, receiver, mode, "udp", inject).running() as running:
        yield running


def wait_kernels_equal(pair: Pair) -> None:
    """Wait until the receiver's kernel has what the sender's has."""

    def found() -> list[str]:
        return differences(pair.expected(), pair.receiver.kernel(), timeout_tolerance=60, ignoring=pair.lost)

    wait_until(lambda: not found(), 30.0, "equal kernels", lambda: "\n".join([*found(), pair.logs()]))


def injected(node: Node) -> list[tuple[int, int]]:
    """How many connections were created, updated and destroyed, and how often that failed, by `-s`."""
    text = node.daemon.client("-s").stdout.partition("external inject:\n")[2].partition("\n\n")[0]
    return [(int(good), int(bad)) for good, bad in re.findall(r":\s+(\d+)\s+failed:\s+(\d+)", text)]


def change_all(node: Node) -> None:
    """Change the flows of a kernel, and end every third."""
    dice = random.Random(5)
    with node.table() as table:
        flows = table.dump_batch()
        refused = table.update_batch(batch_of(changed(flows, index, dice) for index in range(len(flows))))
        assert not refused, refused[0]
        assert not table.delete_batch(batch_of(name_of(flows, index) for index in range(0, len(flows), 3)))


def test_the_peers_flows_are_in_the_kernel_and_nowhere_else(pair: Pair) -> None:
    sender, receiver = pair.nodes
    sender.create(varied_flows(FLOWS))
    wait_kernels_equal(pair)
    change_all(sender)
    wait_kernels_equal(pair)
    assert sender.active("internal") == len(sender.kernel()) == FLOWS - FLOWS // 3
    assert receiver.active("internal") == 0
    assert injected(sender) == [(0, 0)] * 3
    assert receiver.daemon.client("-e").stdout == ""
    receiver.flush_kernel()
    sender.daemon.client("-B")
    wait_kernels_equal(pair)
    receiver.flush_kernel()
    receiver.daemon.client("-n")
    wait_kernels_equal(pair)
    assert injected(sender) == [(0, 0)] * 3
    sender.flush_kernel()
    wait_until(lambda: len(receiver.kernel()) == 0, 30.0, "an empty kernel", pair.logs)
