# SPDX-License-Identifier: GPL-2.0-or-later
"""A full cache (HashLimit) refuses, counts and says so once, and is whole again once there is room."""

from __future__ import annotations

import re
from typing import Literal

import pytest

from testbed import wait_until
from tests.faults.scene import DEADLINE, statistic
from tests.peer.flows import batch_of, name_of, plain_tcp_flows
from tests.peer.nodes import Field, Node, Pair

LIMIT = 100

LOST = {
    "internal": "further flows are not replicated",
    "external": "further flows of other nodes would be lost in a fail-over",
}
FETCHED = {
    "internal": "reading the kernel's table again",
    "external": "asking the other nodes for their tables",
}


def delete_all_but(node: Node, count: int) -> None:
    with node.table() as table:
        flows = table.dump_batch()
        assert not table.delete_batch(batch_of(name_of(flows, i) for i in range(count, len(flows))))


def refused(node: Node, cache: str) -> int:
    text = node.daemon.client("-s", "cache").stdout.partition(f"cache:{cache}")[2]
    match = re.search(r"no space left in cache:\s+(\d+)", text)
    assert match is not None
    return int(match[1])


@pytest.mark.parametrize("cache", ["internal", "external"])
def test_full_cache_is_told_once_and_recovers(field: Field, cache: Literal["internal", "external"]) -> None:
    pair = field.pair("ours", "ours", "FTFW", "udp")
    node = pair.sender if cache == "internal" else pair.receiver
    node.configuration.hash_limit = LIMIT
    node.daemon.configure(node.configuration)
    full = (
        rf"\[warning\] the {cache} cache is full: HashLimit allows {LIMIT} entries, and {LOST[cache]}; "
        "raise HashLimit above net.netfilter.nf_conntrack_max"
    )
    with pair.running():
        for first in (1, 201, 401):
            pair.sender.create(plain_tcp_flows(200, first))
            wait_refused(pair, node, cache, first)
            wait_logged(pair, node, full)
        assert node.active(cache) == LIMIT
        assert len(node.cache(cache)) == LIMIT
        assert len(re.findall(full, node.daemon.log_file.read_text())) == 1
        delete_all_but(pair.sender, LIMIT * 9 // 10)
        pair.wait_equal(DEADLINE)
        roomy = rf"\[notice\] the {cache} cache has room again, after (\d+) refusals: {FETCHED[cache]}"
        wait_logged(pair, node, roomy)
        told = re.findall(roomy, node.daemon.log_file.read_text())
        assert len(told) == 1
        assert 500 <= int(told[0]) <= refused(node, cache)
        assert statistic(node, "cache", "no memory available") == 0


def wait_refused(pair: Pair, node: Node, cache: str, count: int) -> None:
    wait_until(lambda: refused(node, cache) >= count, DEADLINE, "refusals", pair.logs)


def wait_logged(pair: Pair, node: Node, pattern: str) -> None:
    wait_until(lambda: re.search(pattern, node.daemon.log()) is not None, DEADLINE, pattern, pair.logs)
