# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the other nodes: asked of the daemon if one runs, else of the link, without disturbing them."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

from pyconntrack.channel.interface import interface_mtu
from pyconntrack.channel.sockets import link_name
from pyconntrack.cli.doctor.case import Case, counted
from pyconntrack.cli.doctor.finding import Finding, note, ok, problem, warning
from pyconntrack.cli.doctor.probe import Presence, presence, takes_whole_packets
from pyconntrack.config import Link, Mode

_NODE = re.compile(r"^node (\S+) (?:id=(\w+) )?status=(\w+) \((\d+)s ago\):", re.MULTILINE)
_LONGEST_PROBE = 9000


def nodes(case: Case) -> Iterator[Finding]:
    """Whom the daemon has heard, when, and whether it is of our kind."""
    listed = case.ask("statistics nodes")
    if listed is None:
        return
    found = _NODE.findall(listed)
    if not found:
        yield problem(
            "the daemon has heard of no other node",
            "look whether conntrackd runs there, in the same mode, and at what is said of link and rules",
        )
    for name, identity, status, ago in found:
        kind = "of this package" if identity else "that says no id, as the C daemon does"
        if status == "SILENT":
            # In this mode a node without flows may say nothing for long.
            kind_of_finding = note if case.sync.mode is Mode.ALARM else problem
            yield kind_of_finding(
                f"the node {name} was last heard of {ago} s ago",
                "look whether its conntrackd runs, and at the link",
            )
        else:
            yield ok(f"the node {name}, {kind}, was heard of {ago} s ago")


def peers(case: Case) -> Iterator[Finding]:
    """Without a daemon: whether the hosts are there."""
    if case.runs:
        return
    there = {name for _, name in socket.if_nameindex()}
    for link in case.sync.links:
        if link.peer is None:
            yield note(
                f"{link_name(link)}: whether others are in the group cannot be known without a daemon here",
                "start the daemon, and look at conntrackd -s nodes",
            )
        elif link.interface in there:
            yield from _peer(link)


def _peer(link: Link) -> Iterator[Finding]:
    start = "start the daemon here, and look at conntrackd -s nodes"
    match presence(link):
        case Presence.ANSWERS:
            yield ok(f"{link_name(link)}: the host {link.peer} answers")
            yield from _whole_packets(link)
        case Presence.RESOLVED:
            yield ok(
                f"{link_name(link)}: the host {link.peer} is there; whether it takes"
                " packets is not known, as it sends no ICMP errors"
            )
        case Presence.SILENT:
            yield problem(
                f"{link_name(link)}: the host {link.peer} does not answer on the link",
                "look whether it is up, has that address, and is on the same cable or VLAN",
            )
            return
        case Presence.UNKNOWN:
            yield note(
                f"{link_name(link)}: whether the host {link.peer} is there could not be found out", start
            )
            return
    yield note(
        f"{link_name(link)}: whether conntrackd runs at {link.peer}, and which, cannot be known without"
        " a word to it",
        start,
    )


def _whole_packets(link: Link) -> Iterator[Finding]:
    size = interface_mtu(link.interface)
    if size <= _LONGEST_PROBE and not takes_whole_packets(link, size):
        yield warning(
            f"{link_name(link)}: {link.peer} does not answer to packets of {size} bytes, the link's MTU",
            "set the same MTU at both ends, and on the switch between them",
        )


def traffic(case: Case) -> Iterator[Finding]:
    """What the daemon has counted that should not be."""
    network, runtime = case.ask("statistics network"), case.ask("statistics runtime")
    if runtime is None:
        return
    sound = True
    resent = case.settings.sync is not None and case.settings.sync.mode is Mode.FTFW
    for kind, text, label, what, advice in (
        (warning, runtime, "netlink overrun", "overruns of the buffer for the kernel's events",
         "a larger NetlinkBufferSize and NetlinkBufferSizeMaxGrowth"),
        (warning, network, "Malformed messages", "malformed messages from the other nodes",
         "conntrackd -s network tells their kinds: another program on the port, or another version"),
        (note if resent else warning, network, "Packets lost",
         "messages lost on the link" + (", and sent again" if resent else ""),
         "look for errors of the interface, and enlarge RcvSocketBuffer on the receiver"),
        (warning, network, "Error send", "datagrams that could not be sent", "the log tells why"),
        (warning, case.ask("statistics cache"), "no space left in cache", "flows that a full cache refused",
         "a larger HashLimit"),
    ):  # fmt: skip
        number = counted(text, label)
        if number:
            sound = False
            yield kind(f"{what}: {number} since the daemon started", advice)
    if sound:
        yield ok("the daemon has counted nothing lost, malformed, refused or overrun")


def links_in_use(case: Case) -> Iterator[Finding]:
    """TCP: whether the peers are connected to each other."""
    text = case.ask("statistics")
    match = re.search(r"server=(\w+) client=(\w+)", text or "")
    if match is None:
        return
    if match.groups() == ("connected", "connected"):
        yield ok("the TCP link is connected both ways")
    else:
        yield problem(
            f"the TCP link is not connected both ways (from the peer: {match[1]}, to it: {match[2]})",
            "look whether conntrackd runs there, and at the rules for TCP on both nodes",
        )
