# SPDX-License-Identifier: GPL-2.0-or-later
"""The usual pair of firewalls, all in network namespaces.

    client ─ inside switch ─┬─ firewall 1 ─┬─ outside switch ─ server
     10.0.1.10   10.0.1.0/24│   │ dedicated│192.0.2.0/24       192.0.2.10
                            │   │ link     │
                            └─ firewall 2 ─┘

The shared addresses, 10.0.1.1 inside and 192.0.2.1 outside, are at one firewall at a time, as VRRP would
keep them. Both firewalls have the same strict stateful ruleset and translate the client's address to the
shared outside one.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.bed import Testbed
from testbed.configuration import Configuration, MulticastLink, UnicastLink
from testbed.interface import Interface, bridge, plug, veth
from testbed.namespace import Namespace

CLIENT = "10.0.1.10"
SERVER = "192.0.2.10"
INSIDE_SHARED = "10.0.1.1"
OUTSIDE_SHARED = "192.0.2.1"
INSIDE_OWN = ("10.0.1.2", "10.0.1.3")
OUTSIDE_OWN = ("192.0.2.2", "192.0.2.3")
DEDICATED = ("172.31.0.1", "172.31.0.2")
DEDICATED_V6 = ("fd00:31::1", "fd00:31::2")

RULESET = f"""
    table inet firewall {{
        chain forward {{
            type filter hook forward priority filter; policy drop;
            ct state invalid drop
            ct state established accept
            iifname "inside" oifname "outside" ct state new tcp flags & (fin | syn | rst | ack) == syn accept
        }}
        chain input {{
            type filter hook input priority filter; policy drop;
            iifname {{ "lo", "dedicated" }} accept
        }}
        chain translate {{
            type nat hook postrouting priority srcnat; policy accept;
            iifname "inside" oifname "outside" snat ip to {OUTSIDE_SHARED}
        }}
    }}
"""
"""Strict: what is not established and not a SYN from inside is dropped, at the firewall itself too."""


@dataclass(frozen=True)
class Firewall:
    """One of the two. ``index`` is 0 or 1."""

    index: int
    namespace: Namespace
    inside: Interface
    outside: Interface
    dedicated: Interface

    def own_addresses(self) -> list[str]:
        """What its daemon must not replicate: flows to and from the firewalls themselves."""
        return ["127.0.0.1", *INSIDE_OWN, *OUTSIDE_OWN, INSIDE_SHARED, OUTSIDE_SHARED, *DEDICATED]

    def unicast_link(self) -> UnicastLink:
        own, peer = DEDICATED[self.index], DEDICATED[1 - self.index]
        return UnicastLink(self.dedicated.name, own, peer)

    def multicast_link(self) -> MulticastLink:
        return MulticastLink(self.dedicated.name, DEDICATED[self.index])

    def configuration(self) -> Configuration:
        """FTFW over UDP on the dedicated link, TCP only, without the firewalls' own flows."""
        # The shared outside address is only the translated source of a flow; the filter looks at the
        # real source and destination, so that ignoring it leaves the translated flows alone.
        return Configuration(
            [self.unicast_link()], accept_protocols=["TCP"], ignore_addresses=self.own_addresses()
        )

    def take_addresses(self) -> None:
        """Take the shared addresses and tell both networks."""
        self.inside.add_address(f"{INSIDE_SHARED}/24")
        self.outside.add_address(f"{OUTSIDE_SHARED}/24")
        self.inside.announce(INSIDE_SHARED)
        self.outside.announce(OUTSIDE_SHARED)

    def lose_links(self) -> None:
        """All its cables at once."""
        for interface in (self.inside, self.outside, self.dedicated):
            interface.down()

    def flow_count(self) -> int:
        """Flows in its kernel's table."""
        return int(self.namespace.read_sysctl("net.netfilter.nf_conntrack_count"))


class FirewallPair:
    """Client, server, two switches and two firewalls; firewall 1 holds the shared addresses."""

    def __init__(self, bed: Testbed) -> None:
        """Build it. Raises ``CommandFailedError`` or ``SysctlMissingError`` if the kernel refuses a part."""
        inside_switch = bridge(bed.namespace("inside-switch"))
        outside_switch = bridge(bed.namespace("outside-switch"))
        self.client = bed.namespace("client")
        self.server = bed.namespace("server")
        plug(inside_switch, self.client, "inside", [f"{CLIENT}/24"])
        self.client.ip("route", "add", "default", "via", INSIDE_SHARED)
        plug(outside_switch, self.server, "outside", [f"{SERVER}/24"])
        namespaces = (bed.namespace("firewall1"), bed.namespace("firewall2"))
        dedicated = veth(
            *(namespaces[0], "dedicated", namespaces[1], "dedicated"),
            first_addresses=[f"{DEDICATED[0]}/24", f"{DEDICATED_V6[0]}/64"],
            second_addresses=[f"{DEDICATED[1]}/24", f"{DEDICATED_V6[1]}/64"],
        )
        self.first, self.second = (
            Firewall(
                index,
                namespace,
                plug(inside_switch, namespace, "inside", [f"{INSIDE_OWN[index]}/24"]),
                plug(outside_switch, namespace, "outside", [f"{OUTSIDE_OWN[index]}/24"]),
                dedicated[index],
            )
            for index, namespace in enumerate(namespaces)
        )
        for firewall in (self.first, self.second):
            harden(firewall.namespace)
        self.first.take_addresses()


def harden(namespace: Namespace) -> None:
    """Make a strict router of it: the ruleset, forwarding, and no TCP flow taken up in its middle."""
    namespace.nft(RULESET)
    namespace.sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)
    namespace.sysctl("net.ipv4.ip_forward", 1)
