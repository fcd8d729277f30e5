# SPDX-License-Identifier: GPL-2.0-or-later
"""Some hundred seeds of the simulation, and whether it can fail at all."""

from __future__ import annotations

import pytest

from pyconntrack.core.external import ExternalCache
from pyconntrack.replication.ftfw import Ftfw
from pyconntrack.replication.pace import Hand
from pyconntrack.replication.peer import Peer
from tests.replication.invariant import DivergenceError
from tests.replication.kernel import SimulatedKernel
from tests.replication.node import REFRESH_TIME, Node
from tests.replication.simulation import Simulation

SEEDS_PER_TEST = 25


@pytest.mark.parametrize("first", range(0, 200, SEEDS_PER_TEST))
@pytest.mark.parametrize(
    ("mode", "digests"), [("ftfw", True), ("ftfw", False), ("notrack", True), ("alarm", True)]
)
def test_caches_become_equal(mode: str, digests: bool, first: int) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        Simulation(seed, mode, digests).run()


@pytest.mark.parametrize("first", range(0, 24, 8))
@pytest.mark.parametrize("nodes", [3, 4])
@pytest.mark.parametrize("mode", ["ftfw", "notrack", "alarm"])
def test_groups_become_equal(mode: str, nodes: int, first: int) -> None:
    for seed in range(first, first + 8):
        Simulation(seed, mode, nodes=nodes).run()


@pytest.mark.parametrize("nodes", [2, 3])
def test_a_resend_queue_of_thousands_is_worked_off(nodes: int) -> None:
    for seed in range(2):
        Simulation(seed, "ftfw", nodes=nodes, crowd=6000).run()


def test_an_acknowledgement_that_is_taken_for_everybodys_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one node has acknowledged would not go out again to another one that lacks it."""

    def take(self: Ftfw, first: int, last: int, peer: Peer) -> None:
        self.internal.queue.acknowledge(first, last)

    monkeypatch.setattr(Ftfw, "_take_acknowledgement", take)
    monkeypatch.setattr(Peer, "compare", lambda *_: False)
    with pytest.raises(DivergenceError):
        for seed in range(50):
            Simulation(seed, "ftfw", nodes=3).run()


def test_a_seed_replays_exactly() -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        Simulation(5, "ftfw", trace=trace.append).run()
    assert traces[0] == traces[1]
    assert len(traces[0]) > 100


def test_an_undrained_queue_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events from before a loss that are taken for newer than the dump leave the cache wrong."""
    monkeypatch.setattr(Node, "_drain", lambda self, now: None)
    with pytest.raises(DivergenceError):
        for seed in range(50):
            Simulation(seed, "ftfw").run()


def test_a_lost_event_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(kernel: SimulatedKernel) -> bytes | None:
        kernel._loss_told = True
        return original(kernel)

    original = SimulatedKernel.receive
    monkeypatch.setattr(SimulatedKernel, "receive", forget)
    with pytest.raises(DivergenceError):
        for seed in range(50):
            Simulation(seed, "ftfw").run()


@pytest.mark.parametrize("hand", ["_refresh", "_expiry"])
def test_a_hand_that_stands_still_is_found(monkeypatch: pytest.MonkeyPatch, hand: str) -> None:
    """Without one what was lost stays missing, without the other what has ended stays."""

    def due(self: Hand, slots: int, now: float) -> int:
        return 0 if (self.period == REFRESH_TIME) == (hand == "_refresh") else original(self, slots, now)

    original = Hand.due
    monkeypatch.setattr(Hand, "due", due)
    with pytest.raises(DivergenceError):
        for seed in range(50):
            Simulation(seed, "alarm").run()


def test_a_message_that_is_not_applied_is_found() -> None:
    simulation = Simulation(3, "notrack")
    simulation.run()
    receiver = simulation.nodes["left"]
    receiver.external = ExternalCache()
    with pytest.raises(DivergenceError):
        simulation._report_divergence()
