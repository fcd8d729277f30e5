# SPDX-License-Identifier: GPL-2.0-or-later
"""No work holds the event loop for long: the daemon answers while a bulk, a dump and a commit run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import Process, wait_until
from tests.peer.flows import varied_flows
from tests.peer.nodes import MANY, OURS, Field, Pair

pytestmark = pytest.mark.alone

HELD_SECONDS = 0.025
"""CPU time, for what else runs on this machine does not count.

Half of the limit: what grows with the table would hold a larger one for longer.
"""

MEASURED = Path(__file__).with_name("measured_daemon.py")


@pytest.fixture
def measured(field: Field) -> tuple[Pair, list[Path]]:
    """A pair of ours, not started, whose event loops are measured."""
    pair = field.pair("ours", "ours", "FTFW", "udp")
    reports = [node.namespace.directory / f"{node.daemon.name}.measured" for node in pair.nodes]
    for node, report in zip(pair.nodes, reports, strict=True):
        node.daemon.command = [*OURS[:2], sys.executable, "-P", str(MEASURED), str(report)]
    return pair, reports


def longest(report: Path) -> dict[str, float]:
    """The longest CPU time by kind of callback."""
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    return {name: cpu for name, cpu, _ in rows}


def test_nothing_holds_the_event_loop(measured: tuple[Pair, list[Path]]) -> None:
    pair, reports = measured
    pair.start()
    pair.sender.create(varied_flows(MANY))
    pair.wait_equal()
    pair.sender.daemon.client("-B")
    pair.receiver.daemon.client("-n")
    pair.sender.daemon.client("-R")
    pair.commit()
    pair.receiver.daemon.client("-c")
    pair.wait_equal()
    pair.receiver.daemon.client("-F")
    pair.sender.daemon.client("-f")
    pair.receiver.daemon.client("-f", "external")
    pair.sender.daemon.client("-R")
    pair.stop()
    slow = {
        f"{node.daemon.name}: {name}": seconds
        for node, report in zip(pair.nodes, reports, strict=True)
        for name, seconds in longest(report).items()
        if seconds > HELD_SECONDS
    }
    assert not slow


def test_statistics_are_answered_while_a_commit_runs(field: Field) -> None:
    pair = field.pair("ours", "ours", "FTFW", "udp")
    pair.start()
    pair.sender.create(varied_flows(MANY))
    pair.wait_equal()
    commit = start_client(pair, "-c")
    assert count_answers_during(pair, commit) >= 3
    wait_until(lambda: pair.receiver.active("internal") == MANY, 30.0, "the committed flows' events")
    bulk = start_client(pair, "-n")
    assert bulk.wait(30.0) == 0
    pair.stop()


def start_client(pair: Pair, option: str) -> Process:
    daemon = pair.receiver.daemon
    return pair.receiver.namespace.popen(
        [*daemon.command, "-C", str(daemon.configuration_file), option], name=f"client{option}"
    )


def count_answers_during(pair: Pair, client: Process) -> int:
    """How many answers to `-s` came while the client waited for its own."""
    answers = 0
    while client.running:
        statistics = pair.receiver.daemon.client("-s").stdout
        assert "cache external:" in statistics
        answers += client.running
    assert client.poll() == 0, subprocess.list2cmdline(client.args)
    return answers
