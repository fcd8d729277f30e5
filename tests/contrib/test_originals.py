# SPDX-License-Identifier: GPL-2.0-or-later
"""What the scripts that ours replace ask of conntrackd, step by step, is answered as they expect it.

They look at the status of each call, and take 1 alone for a failure.
"""

from __future__ import annotations

import pytest

from testbed import Testbed, wait_until
from tests.contrib.firewalls import Pair

PRIMARY, BACKUP, FAULT = ["-c", "-f", "-R", "-B"], ["-s", "-t", "-n"], ["-t"]


@pytest.fixture
def pair(bed: Testbed) -> Pair:
    return Pair(bed)


def statuses(pair: Pair, options: list[str]) -> list[int]:
    return [pair.daemons[0].client(option, check=False).returncode for option in options]


def test_no_daemon_is_there(pair: Pair) -> None:
    for options in (PRIMARY, BACKUP, FAULT):
        assert statuses(pair, options) == [1] * len(options)


def test_backup_starts_it_and_every_step_succeeds(pair: Pair) -> None:
    """As at boot: asked for statistics, it is not there; started with -d, it is when that returns."""
    daemon = pair.daemons[0]
    # What a crash leaves behind: the script removes it, which ours can do without.
    daemon.lock.touch()
    assert statuses(pair, ["-s", "-d"]) == [1, 0]
    for options in (BACKUP, PRIMARY, BACKUP, FAULT, BACKUP, PRIMARY):
        assert statuses(pair, options) == [0] * len(options)
    # A second one does not start beside it.
    assert statuses(pair, ["-d"]) == [1]
    assert statuses(pair, ["-k"]) == [0]
    wait_until(lambda: statuses(pair, ["-s"]) == [1], 10.0, "its end")


def test_our_script_starts_it_too(pair: Pair) -> None:
    daemon = pair.daemons[0]
    daemon.lock.touch()
    pair.tell(0, "backup")
    assert statuses(pair, BACKUP) == [0, 0, 0]
    pair.tell(0, "primary")
    warnings = pair.scripts[0].said()
    assert [line.split()[0] for line in warnings] == ["WARNING:"]
    assert statuses(pair, ["-k"]) == [0]
    # The daemon, which lives on, has not kept the lock that changes of role take their turns by.
    pair.tell(0, "fault")
