# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the rules: whether they let through, and track, what the nodes say to each other."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

from pyconntrack.channel.interface import interface_network
from pyconntrack.channel.sockets import link_name
from pyconntrack.cli.doctor.case import Case
from pyconntrack.cli.doctor.finding import Finding, note, ok, problem, warning
from pyconntrack.cli.doctor.iptables_rules import chains_of_save
from pyconntrack.cli.doctor.machine import Machine
from pyconntrack.cli.doctor.nft_rules import chains_of, tables_with_extensions
from pyconntrack.cli.doctor.packet import CHOSEN_BY_KERNEL, Chain, Fate, Packet, fate
from pyconntrack.config import Link, Network, Transport
from pyconntrack.daemon.privileges import Capability

_LEFT_OUT = frozenset({("inet", "conntrackd_guard")})
"""The guard of contrib/: it drops nothing that a socket of this host is for."""

_IPTABLES = {4: ("iptables", "ip_tables_names", "ip"), 6: ("ip6tables", "ip6_tables_names", "ip6")}


class RulesUnknownError(Exception):
    """The rules cannot be listed; the text says why."""


def chains_of_machine(machine: Machine) -> list[Chain]:
    """All chains of nftables and iptables. Raises RulesUnknownError."""
    if not machine.capable(Capability.NET_ADMIN):
        raise RulesUnknownError("to list them takes root")
    chains: list[Chain] = []
    tables: frozenset[tuple[str, str]] = frozenset()
    text = machine.list("nft", "-j", "list", "ruleset")
    if text is not None:
        tables = tables_with_extensions(text)
        chains += chains_of(text, tables | _LEFT_OUT)
    elif machine.has_program("nft"):
        raise RulesUnknownError("nft does not list its ruleset as JSON")
    elif not machine.has_program("iptables-save"):
        raise RulesUnknownError("neither nft nor iptables-save is installed")
    for family, (program, names, short) in _IPTABLES.items():
        of_nft = frozenset(table for kind, table in tables if kind == short)
        if of_nft:
            saved = machine.list(f"{program}-nft-save") or machine.list(f"{program}-save")
            chains += chains_of_save(saved or "", family, of_nft)
        # Only where the old tables are in use: to ask for them would load their modules.
        if (machine.read(f"/proc/net/{names}") or "").strip():
            saved = machine.list(f"{program}-legacy-save") or machine.list(f"{program}-save")
            chains += chains_of_save(saved or "", family)
    return chains


def sync_traffic(case: Case) -> Iterator[Finding]:
    """Whether the rules drop it, and whether they track it."""
    try:
        chains = chains_of_machine(case.machine)
    except RulesUnknownError as error:
        yield note(f"the firewall's rules were not looked at: {error}", "run as root, with nft installed")
        return
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # What nft prints may have another form in some version of it.
        yield note(
            f"the firewall's rules were not understood ({type(error).__name__}: {error})",
            "look yourself whether they let the sync traffic through",
        )
        return
    for link in case.sync.links:
        fates = [(packet, fate(chains, packet)) for packet in packets_of(link)]
        yield from _passage(link, fates)
        yield from _tracking(case, link, fates)
        if link.transport is Transport.MULTICAST:
            yield from _membership_reports(link, chains)
        elif link.family == 6:
            yield from _neighbour_discovery(link, chains)
    yield from _vrrp(case, chains)


def packets_of(link: Link) -> list[Packet]:
    """What goes over a link, both ways: the first packet of a flow, on which most rules decide."""
    group, protocol = (
        link.transport is Transport.MULTICAST,
        "tcp" if link.transport is Transport.TCP else "udp",
    )
    own = _network(link.interface_address if group else link.address)
    if own is None and group:
        own = interface_network(link.interface) if link.family == 4 else _network("fe80::/10")
    others = _network(link.peer)
    if group:
        others = interface_network(link.interface, link.interface_address) if link.family == 4 else own
    target = _network(link.address) if group else None
    coming = Packet(
        *(f"{protocol} from {link.peer or 'the others'} to port {link.port}", link.family, protocol, True),
        *(link.interface, others, target or own),
        source_port=CHOSEN_BY_KERNEL,
        destination_port=(link.port, link.port),
    )
    going = Packet(
        *(f"{protocol} to {link.peer or link.address} port {link.port}", link.family, protocol, False),
        *(link.interface, own, target or others),
        source_port=CHOSEN_BY_KERNEL,
        destination_port=(link.port, link.port),
    )
    if protocol == "udp":
        return [coming, going]
    return [coming, _answer(going), going, _answer(coming)]


def _answer(packet: Packet) -> Packet:
    """What TCP says the other way than a connection was opened."""
    return replace(
        packet,
        what=f"tcp of {'the peer' if packet.incoming else 'this node'} from port {_service(packet)}",
        source_port=packet.destination_port,
        destination_port=packet.source_port,
        states=frozenset({"established"}),
    )


def _network(address: object) -> Network | None:
    if address is None or str(address) in ("0.0.0.0", "::"):
        return None
    return ipaddress.ip_network(str(address).partition("%")[0])


