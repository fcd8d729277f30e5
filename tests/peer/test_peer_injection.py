# SPDX-License-Identifier: GPL-2.0-or-later
"""A fail-over without a commit: the other firewall's kernel has the connections already."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import pytest

from testbed import Conntrackd, Testbed, wait_until
from testbed.firewalls import (
    CLIENT,
    INSIDE_OWN,
    OUTSIDE_OWN,
    OUTSIDE_SHARED,
    SERVER,
    Firewall,
    FirewallPair,
)
from testbed.traffic import TrafficClient, TrafficReport, TrafficServer
from tests.peer.nodes import Kind, command_of

CONNECTIONS = 20


BOTH_DISABLED = ["DisableInternalCache yes", "DisableExternalCache yes"]


def run_daemon(
    firewall: Firewall, kind: Kind, mode_lines: Sequence[str] = ("DisableExternalCache yes",)
) -> Conntrackd:
    configuration = firewall.configuration()
    configuration.mode = "NOTRACK" if len(mode_lines) > 1 else "FTFW"
    configuration.mode_lines = list(mode_lines)
    daemon = Conntrackd(firewall.namespace, command_of(kind), configuration)
    daemon.start()
    return daemon


def connections(firewall: Firewall) -> list[str]:
    """The client's connections that its kernel has."""
    lines = firewall.namespace.run(["conntrack", "-L", "-p", "tcp"]).stdout.splitlines()
    return [line for line in lines if f"src={CLIENT} dst={SERVER}" in line]


def translated(firewall: Firewall) -> set[str]:
    """The client's ports of those that are established and translated."""
    established = [line.split() for line in connections(firewall) if "ESTABLISHED" in line]
    return {words[6] for words in established if f"dst={OUTSIDE_SHARED}" in words}


def internal(daemon: Conntrackd) -> int:
    return len(daemon.client("-i").stdout.splitlines())


def youngest(daemon: Conntrackd) -> int:
    """Seconds since the last flow of its internal cache began."""
    return min(int(age) for age in re.findall(r"active since (\d+)s", daemon.client("-i").stdout))


@pytest.mark.parametrize(("first", "second"), [("ours", "ours"), ("C", "ours")])
def test_connections_live_at_the_firewall_whose_kernel_has_them_already(
    bed: Testbed, first: Kind, second: Kind
) -> None:
    pair = FirewallPair(bed)
    primary, backup = run_daemon(pair.first, first), run_daemon(pair.second, second)
    server = TrafficServer(pair.server, SERVER, connections=CONNECTIONS)
    client = TrafficClient(pair.client, server, connections=CONNECTIONS)

    def flowing_since(moment: float) -> bool:
        reports: list[TrafficReport] = [client.report(), server.report()]
        return all(each.last_received > moment for report in reports for each in report.connections)

    wait_until(lambda: flowing_since(0.0), 20.0, "data on all connections")
    ports = translated(pair.first)
    assert len(ports) == CONNECTIONS
    wait_until(lambda: translated(pair.second) == ports, 20.0, "all connections at the backup", backup.log)
    assert internal(backup) == 0
    pair.first.lose_links()
    primary.kill()
    pair.second.take_addresses()
    moment = time.monotonic()
    wait_until(lambda: flowing_since(moment), 20.0, "data on all connections again", backup.log)
    # Established connections change nothing that an event would tell.
    for option in ("-c", "-f", "-R", "-B"):
        backup.client(option)
    assert "nothing to commit" in backup.log()
    assert internal(backup) >= CONNECTIONS
    moment = time.monotonic()
    wait_until(lambda: flowing_since(moment), 20.0, "data on all connections still", backup.log)
    assert all(each.closed and not each.error for each in client.finish().connections)
    server.finish()


def test_a_connection_that_changes_at_the_new_firewall_is_told_to_the_old_one(bed: Testbed) -> None:
    """Both daemons live on: the traffic moves, and each flow with the first news that there is of it."""
    pair = FirewallPair(bed)
    old, new = run_daemon(pair.first, "ours"), run_daemon(pair.second, "ours")
    server = TrafficServer(pair.server, SERVER, connections=CONNECTIONS)
    client = TrafficClient(pair.client, server, connections=CONNECTIONS)
    ports = translated(pair.first)
    wait_until(lambda: translated(pair.second) == ports, 20.0, "all connections at the other", new.log)
    assert (internal(old), internal(new)) == (CONNECTIONS, 0)
    # News of both at about the same time would leave a flow with both.
    wait_until(lambda: youngest(old) >= 3, 20.0, "some time without news")
    for interface in (pair.first.inside, pair.first.outside):
        interface.down()
    pair.second.take_addresses()
    client.finish(20.0)
    server.finish(20.0)
    wait_until(lambda: internal(new) == CONNECTIONS, 20.0, "all connections at the new firewall", new.log)
    wait_until(lambda: internal(old) == 0, 20.0, "no connections of the old firewall's", old.log)
    assert translated(pair.first) == set()
    # What the old firewall does with its table now is its own business.
    old.client("-F")
    wait_until(lambda: not connections(pair.first), 20.0, "an empty kernel")
    assert internal(new) == CONNECTIONS
    new.client("-B")
    wait_until(lambda: len(connections(pair.first)) == CONNECTIONS, 20.0, "all connections again", old.log)
    pair.second.namespace.run(["conntrack", "-D", "-p", "tcp"])
    wait_until(lambda: not connections(pair.first), 20.0, "their end at the old firewall, too", old.log)


@pytest.mark.parametrize(
    "mode_lines", [["DisableExternalCache yes"], BOTH_DISABLED], ids=["standby", "bypass"]
)
def test_each_direction_may_take_its_own_way(bed: Testbed, mode_lines: list[str]) -> None:
    """The client's packets go through one firewall, the server's through the other: each sees a half."""
    pair = FirewallPair(bed)
    pair.client.ip("route", "replace", "default", "via", INSIDE_OWN[0])
    pair.server.ip("route", "add", f"{CLIENT}/32", "via", OUTSIDE_OWN[1])
    for firewall in (pair.first, pair.second):
        firewall.namespace.nft("flush chain inet firewall translate")
        for name in ("all", "inside", "outside"):
            firewall.namespace.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
    daemons = [run_daemon(firewall, "ours", mode_lines) for firewall in (pair.first, pair.second)]
    server = TrafficServer(pair.server, SERVER, connections=CONNECTIONS)
    client = TrafficClient(pair.client, server, connections=CONNECTIONS)

    def flowing() -> bool:
        return all(each.received > 20_000 for each in client.report().connections)

    wait_until(flowing, 30.0, "data on all connections", lambda: "".join(each.log() for each in daemons))
    assert all(each.closed and not each.error for each in client.finish(20.0).connections)
    server.finish()
