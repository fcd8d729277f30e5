# SPDX-License-Identifier: GPL-2.0-or-later
"""Firewalls without an input chain: they answer what they do not know, unless the guard stands."""

from __future__ import annotations

import re
import socket
import time

import pytest

from bench.kernel_limits import NoRoomError, room_for
from demo.outcome import Moments, Outcome
from pyconntrack import ConntrackTable
from testbed import Testbed, wait_until
from testbed.firewalls import OUTSIDE_SHARED
from tests.contrib.firewalls import CONNECTIONS, Pair, Traffic
from tests.peer.flows import plain_tcp_flows

MANY = 300_000
FIRST = 1 << 17  # their addresses are none of the test bed's
ROOM = 400_000


def resets(pair: Pair) -> int:
    """TCP segments with RST that firewall 2 has sent by itself."""
    snmp = pair.firewalls[1].namespace.run(["cat", "/proc/net/snmp"]).stdout
    names, values = (line.split() for line in snmp.splitlines() if line.startswith("Tcp:"))
    return int(values[names.index("OutRsts")])


def take_over_late(pair: Pair, traffic: Traffic) -> Outcome:
    """The addresses arrive, then packets, and only then the script is run."""
    pair.wait_replicated(CONNECTIONS)
    failure = pair.first_dies()
    pair.firewalls[1].take_addresses()
    wait_until(
        lambda: stray_packets(pair) >= CONNECTIONS // 2, 10.0, "packets of flows that are not known yet"
    )
    pair.tell(1, "primary")
    moments = Moments(failure, time.monotonic())
    wait_until(lambda: traffic.flows_since(moments.takeover), 20.0, "data on every connection")
    return traffic.outcome(moments)


def stray_packets(pair: Pair) -> int:
    """What has reached firewall 2 for the shared address."""
    counted = pair.firewalls[1].namespace.run(["nft", "list", "table", "inet", "counted"]).stdout
    found = re.search(r"packets (\d+)", counted)
    assert found
    return int(found[1])


def under_traffic(bed: Testbed, **settings: str) -> tuple[Pair, Traffic]:
    pair = Pair(bed, **settings)
    pair.start()
    pair.firewalls[1].namespace.nft(
        "table inet counted { chain arrived { type filter hook prerouting priority raw; policy accept; "
        f"ip daddr {OUTSIDE_SHARED} counter; }}; }}"
    )
    traffic = Traffic(pair.bed)
    traffic.wait_flowing("before")
    return pair, traffic


def test_every_connection_lives_behind_the_guard(bed: Testbed) -> None:
    pair, traffic = under_traffic(bed)
    outcome = take_over_late(pair, traffic)
    assert (outcome.broken, outcome.lived, resets(pair)) == ([], CONNECTIONS, 0)


def test_connections_break_without_it(bed: Testbed) -> None:
    """The test before could fail."""
    pair, traffic = under_traffic(bed, GUARD="no")
    outcome = take_over_late(pair, traffic)
    assert resets(pair) > 0
    assert outcome.broken
    assert outcome.lived < CONNECTIONS


def test_strangers_still_come_through(bed: Testbed) -> None:
    """The guard of a backup lets through what opens a connection, and what belongs to a socket of its own."""
    pair = Pair(bed)
    firewall, other = pair.firewalls[1].namespace, pair.bed.server
    pair.scripts[1].run("primary-backup.sh", "backup")
    shown = firewall.run(["nft", "list", "table", "inet", "conntrackd_guard"]).stdout
    assert "tcp" in shown
    with firewall.entered():
        listener = socket.create_server(("192.0.2.3", 7000))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("0.0.0.0", 7000))
    with other.entered():
        near = socket.create_connection(("192.0.2.3", 7000), timeout=10.0)
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with listener, datagrams, near, asking:
        far, _ = listener.accept()
        with far:
            # As after conntrackd -t: the kernel knows the connection no more, the socket does.
            firewall.run(["conntrack", "-F"])
            near.sendall(b"still there")
            far.settimeout(10.0)
            assert far.recv(100) == b"still there"
        asking.sendto(b"a datagram", ("192.0.2.3", 7000))
        datagrams.settimeout(10.0)
        assert datagrams.recv(100) == b"a datagram"


@pytest.mark.alone
def test_many_flows(bed: Testbed, capsys: pytest.CaptureFixture[str]) -> None:
    """300,000 flows, and 50 connections among them, addresses before the commit."""
    try:
        with room_for(ROOM):
            outcome, seconds = among_many(bed)
    except NoRoomError as error:
        pytest.skip(str(error))
    with capsys.disabled():
        print(
            f"\n{MANY} flows: {outcome.lived} of {CONNECTIONS} connections live, "
            f"longest stall {outcome.longest_stall:.2f} s, commit {seconds:.2f} s"
        )
    assert (outcome.broken, outcome.lived) == ([], CONNECTIONS)


def among_many(bed: Testbed) -> tuple[Outcome, float]:
    """The outcome, and the seconds of the commit."""
    pair = Pair(bed)
    with ConntrackTable(pair.firewalls[0].namespace.name) as table:
        assert not table.create_batch(plain_tcp_flows(MANY, FIRST))
    traffic = Traffic(pair.bed)
    pair.start()
    traffic.wait_flowing("before")
    pair.wait_replicated(MANY + CONNECTIONS)
    failure = pair.first_dies()
    pair.firewalls[1].take_addresses()
    pair.tell(1, "primary")
    moments = Moments(failure, time.monotonic())
    wait_until(lambda: traffic.flows_since(moments.takeover), 20.0, "data on every connection")
    assert pair.firewalls[1].flow_count() >= MANY
    taken = re.findall(r"commit has taken (\S+) seconds", pair.daemons[1].log())
    return traffic.outcome(moments), float(taken[-1])