def _passage(link: Link, fates: list[tuple[Packet, Fate]]) -> Iterator[Finding]:
    sound = True
    for packet, end in fates:
        if end.dropped is False:
            continue
        sound = False
        if end.dropped:
            yield problem(
                f"{link_name(link)}: {packet.what} is dropped by {end.by}",
                f"accept it before: {_accepting(packet, end)}",
            )
        else:
            yield note(
                f"{link_name(link)}: whether {packet.what} is dropped cannot be told, as {end.by} depends on"
                " more than is known here",
                f"if in doubt: {_accepting(packet, end)}",
            )
    if sound:
        yield ok(f"{link_name(link)}: the rules let the sync traffic through")


def _service(packet: Packet) -> int | None:
    """The port that the configuration gives, at one end."""
    ports = {packet.source_port, packet.destination_port} - {None, CHOSEN_BY_KERNEL}
    return next((first for first, _ in filter(None, ports)), None)


def _accepting(packet: Packet, end: Fate) -> str:
    """The command that lets a packet through the chain in which it is dropped."""
    protocol, side = packet.protocol, "s" if "established" in packet.states else "d"
    port = _service(packet)
    program, _, rest = end.chain.partition(" ")
    if program in ("iptables", "ip6tables"):
        table, _, chain = rest.partition(" ")
        interface = f"-{'i' if packet.incoming else 'o'} {packet.interface}"
        ports = f" --{side}port {port}" if port is not None else ""
        return f"{program} -t {table} -I {chain} {interface} -p {protocol}{ports} -j ACCEPT"
    interface = f"{'i' if packet.incoming else 'o'}ifname {packet.interface}"
    what = f"{protocol} {side}port {port}" if port is not None else f"meta l4proto {protocol}"
    return f"nft insert rule {end.chain} {interface} {what} accept"


def _tracking(case: Case, link: Link, fates: list[tuple[Packet, Fate]]) -> Iterator[Finding]:
    if all(end.untracked is True for _, end in fates):
        yield ok(f"{link_name(link)}: the sync traffic is not tracked")
    elif any(end.untracked is None for _, end in fates):
        yield note(
            f"{link_name(link)}: whether the sync traffic is tracked cannot be told", "look at notrack rules"
        )
    elif not _ignored(case, link):
        yield note(
            f"{link_name(link)}: the sync traffic is tracked, and its flows are replicated",
            f"name the link's addresses in Filter {{ Address Ignore }}, or set notrack for port {link.port}",
        )


def _ignored(case: Case, link: Link) -> bool:
    part = case.settings.general.filter.address
    own = link.interface_address or link.address
    return part is not None and (part.policy.value == "Ignore") == any(
        own in network for network in part.networks if network.version == own.version
    )


def _membership_reports(link: Link, chains: list[Chain]) -> Iterator[Finding]:
    """A switch that snoops has to hear of who is in the group."""
    protocol = "igmp" if link.family == 4 else "ipv6-icmp"
    target = _network("224.0.0.22" if link.family == 4 else "ff02::16")
    packet = Packet("a report", link.family, protocol, False, link.interface, None, target)
    end = fate(chains, packet)
    if end.dropped:
        yield warning(
            f"{link_name(link)}: {protocol} reports of the group are dropped by {end.by}: a switch that"
            " snoops will not pass the group's traffic on",
            _accepting(packet, end),
        )


def _neighbour_discovery(link: Link, chains: list[Chain]) -> Iterator[Finding]:
    """IPv6 finds hardware addresses by packets that rules see."""
    for incoming in (True, False):
        packet = Packet("a solicitation", 6, "ipv6-icmp", incoming, link.interface, None, None)
        end = fate(chains, packet)
        if end.dropped:
            way = "from" if incoming else "to"
            yield problem(
                f"{link_name(link)}: neighbour discovery {way} the peer is dropped by {end.by}",
                _accepting(packet, end),
            )


def _vrrp(case: Case, chains: list[Chain]) -> Iterator[Finding]:
    """What keepalived says, where it runs, on the interfaces that its configuration names."""
    if not any(each.name == "keepalived" for each in case.machine.processes()):
        return
    text = case.machine.read("/etc/keepalived/keepalived.conf")
    if text is None:
        yield note("keepalived runs, but its configuration is not known", "let VRRP (protocol 112) through")
        return
    there = {name for _, name in socket.if_nameindex()}
    sound = True
    for name in sorted(set(re.findall(r"^\s*interface\s+(\S+)", text, re.MULTILINE)) & there):
        for incoming in (True, False):
            target = ipaddress.ip_network(IPv4Address("224.0.0.18"))
            packet = Packet("VRRP", 4, "vrrp", incoming, name, interface_network(name), target)
            end = fate(chains, packet)
            if end.dropped:
                sound = False
                yield problem(
                    f"VRRP on {name} is dropped by {end.by}: both nodes will be master",
                    _accepting(packet, end),
                )
    if sound:
        yield ok("no rule is known to drop keepalived's VRRP")
