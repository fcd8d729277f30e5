# SPDX-License-Identifier: GPL-2.0-or-later
"""What the log tells of nodes that fall silent."""

from __future__ import annotations

from pyconntrack.daemon.node_checks import Silences
from pyconntrack.replication.session import SILENCE
from tests.daemon.test_watch import Lines
from tests.replication.test_ftfw import data
from tests.replication.test_group import LEFT, RIGHT, Group

SILENT = f"warning: node {LEFT} has fallen silent: 1 flow of it in the external cache"
AGAIN = f"notice: node {LEFT} is heard again"


def test_a_node_that_falls_silent_is_told_and_when_it_is_back_at_most_once_a_minute() -> None:
    group, log = Group(), Lines()
    group.hear(data(1000), sender=LEFT)
    check = Silences(group.session)
    assert log.at(check, group.now) == []
    sequence = 1000

    def hear(*, left: bool) -> list[str]:
        nonlocal sequence
        told = []
        for _ in range(int(SILENCE) + 2):
            sequence += 1
            group.hear(data(sequence, number=9), sender=RIGHT)
            if left:
                group.hear(data(sequence, number=1), sender=LEFT)
            group.wait(1.0)
            told += log.at(check, group.now)
        return told

    assert hear(left=False) == [SILENT]
    assert hear(left=True) == [AGAIN]
    assert hear(left=False) == []
    assert [line for _ in range(8) for line in hear(left=False)] == [SILENT]
    assert hear(left=True) == [AGAIN]
