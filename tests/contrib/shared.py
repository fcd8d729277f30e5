# SPDX-License-Identifier: GPL-2.0-or-later
"""Two firewalls that have the same addresses at the same time, each with a share of the load."""

from __future__ import annotations

import re

from testbed import Conntrackd, Testbed, wait_until
from testbed.firewalls import INSIDE_SHARED, OUTSIDE_SHARED, Firewall, FirewallPair
from tests.contrib.cluster import COMMIT_SECONDS, LONG, PURGE_SECONDS, Member
from tests.contrib.firewalls import scripts_of
from tests.contrib.keepalived import Keepalived
from tests.contrib.scripts import CONTRIB, OWN_DAEMON

INSIDE_V6, OUTSIDE_V6 = "fd00:a::", "fd00:b::"
LASTS = (10, 57)
"""The last parts of the clients' addresses, one for each share, and of those of their servers."""

CLIENTS_V6 = {10: "fd00:1::10", 57: f"{INSIDE_V6}57"}
"""The first 32 bits differ: the cluster match of iptables looks at no others."""

_RULESET = """
    table inet firewall {
        chain forward {
            type filter hook forward priority filter; policy drop;
            ct state invalid drop
            ct state established accept
            iifname "shared1" ct state new tcp flags & (fin | syn | rst | ack) == syn accept
            icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        }
    }
"""


def servers() -> list[str]:
    """Each is spoken to from a client's address of its own."""
    return [f"192.0.2.{last}" for last in LASTS] + [f"{OUTSIDE_V6}{last}" for last in LASTS]


