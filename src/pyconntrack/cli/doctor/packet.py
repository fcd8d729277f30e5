# SPDX-License-Identifier: GPL-2.0-or-later
"""What rules would do with a packet, as far as that can be said: yes, no, or None for "it depends".

A walk through a chain gives the set of all ends that are possible. Where a match is not understood, both are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pyconntrack.config import Network

Known = bool | None
Hook = Literal["ingress", "prerouting", "input", "output", "postrouting", ""]
End = Literal["accept", "drop", "return", "next"]
Deed = Literal["accept", "drop", "return", "jump", "goto", "notrack", "unknown", "none"]

_DEEPEST = 16
_BEFORE_TRACKING = -200
"""Priority of connection tracking itself, NF_IP_PRI_CONNTRACK."""

Ports = tuple[int, int]
"""The first and the last port that are possible."""

CHOSEN_BY_KERNEL: Ports = (32768, 60999)
"""Of a socket that was not bound to a port: the default of net.ipv4.ip_local_port_range."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet, of which not all need be known."""

    what: str
    """For people."""
    family: int
    """4 or 6."""
    protocol: str
    """udp, tcp, igmp, vrrp, or ipv6-icmp."""
    incoming: bool
    interface: str
    source: Network | None
    destination: Network | None
    source_port: Ports | None = None
    destination_port: Ports | None = None
    states: frozenset[str] = frozenset({"new"})
    """The states of ctstate that are possible."""
    hook: Hook = ""

    @property
    def is_multicast(self) -> bool:
        return self.destination is not None and self.destination.is_multicast


Match = Callable[[Packet], Known]


@dataclass(frozen=True, slots=True)
class Rule:
    """Matches that must all be true, and what is done then."""

    text: str
    matches: Sequence[Match]
    deed: Deed
    target: str = ""
    """Name of the chain, for jump and goto."""


@dataclass(slots=True)
class Chain:
    """A chain of one table; a base chain has a hook."""

    name: str
    """For people, with its table."""
    families: frozenset[int]
    hook: Hook = ""
    priority: int = 0
    policy: End = "accept"
    devices: frozenset[str] = frozenset()
    """The interfaces of an ingress chain."""
    rules: list[Rule] = field(default_factory=list)
    others: dict[str, Chain] = field(default_factory=dict)
    """The chains of its table."""


@dataclass(slots=True)
class Walk:
    """What was met on the way."""

    last: str = ""
    """The last rule, or policy, that may drop it."""
    untracked: Known = False


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a packet: None where that depends on what is not known."""

    dropped: Known
    untracked: Known
    by: str = ""
    """The rule or policy that would drop it."""
    chain: str = ""
    """The base chain in which that is met."""


def every(answers: Iterable[Known]) -> Known:
    """True if all are, False if one is false."""
    result: Known = True
    for answer in answers:
        if answer is False:
            return False
        if answer is None:
            result = None
    return result


def some(answers: Iterable[Known]) -> Known:
    """True if one is, False if all are false."""
    return negated(every(negated(answer) for answer in answers))


def negated(answer: Known) -> Known:
    """The contrary, of what is known."""
    return None if answer is None else not answer


def fate(chains: Iterable[Chain], packet: Packet) -> Fate:
    """Send a packet through all base chains of its way."""
    hooks: tuple[Hook, ...] = (
        ("ingress", "prerouting", "input") if packet.incoming else ("output", "postrouting")
    )
    base = sorted(
        (chain for chain in chains if chain.hook in hooks and packet.family in chain.families),
        key=lambda chain: (hooks.index(chain.hook), chain.priority),
    )
    walk = Walk()
    dropped: Known = False
    by = where = ""
    for chain in base:
        if chain.hook == "ingress" and packet.interface not in chain.devices:
            continue
        met = replace(packet, hook=chain.hook, states=_states(packet, chain, walk.untracked))
        ends = _walk(chain, met, walk, True, 0)
        if "return" in ends:
            # Where the chain ends, its policy decides.
            ends = (ends - {"return"}) | {chain.policy}
            if chain.policy == "drop":
                walk.last = f"the policy of chain {chain.name}"
        if ends == {"drop"}:
            return Fate(True, walk.untracked, walk.last, chain.name)
        if "drop" in ends and dropped is False:
            dropped, by, where = None, walk.last, chain.name
    return Fate(dropped, walk.untracked, by, where)


def _states(packet: Packet, chain: Chain, untracked: Known) -> frozenset[str]:
    """The states that are possible in a chain. Before a packet is tracked, it counts as invalid."""
    if chain.hook == "ingress" or (
        chain.hook in ("prerouting", "output") and chain.priority < _BEFORE_TRACKING
    ):
        here = untracked is not False or any(
            rule.deed == "notrack" for other in chain.others.values() for rule in other.rules
        )
        return frozenset({"invalid", "untracked"} if here else {"invalid"})
    if untracked is False:
        return packet.states
    return frozenset({"untracked"}) if untracked else packet.states | {"untracked"}


def _walk(chain: Chain, packet: Packet, walk: Walk, sure: bool, depth: int) -> set[End]:
    """All ends that are possible: accept, drop, or return at the end of the chain."""
    ends: set[End] = set()
    for rule in chain.rules:
        matched = every(match(packet) for match in rule.matches)
        if matched is False:
            continue
        result = _apply(rule, chain, packet, walk, sure and matched is True, depth)
        if matched is None:
            result = result | {"next"}
        ends |= result - {"next"}
        if "next" not in result:
            return ends
        sure = sure and result == {"next"}
    return ends | {"return"}


def _apply(rule: Rule, chain: Chain, packet: Packet, walk: Walk, sure: bool, depth: int) -> set[End]:
    if rule.deed in ("drop", "unknown"):
        walk.last = f"the rule `{rule.text}' of chain {chain.name}"
    match rule.deed:
        case "accept" | "drop" | "return":
            return {rule.deed}
        case "notrack":
            walk.untracked = True if sure or walk.untracked else None
            return {"next"}
        case "jump" | "goto":
            target = chain.others.get(rule.target)
            if target is None or depth == _DEEPEST:
                walk.last = f"chain {rule.target}"
                return {"accept", "drop", "next"}
            ends = _walk(target, packet, walk, sure, depth + 1)
            if rule.deed == "jump" and "return" in ends:
                return (ends - {"return"}) | {"next"}
            return ends
        case "unknown":
            return {"accept", "drop", "next"}
    return {"next"}
