# SPDX-License-Identifier: GPL-2.0-or-later
"""Three firewalls among which the routing of others spreads packets, each direction by itself.

    client ─ inside switch ─┬─ firewall 1 ─┬─ outside switch ─ server
     10.0.1.10              ├─ firewall 2 ─┤                   192.0.2.10
                            └─ firewall 3 ─┘

Nobody translates, and no address moves. On a switch of their own the daemons form one multicast group.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from testbed import Configuration, Conntrackd, MulticastLink, Testbed, bridge, plug, wait_until
from testbed.firewalls import CLIENT, SERVER
from testbed.interface import Interface
from testbed.namespace import Namespace
from testbed.traffic import TrafficClient, TrafficReport, TrafficServer
from tests.contrib.scripts import OWN_DAEMON

COUNT = 3
LONG = 30.0
_RULESET = """
    table inet firewall {
        chain forward {
            type filter hook forward priority filter; policy drop;
            ct state invalid drop
            iifname "inside" ct direction original counter comment "to the server"
            iifname "outside" ct direction reply counter comment "to the client"
            ct state established accept
            iifname "inside" oifname "outside" ct state new tcp flags & (fin | syn | rst | ack) == syn accept
        }
    }
"""


class Router:
    """One of the firewalls."""

    def __init__(self, index: int, namespace: Namespace, switches: Sequence[Interface]) -> None:
        number = index + 1
        self.namespace = namespace
        self.inside_address, self.outside_address = f"10.0.1.{number}", f"192.0.2.{number}"
        dedicated = f"172.31.0.{number}"
        self.interfaces: list[Interface] = [
            plug(switch, namespace, name, [f"{address}/24"])
            for switch, name, address in zip(
                switches,
                ("inside", "outside", "dedicated"),
                (self.inside_address, self.outside_address, dedicated),
                strict=True,
            )
        ]
        namespace.nft(_RULESET)
        namespace.sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)
        # A connection that comes back has gone on elsewhere, out of the window that this kernel remembers.
        namespace.sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", 1)
        namespace.sysctl("net.ipv4.ip_forward", 1)
        for name in ("all", "inside", "outside"):
            namespace.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
        configuration = Configuration(
            [MulticastLink("dedicated", dedicated)],
            mode_lines=["DisableExternalCache yes"],
            accept_protocols=["TCP"],
        )
        self.daemon = Conntrackd(namespace, [str(OWN_DAEMON)], configuration)

    def forwarded(self) -> list[int]:
        """Packets to the server, and to the client."""
        shown = self.namespace.run(["nft", "list", "chain", "inet", "firewall", "forward"]).stdout
        return [int(packets) for packets in re.findall(r"counter packets (\d+)", shown)]

    def connections(self, state: str = "ESTABLISHED") -> set[str]:
        """The client's ports of the connections that its kernel has."""
        shown = self.namespace.run(["conntrack", "-L", "-p", "tcp", "--state", state]).stdout
        return set(re.findall(rf"src={CLIENT} dst={SERVER} sport=(\d+)", shown))

    def dies(self) -> None:
        """All cables and the daemon at once; of its kernel's table nothing is left."""
        for interface in self.interfaces:
            interface.down()
        self.daemon.kill()
        self.namespace.run(["conntrack", "-F"])

    def takes_over(self) -> None:
        """Count as its own, as its kernel has it now, what a node has told that is no more."""
        self.daemon.client("-R")

    def returns(self) -> None:
        """Start anew, and ask the others for what they have."""
        for interface in self.interfaces:
            interface.up()
        self.daemon.start()
        self.daemon.client("-n")


class Routers:
    """All of it, with connections through it."""

    def __init__(self, bed: Testbed, connections: int) -> None:
        switches = [bridge(bed.namespace(f"{name}-switch")) for name in ("inside", "outside", "dedicated")]
        self.reroutes = -1
        self.client, self.server = bed.namespace("client"), bed.namespace("server")
        plug(switches[0], self.client, "inside", [f"{CLIENT}/24"])
        plug(switches[1], self.server, "outside", [f"{SERVER}/24"])
        for host in (self.client, self.server):
            # By addresses and ports, so that the connections of one pair of hosts take several ways.
            host.sysctl("net.ipv4.fib_multipath_hash_policy", 1)
        self.routers = [
            Router(index, bed.namespace(f"firewall{index + 1}"), switches) for index in range(COUNT)
        ]
        for router in self.routers:
            router.daemon.start()
        self.route(range(COUNT))
        self._serving = TrafficServer(self.server, SERVER, connections=connections)
        self._asking = TrafficClient(self.client, self._serving, connections=connections)
        self.ports = {str(each.local_port) for each in self._asking.report().connections}
        assert len(self.ports) == connections

    def route(self, there: Sequence[int], back: Sequence[int] | None = None) -> None:
        """By which firewalls packets go to the server, and by which back: the same ones, unless told."""
        self.reroutes += 1
        for host, addresses in (
            (self.client, [self.routers[index].inside_address for index in there]),
            (self.server, [self.routers[index].outside_address for index in back or there]),
        ):
            ways = [word for address in addresses for word in ("nexthop", "via", address)]
            host.ip("route", "replace", "10.0.1.0/24" if host is self.server else "192.0.2.0/24", *ways)

    def wait_everywhere(self) -> None:
        """Wait until each kernel has all connections."""

        def everywhere() -> bool:
            return all(self.ports <= router.connections() for router in self.routers)

        wait_until(everywhere, LONG, "all connections in each kernel", self.log)

    def wait_nowhere(self) -> None:
        """Wait until no kernel has one that is established."""
        wait_until(
            lambda: not any(router.connections() for router in self.routers), LONG, "no connection", self.log
        )

    def reports(self) -> list[TrafficReport]:
        return [self._asking.report(), self._serving.report()]

    def wait_flowing(self, what: str) -> None:
        """Wait until every connection has carried more, both ways."""

        def received() -> list[int]:
            return [each.received for report in self.reports() for each in report.connections]

        before = received()
        wait_until(
            lambda: all(now > then for now, then in zip(received(), before, strict=True)),
            LONG,
            f"data on every connection: {what}",
            self.log,
        )

    def carrying(self, what: str) -> list[list[bool]]:
        """Which of the firewalls carry packets now, to the server and to the client, with data on all."""
        before = [router.forwarded() for router in self.routers]
        self.wait_flowing(what)
        return [
            [now > then for now, then in zip(router.forwarded(), packets, strict=True)]
            for router, packets in zip(self.routers, before, strict=True)
        ]

    def finish(self) -> list[TrafficReport]:
        """End all connections in good order."""
        return [self._asking.finish(30.0), self._serving.finish(30.0)]

    def log(self) -> str:
        return "\n".join(
            f"--- firewall {number}: {router.forwarded()}, {len(router.connections())} connections\n"
            f"{router.daemon.log()}"
            for number, router in enumerate(self.routers, 1)
        )