class SharedPair:
    """Node 1 and node 2; ``filter_name`` is what selects the packets of a share."""

    def __init__(self, bed: Testbed, filter_name: str) -> None:
        self.pair = FirewallPair(bed)
        self.pair.first.inside.remove_address(f"{INSIDE_SHARED}/24")
        self.pair.first.outside.remove_address(f"{OUTSIDE_SHARED}/24")
        self._address_hosts()
        self.nodes = [self._member(each, filter_name) for each in (self.pair.first, self.pair.second)]
        for member in self.nodes:
            assert member.scripts.run("multiprimary.sh", "start").returncode == 0
            member.start()
        for index in range(2):
            self._wait_primary(index, 0)
        self.wait_shares("1", "2")

    def _times_primary(self, index: int) -> int:
        return self.nodes[index].keepalived.noted().count(f"multiprimary.sh primary {index + 1}")

    def _wait_primary(self, index: int, before: int) -> None:
        """Wait until keepalived has given a node its own share once more."""
        wait_until(lambda: self._times_primary(index) > before, LONG, "its own share", self.log)

    def _address_hosts(self) -> None:
        client, server = self.pair.client, self.pair.server
        client.ip("address", "add", f"{INSIDE_V6}9/64", "dev", "inside", "nodad")
        client.ip("-6", "route", "add", f"{OUTSIDE_V6}/64", "via", f"{INSIDE_V6}1")
        server.ip("-6", "address", "add", f"{OUTSIDE_V6}9/64", "dev", "outside", "nodad")
        server.ip("-6", "route", "add", "default", "via", f"{OUTSIDE_V6}1")
        for last in LASTS:
            for namespace, interface, ipv4, ipv6 in (
                (client, "inside", "10.0.1", CLIENTS_V6[last]),
                (server, "outside", "192.0.2", f"{OUTSIDE_V6}{last}"),
            ):
                if last != LASTS[0]:
                    namespace.ip("address", "add", f"{ipv4}.{last}/24", "dev", interface)
                namespace.ip("address", "add", f"{ipv6}/64", "dev", interface, "nodad")
            for target, gateway, source in (
                (f"192.0.2.{last}", INSIDE_SHARED, f"10.0.1.{last}"),
                (f"{OUTSIDE_V6}{last}", f"{INSIDE_V6}1", CLIENTS_V6[last]),
            ):
                client.ip("route", "add", target, "via", gateway, "src", source)

    def _member(self, firewall: Firewall, filter_name: str) -> Member:
        namespace = firewall.namespace
        namespace.run(["nft", "delete", "table", "inet", "firewall"])
        namespace.nft(_RULESET)
        namespace.nft((CONTRIB / "cluster" / "translate.nft").read_text())
        namespace.sysctl("net.ipv6.conf.all.forwarding", 1)
        # Addresses of IPv6 go with the link, and a node that boots would have them again.
        namespace.sysctl("net.ipv6.conf.all.keep_addr_on_down", 1)
        make = str(CONTRIB / "cluster" / "shared-addresses.sh")
        number = firewall.index + 1
        firewall.inside.add_address(f"{INSIDE_V6}{number + 1}/64")
        firewall.inside.add_address(f"fd00:1::{number + 1}/64")
        firewall.outside.add_address(f"{OUTSIDE_V6}{number + 1}/64")
        namespace.run([make, "inside", "1", f"{INSIDE_SHARED}/24", f"{INSIDE_V6}1/64"])
        namespace.run([make, "outside", "2", f"{OUTSIDE_SHARED}/24", f"{OUTSIDE_V6}1/64"])
        configuration = firewall.configuration()
        configuration.mode_lines += [f"PurgeTimeout {PURGE_SECONDS}", f"CommitTimeout {COMMIT_SECONDS}"]
        daemon = Conntrackd(namespace, [str(OWN_DAEMON)], configuration)
        scripts = scripts_of(firewall, daemon)
        scripts.settings.update(
            NODEID=str(number), CLUSTER_FILTER=filter_name, CLUSTER_INTERFACES="shared1 shared2"
        )
        names = {"eth0": "inside", "eth1": "outside"}
        if number == 2:
            names |= {"priority 150": "priority 99", "priority 100": "priority 150"}
        return Member(firewall, daemon, scripts, Keepalived(scripts, "multi-primary.conf", names))

    def shares(self, index: int) -> str:
        """What a node takes, by its packet filter."""
        namespace = self.nodes[index].firewall.namespace
        if self.nodes[index].scripts.settings["CLUSTER_FILTER"] == "nftables":
            rules = namespace.run(["nft", "list", "table", "inet", "conntrackd_cluster"]).stdout
            return "".join(re.findall(r"chain share_(\d) \{\s+meta", rules))
        rules = namespace.run(["iptables", "-t", "mangle", "-S", "CONNTRACKD-CLUSTER"]).stdout
        return "".join(sorted(re.findall(r"nodemask 0x0*(\d)", rules)))

    def wait_shares(self, *expected: str | None) -> None:
        """Wait until each node has these for good; None for a node that does not matter."""

        def as_expected() -> bool:
            return all(
                want is None or (self.shares(index) == want and self.nodes[index].keepalived.idle())
                for index, want in enumerate(expected)
            )

        wait_until(as_expected, LONG, f"shares {expected}", self.log)

    def wait_known(self, index: int, count: int) -> None:
        """Wait until a node has as many established connections of the other one."""

        def known() -> bool:
            shown = self.nodes[index].daemon.client("-e", check=False).stdout
            return shown.count("ESTABLISHED") >= count

        wait_until(known, LONG, f"{count} connections of the other node", self.log)

    def carried(self, index: int) -> set[str]:
        """Servers whose connections a node has in its kernel."""
        shown = "".join(
            self.nodes[index]
            .firewall.namespace.run(["conntrack", "-L", "-f", family, "-p", "tcp", "--state", "ESTABLISHED"])
            .stdout
            for family in ("ipv4", "ipv6")
        )
        return set(re.findall(r"ESTABLISHED src=\S+ dst=(\S+)", shown)) & set(servers())

    def boot(self, index: int) -> None:
        """A node comes back."""
        member = self.nodes[index]
        before = self._times_primary(index)
        member.scripts.run("multiprimary.sh", "stop")
        member.scripts.run("multiprimary.sh", "start")
        member.boot()
        self._wait_primary(index, before)

    def log(self) -> str:
        return "\n".join(f"--- node {number}\n{node.log()}" for number, node in enumerate(self.nodes, 1))
