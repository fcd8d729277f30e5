# SPDX-License-Identifier: GPL-2.0-or-later
"""Real keepalived moves the shared addresses of two firewalls to and fro, and every connection lives.

VRRP runs on both sides, by the example of contrib/ with shorter times, and tells the scripts of contrib/.
"""

from __future__ import annotations

import itertools
import time

import pytest

from demo.outcome import Moments
from testbed import Testbed
from tests.contrib.cluster import LONG, Cluster
from tests.contrib.firewalls import CONNECTIONS, Traffic

HAND_OVERS = 20


@pytest.mark.alone
def test_twenty_hand_overs(bed: Testbed, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster(bed)
    traffic = Traffic(cluster.pair, short_interval=0.1)
    traffic.wait_flowing("before")
    ports = {str(each.local_port) for each in traffic.client.report().connections}
    begin = time.monotonic()
    befalls = itertools.cycle([cluster.first_dies, cluster.first_loses_a_cable, cluster.first_freezes])
    for _ in range(HAND_OVERS // 2):
        befall = next(befalls)
        cluster.wait_replicated(cluster.first, ports)
        undo = befall()
        cluster.wait_primary(cluster.second)
        traffic.wait_flowing(f"after {befall.__name__}", LONG)
        cluster.first_returns(undo)
        traffic.wait_flowing(f"after the return of firewall 1: {befall.__name__}", LONG)
    end = time.monotonic()
    traffic.wait_flowing("at the end")
    outcome = traffic.outcome(Moments(failure=end, takeover=end))
    with capsys.disabled():
        print(
            f"\n{HAND_OVERS} hand-overs in {end - begin:.0f} s: {outcome.lived} of {CONNECTIONS} connections "
            f"live, longest stall {outcome.longest_stall:.2f} s; {outcome.short_before} short ones, "
            f"{outcome.short_interrupted} of them failed"
        )
    assert (outcome.broken, outcome.lived) == ([], CONNECTIONS)
    cluster.first.wait_forgotten()
    cluster.second.wait_forgotten()
