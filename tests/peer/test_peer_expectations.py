# SPDX-License-Identifier: GPL-2.0-or-later
"""Expectations go from one node to the other as flows do, also where one of them is a C daemon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product

import pytest

from pyconntrack import ExpectationTable
from pyconntrack.core.expectation_batch import ExpectationBatch
from testbed import Configuration, wait_until
from testbed.configuration import Mode
from tests.peer.expectations import cache_lines, expected_by, lines_of, packed, varied
from tests.peer.flows import Values
from tests.peer.nodes import Cache, Field, Kind, Node, Pair

PEERS: list[tuple[Kind, Kind]] = [("ours", "ours"), ("ours", "C"), ("C", "ours")]
MODES: list[Mode] = ["FTFW", "NOTRACK"]
SOME = 70


def sync_expectations(configuration: Configuration) -> None:
    configuration.options = ["ExpectationSync on"]


@pytest.fixture(params=product(PEERS, MODES), ids=lambda case: f"{'-'.join(case[0])}-{case[1]}")
def pair(field: Field, request: pytest.FixtureRequest) -> Iterator[Pair]:
    (sender, receiver), mode = request.param
    with field.pair(sender, receiver, mode, "udp", sync_expectations).running() as running:
        yield running


def create(node: Node, count: int, first: int = 1) -> None:
    masters, expectations = varied(count, first)
    node.create(masters)
    with ExpectationTable(node.namespace.name) as table:
        refused = table.create_batch(expectations)
    assert not refused, f"the kernel refused {len(refused)}, the first: {refused[0]}"


def delete(node: Node, expectations: ExpectationBatch) -> None:
    with ExpectationTable(node.namespace.name) as table:
        assert not table.delete_batch(expectations)


def shown(node: Node, cache: Cache) -> list[bytes]:
    return cache_lines(node.daemon.client("-i" if cache == "internal" else "-e", "expect").stdout)


def _wait_lines(pair: Pair, node: Node, cache: Cache, lines: list[bytes]) -> None:
    def differences() -> str:
        missing, extra = Counter(lines), Counter(shown(node, cache))
        return f"missing: {sorted(missing - extra)}\ntoo many: {sorted(extra - missing)}\n{pair.logs()}"

    what = f"{len(lines)} expectations in the {cache} cache of {node.daemon.name}"
    wait_until(lambda: shown(node, cache) == lines, 20.0, what, differences)


def wait_equal(pair: Pair) -> list[Values]:
    """Wait until both caches show what the sender's kernel expects; that."""
    expected = expected_by(pair.sender.namespace)
    lines = lines_of(expected)
    _wait_lines(pair, pair.sender, "internal", lines)
    _wait_lines(pair, pair.receiver, "external", lines)
    return expected


def empty_external(pair: Pair) -> None:
    # The C daemon empties the external cache of expectations with both caches only.
    pair.receiver.daemon.client("-f", *([] if pair.receiver.kind == "C" else ["external"]))
    wait_until(lambda: not shown(pair.receiver, "external"), 10.0, "an empty external cache", pair.logs)


def as_committed(pair: Pair, expectations: list[Values]) -> list[bytes]:
    """Comparable: what the sender's kernel expects after a commit at the receiver, or the receiver's does.

    The C daemon commits neither the class nor the translation.
    """
    lost = ("class_", "nat", "function") if pair.receiver.kind == "C" else ()
    return sorted(
        repr(sorted((name, value) for name, value in each.items() if name not in lost)).encode()
        for each in expectations
    )


def test_expectations_are_followed_and_committed(pair: Pair) -> None:
    create(pair.sender, SOME)
    assert len(wait_equal(pair)) == SOME
    _, expectations = varied(SOME)
    third = [expectations.unpack(index) for index in range(SOME // 3)]
    delete(pair.sender, packed({"expected": each["expected"]} for each in third))
    create(pair.sender, SOME // 2, first=1000)
    expected = wait_equal(pair)
    assert len(expected) == SOME - SOME // 3 + SOME // 2
    for _ in range(2):
        # The second time, everything is there already.
        pair.receiver.daemon.client("-c")
        committed = expected_by(pair.receiver.namespace)
        assert as_committed(pair, committed) == as_committed(pair, expected), pair.logs()
    assert pair.receiver.daemon.log().count(f"Committed {len(expected)} new expectations") >= 2
    pair.receiver.daemon.client("-F", "expect")
    assert not expected_by(pair.receiver.namespace)
    pair.receiver.daemon.client("-c", "expect")
    assert as_committed(pair, expected_by(pair.receiver.namespace)) == as_committed(pair, expected)


def test_a_node_gets_what_it_lacks(pair: Pair) -> None:
    """By a request (-n), by a bulk (-B), after a restart of either."""
    create(pair.sender, SOME)
    wait_equal(pair)
    empty_external(pair)
    pair.receiver.daemon.client("-n")
    wait_equal(pair)
    empty_external(pair)
    pair.sender.daemon.client("-B")
    wait_equal(pair)
    pair.receiver.restart(kill=True)
    pair.receiver.daemon.client("-n")
    wait_equal(pair)
    pair.sender.restart(kill=True)
    pair.receiver.daemon.client("-n")
    wait_equal(pair)
    if pair.sender.kind == "ours":
        # The C daemon keeps one now and then whose end the kernel has told.
        pair.sender.flush_kernel()
        assert not wait_equal(pair)
