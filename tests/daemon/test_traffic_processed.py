# SPDX-License-Identifier: GPL-2.0-or-later
"""`conntrackd -s`: what went over the flows that ended, where the kernel counts it."""

from __future__ import annotations

import re

import pytest

from testbed import Configuration, Conntrackd, Testbed, UnicastLink, wait_until
from testbed.configuration import Mode
from tests.peer.nodes import Kind, command_of

# Seven bytes of payload in each of three datagrams.
SEND = """
import socket
to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(3):
    to.sendto(b"payload", ("127.0.0.1", 9))
"""
TRACK = """
    table inet track {
        chain leaving {
            type filter hook output priority filter
            ct state new accept
        }
    }
"""
PROCESSED = re.compile(r"traffic processed:\n +(\d+) Bytes +(\d+) Pckts")


@pytest.mark.parametrize("mode_lines", [[], ["DisableInternalCache yes"]], ids=["cache", "bypass"])
@pytest.mark.parametrize("kind", ["ours", "C"])
def test_the_traffic_of_flows_that_ended_is_counted(bed: Testbed, kind: Kind, mode_lines: list[str]) -> None:
    mode: Mode = "NOTRACK"
    namespace = bed.namespace("counting")
    namespace.run(
        ["sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1", "net.netfilter.nf_conntrack_events=1"]
    )
    namespace.nft(TRACK)
    link = UnicastLink("lo", "127.0.0.1", "127.0.0.2")
    daemon = Conntrackd(namespace, command_of(kind), Configuration([link], mode=mode, mode_lines=mode_lines))
    daemon.start()
    namespace.run(["python3", "-c", SEND])
    namespace.run(["conntrack", "-D", "-p", "udp", "--dport", "9"])

    def processed() -> tuple[int, int]:
        found = PROCESSED.search(daemon.client("-s").stdout)
        assert found is not None
        return int(found[1]), int(found[2])

    wait_until(lambda: processed() == (3 * 35, 3), 10.0, "three packets of 35 bytes", daemon.log)
    assert daemon.client("-k").returncode == 0
