# SPDX-License-Identifier: GPL-2.0-or-later
"""Two of our daemons in step with one another, whose kernel tables change all the time."""

from __future__ import annotations

import random
import re

from testbed import wait_until
from tests.faults.faulty import FaultySystem
from tests.peer.flows import batch_of, changed, name_of, varied_flows
from tests.peer.nodes import Field, Node, Pair

FLOWS = 120
DEADLINE = 60.0


class Scene:
    """A pair that runs, its surroundings, and changes."""

    def __init__(self, field: Field, pair: Pair, system: FaultySystem) -> None:
        self.field = field
        self.pair = pair
        self.system = system
        self._first = 1
        self._dice = random.Random(1)

    def change(self) -> None:
        """Flows begin, change and end in the first node's kernel."""
        self.pair.sender.create(varied_flows(FLOWS, self._first))
        self._first += FLOWS
        with self.pair.sender.table() as table:
            flows = table.dump_batch()
            numbers = self._dice.sample(range(len(flows)), FLOWS // 2)
            ended, others = numbers[: FLOWS // 4], numbers[FLOWS // 4 :]
            assert not table.update_batch(batch_of(changed(flows, i, self._dice) for i in others))
            assert not table.delete_batch(batch_of(name_of(flows, i) for i in ended))

    def wait_equal(self) -> None:
        self.pair.wait_equal(DEADLINE)

    def wait_logged(self, node: Node, pattern: str) -> None:
        """Wait until a line of a node's log matches."""
        expression = re.compile(pattern)
        wait_until(
            lambda: expression.search(node.daemon.log()) is not None,
            DEADLINE,
            f"{pattern} in the log",
            self.pair.logs,
        )

    def check_alive(self) -> None:
        """Both daemons run, and answer."""
        for node in self.pair.nodes:
            node.daemon.expect_running()
            assert "cache internal:" in node.daemon.client("-s").stdout


def statistic(node: Node, subject: str, name: str) -> int:
    """A number of `conntrackd -s SUBJECT`, which stands behind its name."""
    lines = node.daemon.client("-s", subject).stdout.splitlines()
    return next(int(line.rpartition("\t")[2]) for line in lines if name in line)
