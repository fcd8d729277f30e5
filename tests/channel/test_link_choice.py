# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of several links is used, and that nodes settle on the same one."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count
from random import Random

import pytest

from pyconntrack.channel.link_choice import LONGEST_HOLD, Change, LinkChoice, Reason

LATER = LONGEST_HOLD + 0.001


def choice(running: list[bool], preference: list[int] | None = None) -> LinkChoice:
    order = preference or list(range(len(running)))
    return LinkChoice(order, running, Random(1), 0.0)


@pytest.mark.parametrize(
    ("running", "preference", "active"),
    [
        ([True, True, True], [0, 1, 2], 0),
        ([True, True, True], [1, 0, 2], 1),
        ([True, False, True], [1, 0, 2], 0),
        ([False, False, True], [1, 0, 2], 2),
        ([False, False, False], [1, 0, 2], 1),
        ([False], [0], 0),
    ],
)
def test_the_start(running: list[bool], preference: list[int], active: int) -> None:
    made = choice(running, preference)
    assert (made.active, made.any_runs) == (active, any(running))


def test_the_first_that_runs_takes_over_and_keeps_it() -> None:
    links = choice([True, True, True], [1, 0, 2])
    assert links.set_running(2, False, 10.0) is None
    assert links.set_running(1, False, 11.0) == Change(Reason.STOPPED, 1, 0)
    assert links.set_running(1, True, 12.0) is None
    assert links.active == 0
    assert links.set_running(0, False, 13.0) == Change(Reason.STOPPED, 0, 1)


def test_none_runs_is_told_once_and_so_is_the_first_that_runs_again() -> None:
    links = choice([True, True])
    assert links.set_running(0, False, 10.0) == Change(Reason.STOPPED, 0, 1)
    assert links.set_running(1, False, 10.0) == Change(Reason.NONE_RUNS, 1, 1)
    assert links.set_running(1, False, 11.0) is None
    assert links.set_running(0, False, 11.0) is None
    assert links.set_running(0, True, 12.0) == Change(Reason.RUNS_AGAIN, 1, 0)
    assert links.set_running(1, True, 12.0) is None
    assert links.active == 0


def test_one_link_alone() -> None:
    links = choice([True])
    assert links.set_running(0, False, 1.0) == Change(Reason.NONE_RUNS, 0, 0)
    assert links.set_running(0, True, 2.0) == Change(Reason.RUNS_AGAIN, 0, 0)
    assert links.hear(0, 9.0) is None


def test_a_node_that_starts_without_any_takes_the_first_that_comes() -> None:
    links = choice([False, False, False])
    assert links.set_running(2, True, 1.0) == Change(Reason.RUNS_AGAIN, 0, 2)


def test_others_are_followed_but_not_at_once_after_a_change() -> None:
    links = choice([True, True])
    assert links.hear(0, LATER) is None
    assert links.hear(1, 0.1) is None
    assert links.hear(1, LATER) == Change(Reason.FOLLOWED, 0, 1)
    assert links.hear(0, LATER + 0.1) is None
    assert links.hear(0, 2 * LATER) == Change(Reason.FOLLOWED, 1, 0)


def test_nobody_is_followed_to_a_link_that_does_not_run() -> None:
    links = choice([True, False])
    assert links.hear(1, LATER) is None
    links.set_running(1, True, LATER)
    assert links.hear(1, LATER) == Change(Reason.FOLLOWED, 0, 1)


class Cluster:
    """Nodes that say something at least once a second, over links that fail at one end at a time."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.links = random.randint(2, 4)
        self.now = 0.0
        self.last_change = 0.0
        self.running = [[True] * self.links for _ in range(random.randint(2, 4))]
        self.nodes = [self._node(running) for running in self.running]
        self._order = count()
        self._due: list[tuple[float, int, Iterator[float]]] = []
        for node in range(len(self.nodes)):
            self._push(random.random(), self._speak(node))

    def _node(self, running: list[bool]) -> LinkChoice:
        return LinkChoice(self.random.sample(range(self.links), self.links), running, self.random, 0.0)

    def _push(self, delay: float, what: Iterator[float]) -> None:
        heapq.heappush(self._due, (self.now + delay, next(self._order), what))

    def run(self, until: float) -> None:
        while self._due[0][0] < until:
            self.now, _, what = heapq.heappop(self._due)
            for pause in what:
                self._push(pause, what)
                break
        self.now = until

    def _speak(self, node: int) -> Iterator[float]:
        while True:
            link = self.nodes[node].active
            if self.running[node][link]:
                for other in range(len(self.nodes)):
                    if other != node:
                        self._push(self.random.uniform(0.0001, 0.01), self._hear(other, link))
            yield self.random.choice((0.001, 0.05, 1.0))

    def _hear(self, node: int, link: int) -> Iterator[float]:
        if self.running[node][link] and self.nodes[node].hear(link, self.now) is not None:
            self.last_change = self.now
        yield from ()

    def set_running(self, node: int, link: int, running: bool) -> None:
        self.running[node][link] = running
        if self.nodes[node].set_running(link, running, self.now) is not None:
            self.last_change = self.now


@pytest.mark.parametrize("block", range(4))
def test_nodes_settle_on_one_link_and_stay(block: int) -> None:
    for seed in range(50 * block, 50 * block + 50):
        cluster = Cluster(Random(seed))
        random = cluster.random
        for _ in range(random.randint(0, 12)):
            cluster.run(cluster.now + random.choice((0.0, 0.001, 0.5, 3.0)))
            node, link = random.randrange(len(cluster.nodes)), random.randrange(cluster.links)
            cluster.set_running(node, link, not cluster.running[node][link])
        for node in range(len(cluster.nodes)):
            for link in range(cluster.links):
                cluster.set_running(node, link, True)
        cluster.run(cluster.now + 120.0)
        assert len({node.active for node in cluster.nodes}) == 1, seed
        assert cluster.now - cluster.last_change > 60.0, seed
