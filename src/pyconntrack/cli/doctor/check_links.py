# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the dedicated links from this side: interface, address, MTU, way, group."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address

from pyconntrack.channel.channel import LinkStatus
from pyconntrack.channel.interface import interface_mtu, route_interface
from pyconntrack.channel.link_monitor import LinkMonitor
from pyconntrack.channel.sockets import link_name
from pyconntrack.cli.doctor.addresses import local_addresses
from pyconntrack.cli.doctor.case import Case
from pyconntrack.cli.doctor.finding import Finding, note, ok, problem, warning
from pyconntrack.config import Link, Transport

_USUAL_MTU = 1500
_SMALLEST_MTU = 576
_RTF_UP = 0x1
_IPV6_DEFAULT = "0" * 32 + " 00 "


def interfaces(case: Case) -> Iterator[Finding]:
    """There, up, connected."""
    names = [link.interface for link in case.sync.links]
    monitor = LinkMonitor(names)
    with contextlib.closing(monitor):
        for link in case.sync.links:
            name = link.interface
            status = monitor.status(name)
            if not monitor.index(name):
                yield problem(
                    f"{link_name(link)}: there is no such interface",
                    "mend the name (ip link), or have it made before the daemon starts",
                )
            elif status is LinkStatus.DOWN:
                yield problem(f"{link_name(link)}: the interface is down", f"ip link set {name} up")
            elif status is LinkStatus.NO_CARRIER:
                yield problem(
                    f"{link_name(link)}: the interface has no carrier",
                    "look at the cable, and at the peer's port",
                )
            else:
                yield ok(f"{link_name(link)}: the interface is up")


def addresses(case: Case) -> Iterator[Finding]:
    """The address that the configuration gives this node is on the interface."""
    local = {each.address: each.index for each in local_addresses()}
    for link in _present(case):
        own = link.interface_address if link.transport is Transport.MULTICAST else link.address
        if own is None or own.is_unspecified:
            continue
        index = local.get(ip_address(str(own).partition("%")[0]))
        if index is None:
            yield problem(
                f"{link_name(link)}: this machine does not have the address {own}",
                f"ip address add {own}/… dev {link.interface}, or mend the configuration",
            )
        elif index != socket.if_nametoindex(link.interface):
            yield problem(
                f"{link_name(link)}: the address {own} is on {socket.if_indextoname(index)}",
                "name that interface in the configuration, or move the address",
            )
        else:
            yield ok(f"{link_name(link)}: {own} is its address")


def mtu(case: Case) -> Iterator[Finding]:
    """Messages are packed up to the MTU, so both ends must have the same one."""
    for link in _present(case):
        size = interface_mtu(link.interface)
        advice = f"the same at both ends: ip link set {link.interface} mtu {_USUAL_MTU}"
        if size < _SMALLEST_MTU:
            yield warning(f"{link_name(link)}: its MTU is {size} bytes only", advice)
        elif size < _USUAL_MTU:
            yield note(f"{link_name(link)}: its MTU is {size} bytes", advice)
        else:
            yield ok(f"{link_name(link)}: its MTU is {size} bytes")


def route(case: Case) -> Iterator[Finding]:
    """The way to the peer is by the link's interface."""
    for link in _present(case):
        if link.peer is None:
            yield from _group(link)
            continue
        if link.peer.is_link_local:
            continue
        if link.peer == link.address:
            yield problem(
                f"{link_name(link)}: the peer's address is this node's own, {link.peer}",
                "mend the destination address",
            )
            continue
        way = route_interface(link.peer, link.address)
        if way is None:
            yield problem(
                f"{link_name(link)}: there is no route to the peer {link.peer}",
                "give both nodes addresses of one network on the link",
            )
        elif way == socket.if_nametoindex("lo") and link.interface != "lo":
            yield problem(
                f"{link_name(link)}: the peer's address {link.peer} is one of this machine's own",
                "exchange the two addresses in one node's configuration",
            )
        elif way != socket.if_nametoindex(link.interface):
            yield warning(
                f"{link_name(link)}: the way to {link.peer} is by {socket.if_indextoname(way)}",
                f"ip route add {link.peer} dev {link.interface}, or name the other interface",
            )
        else:
            yield ok(f"{link_name(link)}: {link.peer} is reached by it")


def _group(link: Link) -> Iterator[Finding]:
    if not link.address.is_multicast:
        yield problem(f"{link_name(link)}: {link.address} is no multicast address", "as 225.0.0.50")
    elif link.address in (IPv4Address("224.0.0.1"), IPv4Address("224.0.0.18")):
        yield warning(
            f"{link_name(link)}: the group {link.address} belongs to another protocol", "as 225.0.0.50"
        )


def membership(case: Case) -> Iterator[Finding]:
    """With multicast, a daemon that runs has joined the group."""
    for link in _present(case):
        if link.transport is not Transport.MULTICAST or not case.runs:
            continue
        if link.address in _groups(case, link):
            yield ok(f"{link_name(link)}: the daemon has joined the group {link.address}")
        else:
            yield problem(
                f"{link_name(link)}: nobody here has joined the group {link.address}",
                "restart the daemon: it has another configuration, or the interface was made anew",
            )


def _groups(case: Case, link: Link) -> set[object]:
    """The groups that were joined on its interface, of /proc/net/igmp and igmp6."""
    found: set[object] = set()
    name = ""
    for line in (case.machine.read("/proc/net/igmp") or "").splitlines()[1:]:
        fields = line.split()
        if not line.startswith("\t"):
            name = fields[1].rstrip(":")
        elif name == link.interface:
            found.add(IPv4Address(int(fields[0], 16).to_bytes(4, "little")))
    for line in (case.machine.read("/proc/net/igmp6") or "").splitlines():
        fields = line.split()
        if fields[1] == link.interface:
            found.add(ip_address(bytes.fromhex(fields[2])))
    return found


def shared_with_default_route(case: Case) -> Iterator[Finding]:
    """A dedicated link has no other traffic, and no strangers."""
    routed = _default_interfaces(case)
    for link in case.sync.links:
        if link.interface in routed:
            yield note(
                f"{link_name(link)}: the default route is by it, so it is shared with other traffic",
                "use an interface of its own: what is sent is neither encrypted nor authenticated",
            )


def _default_interfaces(case: Case) -> set[str]:
    found = set()
    for line in (case.machine.read("/proc/net/route") or "").splitlines()[1:]:
        name, destination, _, flags, *_, mask, _, _, _ = line.split()
        if destination == mask == "00000000" and int(flags, 16) & _RTF_UP:
            found.add(name)
    for line in (case.machine.read("/proc/net/ipv6_route") or "").splitlines():
        if line.startswith(_IPV6_DEFAULT) and not line.endswith(" lo"):
            found.add(line.split()[-1])
    return found


def redundancy(case: Case) -> Iterator[Finding]:
    """Two links on one interface are one."""
    names = [link.interface for link in case.sync.links]
    if len(set(names)) < len(names):
        yield warning(
            "two links are on one interface: they fail together", "give each an interface of its own"
        )
    elif len(names) == 1:
        yield note(
            "there is one dedicated link: while it fails, nothing is replicated",
            "a second link, by TCP, UDP or multicast as the first",
        )


def _present(case: Case) -> list[Link]:
    """Those whose interface is there; `interfaces` tells of the others."""
    there = {name for _, name in socket.if_nameindex()}
    return [link for link in case.sync.links if link.interface in there]
