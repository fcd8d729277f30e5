# SPDX-License-Identifier: GPL-2.0-or-later
"""Chains of what `iptables-save` and `ip6tables-save` print, see iptables-extensions(8).

What is not understood becomes a match that may or may not be true.
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

from pyconntrack.cli.doctor import comparing
from pyconntrack.cli.doctor.packet import Chain, Deed, Hook, Known, Match, Packet, Ports, Rule, negated, some
from pyconntrack.config import Network

_HOOKS: dict[str, Hook] = {
    "PREROUTING": "prerouting",
    "INPUT": "input",
    "OUTPUT": "output",
    "POSTROUTING": "postrouting",
}
_PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
_DEEDS: dict[str, Deed] = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "drop", "RETURN": "return"}
_PASSING_TARGETS = {
    "LOG",
    "NFLOG",
    "ULOG",
    "MARK",
    "CONNMARK",
    "CT",
    "TRACE",
    "TCPMSS",
    "DSCP",
    "TOS",
    "CHECKSUM",
}
_IGNORED = {"--comment", "--reject-with", "--log-prefix", "--log-level", "--nflog-group", "--nflog-prefix"}
_MODULES = {"udp", "tcp", "multiport", "conntrack", "state", "comment", "pkttype", "addrtype"}
_SWITCHES = {"--notrack", "--log-ip-options", "--log-tcp-options", "--log-uid", "--log-macdecode"}


def chains_of_save(text: str, family: int, tables: frozenset[str] | None = None) -> list[Chain]:
    """All chains of the tables named (all of them by default); nat drops nothing, and is left out."""
    found: list[Chain] = []
    chains: dict[str, Chain] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table, chains = line[1:].strip(), {}
        elif table not in _PRIORITIES or (tables is not None and table not in tables):
            continue
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            chains[name] = Chain(
                name=f"{'ip' if family == 4 else 'ip6'}tables {table} {name}",
                families=frozenset({family}),
                hook=_HOOKS.get(name, ""),
                priority=_PRIORITIES[table],
                policy="drop" if policy == "DROP" else "accept",
                others=chains,
            )
            found.append(chains[name])
        elif line.startswith("-A "):
            _, name, *words = shlex.split(line)
            if name in chains:
                chains[name].rules.append(_rule(line.partition(f"{name} ")[2], words))
    return found


@dataclass
class _Reader:
    """The words of one rule, as they are read."""

    words: list[str]
    matches: list[Match] = field(default_factory=list)
    deed: Deed = "none"
    target: str = ""

    def value(self) -> str:
        return self.words.pop(0) if self.words else ""


def _rule(text: str, words: list[str]) -> Rule:
    reader = _Reader(words)
    while reader.words:
        negate = reader.words[0] == "!"
        if negate:
            reader.words.pop(0)
        option = reader.value()
        if option in ("-j", "-g"):
            _target(reader, option, reader.value())
        elif option in _IGNORED:
            reader.value()
        elif option == "-m":
            if reader.value() not in _MODULES:
                reader.matches.append(_unknown)
        elif option == "--tcp-flags":
            match = _flags(reader.value(), reader.value())
            reader.matches.append(_not(match) if negate else match)
        elif option == "--notrack":
            reader.deed = "notrack"
        elif option in _SWITCHES:
            continue
        elif option in _OPTIONS:
            match = _OPTIONS[option](reader.value())
            reader.matches.append(_not(match) if negate else match)
        elif reader.deed == "none" or not option.startswith("-"):
            # Of an extension that is not known here: it may be true or not, whatever its values are.
            reader.matches.append(_unknown)
    return Rule(text, reader.matches, reader.deed, reader.target)


def _target(reader: _Reader, option: str, name: str) -> None:
    if name in _DEEDS:
        reader.deed = _DEEDS[name]
    elif name == "NOTRACK":
        reader.deed = "notrack"
    elif name in ("NFQUEUE", "QUEUE", "TPROXY", "SYNPROXY"):
        reader.deed = "unknown"
    elif name in _PASSING_TARGETS:
        # Its options, up to the end of the rule, are no matches; CT has the one that counts.
        reader.deed = "notrack" if name == "CT" and "--notrack" in reader.words else "none"
        reader.words.clear()
    else:
        reader.deed = "goto" if option == "-g" else "jump"
        reader.target = name


def _unknown(packet: Packet) -> Known:
    return None


def _not(match: Match) -> Match:
    return lambda packet: negated(match(packet))


def _networks(text: str) -> list[Network]:
    return [ipaddress.ip_network(each, strict=False) for each in text.split(",")]


def _source(text: str) -> Match:
    return lambda packet: comparing.within(packet.source, _networks(text))


def _destination(text: str) -> Match:
    return lambda packet: comparing.within(packet.destination, _networks(text))


def _arriving(text: str) -> Match:
    return lambda packet: comparing.is_called(packet.interface if packet.incoming else None, text, "+")


def _leaving(text: str) -> Match:
    return lambda packet: comparing.is_called(None if packet.incoming else packet.interface, text, "+")


def _protocol(text: str) -> Match:
    return lambda packet: text == "all" or comparing.is_protocol(packet, text)


def _ports(text: str, of: Callable[[Packet], list[Ports | None]]) -> Match:
    ranges = [each.split(":") for each in text.split(",")]

    def match(packet: Packet) -> Known:
        return some(_in_range(port, ends) for ends in ranges for port in of(packet))

    return match


def _in_range(port: Ports | None, ends: list[str]) -> Known:
    if not all(end.isdigit() or not end for end in ends):
        return None
    return comparing.in_ports(port, int(ends[0] or 0), int(ends[-1] or 65535))


def _states(text: str) -> Match:
    return lambda packet: comparing.in_state(packet, text.split(","))


def _destination_ports(text: str) -> Match:
    return _ports(text, lambda packet: [packet.destination_port])


def _source_ports(text: str) -> Match:
    return _ports(text, lambda packet: [packet.source_port])


def _either_port(text: str) -> Match:
    return _ports(text, lambda packet: [packet.source_port, packet.destination_port])


def _packet_type(text: str) -> Match:
    return lambda packet: comparing.packet_type(packet, text.lower())


def _destination_type(text: str) -> Match:
    return lambda packet: comparing.of_kind(packet, text)


def _flags(mask: str, value: str) -> Match:
    """A packet that is new to the kernel opens its connection."""

    def match(packet: Packet) -> Known:
        return True if (packet.states == {"new"} and "SYN" in mask and value == "SYN") else None

    return match


_OPTIONS: dict[str, Callable[[str], Match]] = {
    "-s": _source,
    "-d": _destination,
    "-i": _arriving,
    "-o": _leaving,
    "-p": _protocol,
    "--dport": _destination_ports,
    "--dports": _destination_ports,
    "--sport": _source_ports,
    "--sports": _source_ports,
    "--ports": _either_port,
    "--ctstate": _states,
    "--state": _states,
    "--pkt-type": _packet_type,
    "--dst-type": _destination_type,
}
