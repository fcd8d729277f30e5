# SPDX-License-Identifier: GPL-2.0-or-later
"""Two nodes share the load of one address by hash; where one dies, the other takes its share."""

from __future__ import annotations

import time

import pytest

from demo.outcome import Moments
from testbed import Testbed
from tests.contrib.firewalls import Traffic
from tests.contrib.shared import SharedPair, servers

CONNECTIONS = 12
"""To each server."""


@pytest.mark.alone
@pytest.mark.parametrize(("filter_name", "dying"), [("nftables", 0), ("iptables", 1)])
def test_each_node_backs_the_other(
    bed: Testbed, filter_name: str, dying: int, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = SharedPair(bed, filter_name)
    traffic = [Traffic(cluster.pair, server=server, connections=CONNECTIONS) for server in servers()]

    def flowing(what: str) -> None:
        for each in traffic:
            each.wait_flowing(what, 30.0)

    flowing("before")
    # One of each family is each node's alone.
    carried = [cluster.carried(index) for index in range(2)]
    assert carried == [set(servers()[0::2]), set(servers()[1::2])]
    survivor = 1 - dying
    cluster.wait_known(survivor, CONNECTIONS * len(carried[dying]))
    cluster.nodes[dying].power_off()
    cluster.wait_shares(*("12" if index == survivor else None for index in range(2)))
    flowing(f"on node {survivor + 1} alone")
    assert cluster.carried(survivor) == set(servers())
    cluster.boot(dying)
    cluster.wait_shares("1", "2")
    flowing(f"on both, node {dying + 1} is back")
    now = time.monotonic()
    flowing("at the end")
    outcomes = [each.outcome(Moments(now, now)) for each in traffic]
    with capsys.disabled():
        stall = max(outcome.longest_stall for outcome in outcomes)
        lived = sum(outcome.lived for outcome in outcomes)
        print(f"\n{filter_name}: {lived} of {CONNECTIONS * len(traffic)} live, longest stall {stall:.2f} s")
    assert [outcome.broken for outcome in outcomes] == [[]] * len(traffic)
