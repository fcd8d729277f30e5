# SPDX-License-Identifier: GPL-2.0-or-later
"""Without external caches, a kernel expects what the other one does, and its node does not tell it back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyconntrack import ExpectationTable
from testbed import Configuration, wait_until
from testbed.configuration import Mode
from tests.peer.expectations import expected_by, lines_of, packed, varied
from tests.peer.nodes import Field, Kind, Pair

SOME = 35


@pytest.fixture(params=[("ours", "FTFW"), ("ours", "NOTRACK"), ("C", "FTFW")], ids="-".join)
def pair(field: Field, request: pytest.FixtureRequest) -> Iterator[Pair]:
    kind: Kind = request.param[0]
    mode: Mode = request.param[1]

    def adapt(configuration: Configuration) -> None:
        configuration.options = ["ExpectationSync on"]
        configuration.mode_lines.append("DisableExternalCache yes")

    with field.pair(kind, "ours", mode, "udp", adapt).running() as running:
        running.receiver.flush_kernel()
        yield running


def wait_equal(pair: Pair) -> None:
    """Wait until both kernels expect the same."""

    def lines() -> list[list[bytes]]:
        return [lines_of(expected_by(node.namespace)) for node in pair.nodes]

    wait_until(
        lambda: lines()[0] == lines()[1], 20.0, "the same expectations", lambda: f"{lines()}{pair.logs()}"
    )


def test_kernels_expect_the_same(pair: Pair) -> None:
    masters, expectations = varied(SOME)
    pair.sender.create(masters)
    with ExpectationTable(pair.sender.namespace.name) as table:
        assert not table.create_batch(expectations)
        wait_equal(pair)
        some = [expectations.unpack(index)["expected"] for index in range(SOME // 2)]
        assert not table.delete_batch(packed({"expected": expected} for expected in some))
        wait_equal(pair)
        assert not table.create_batch(packed(expectations.unpack(index) for index in range(SOME // 2)))
        wait_equal(pair)
        assert len(expected_by(pair.receiver.namespace)) == SOME
    # What the receiver was told is not its own.
    assert pair.receiver.daemon.client("-i", "expect").stdout == ""
    assert pair.sender.daemon.client("-e", "expect").stdout == ""
    # Nor does it take it for its own once its caches are emptied, for that leaves the kernel as it is.
    pair.receiver.daemon.client("-f")
    pair.receiver.daemon.client("-R", "expect")
    assert pair.receiver.daemon.client("-i", "expect").stdout == ""
    # The node that takes over has it from its kernel.
    pair.receiver.daemon.client("-R")
    assert len(pair.receiver.daemon.client("-i", "expect").stdout.splitlines()) == SOME
