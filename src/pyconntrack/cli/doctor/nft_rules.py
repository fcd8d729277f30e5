# SPDX-License-Identifier: GPL-2.0-or-later
"""Chains of what `nft -j list ruleset` prints, see libnftables-json(5).

What is not understood becomes a match that may or may not be true.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator
from typing import Any

from pyconntrack.cli.doctor import comparing
from pyconntrack.cli.doctor.packet import Chain, Deed, Known, Match, Packet, Rule, every, negated, some

_FAMILIES = {
    "ip": frozenset({4}),
    "ip6": frozenset({6}),
    "inet": frozenset({4, 6}),
    "netdev": frozenset({4, 6}),
}
_PASSING = {
    "counter",
    "log",
    "comment",
    "mangle",
    "ct helper",
    "ct timeout",
    "meter",
    "flow",
    "dup",
    "secmark",
}
_TERMINAL: dict[str, Deed] = {"accept": "accept", "drop": "drop", "return": "return", "reject": "drop"}
_LAST_PORT = 65535
_ORDERS: dict[str, Callable[[int], tuple[int, int]]] = {
    "<": lambda port: (0, port - 1),
    ">": lambda port: (port + 1, _LAST_PORT),
    "<=": lambda port: (0, port),
    ">=": lambda port: (port, _LAST_PORT),
}
"""The ports that fit."""

_Sets = dict[str, list[Any]]
_Compare = Callable[[Packet, Any], Known]


def chains_of(text: str, left_out: frozenset[tuple[str, str]] = frozenset()) -> list[Chain]:
    """All chains, but of the tables left out, by family and name. Raises ValueError if it is no JSON."""
    entries = json.loads(text)["nftables"]
    sets: dict[tuple[str, str], _Sets] = {}
    chains: dict[tuple[str, str], dict[str, Chain]] = {}
    for entry in entries:
        for kind, body in entry.items():
            table = (body.get("family", ""), body.get("table", ""))
            if kind in ("set", "map"):
                sets.setdefault(table, {})[body["name"]] = body.get("elem", [])
            elif kind == "chain" and table not in left_out and table[0] in _FAMILIES:
                _add_chain(chains.setdefault(table, {}), body)
    for entry in entries:
        body = entry.get("rule")
        if body is not None and (body["family"], body["table"]) in chains:
            table = (body["family"], body["table"])
            chain = chains[table][body["chain"]]
            chain.rules += _rules(body["expr"], sets.get(table, {}))
    return [chain for table_chains in chains.values() for chain in table_chains.values()]


def tables_with_extensions(text: str) -> frozenset[tuple[str, str]]:
    """The tables, by family and name, of which only iptables knows what all their rules mean."""
    return frozenset(
        (entry["rule"]["family"], entry["rule"]["table"])
        for entry in json.loads(text)["nftables"]
        if "rule" in entry and any("xt" in each for each in entry["rule"]["expr"])
    )


def _add_chain(others: dict[str, Chain], body: dict[str, Any]) -> None:
    is_base = body.get("type") in ("filter", "route")
    others[body["name"]] = Chain(
        name=f"{body['family']} {body['table']} {body['name']}",
        families=_FAMILIES[body["family"]],
        hook=body["hook"] if is_base else "",
        priority=body.get("prio", 0),
        policy="drop" if body.get("policy") == "drop" else "accept",
        devices=frozenset(_listed(body.get("dev", []))),
        others=others,
    )


def _listed(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _rules(expressions: list[dict[str, Any]], sets: _Sets) -> Iterator[Rule]:
    """One rule, or one for each element of its verdict map."""
    matches: list[Match] = []
    text = _summary(expressions)
    for expression in expressions:
        [(kind, body)] = expression.items()
        if kind in _TERMINAL:
            yield Rule(text, matches, _TERMINAL[kind])
            return
        if kind in ("jump", "goto"):
            yield Rule(text, matches, kind, body["target"])  # type: ignore[arg-type]
            return
        if kind == "vmap":
            yield from _verdict_map(text, matches, body, sets)
            return
        if kind == "notrack":
            yield Rule(text, list(matches), "notrack")
        elif kind == "match":
            matches.append(_match(body, sets))
        elif kind in ("xt", "queue", "synproxy", "tproxy", "fwd") and not _is_match(kind, body):
            yield Rule(text, matches, "unknown")
            return
        elif kind not in _PASSING:
            matches.append(_unknown)
    yield Rule(text, matches, "none")


def _is_match(kind: str, body: Any) -> bool:
    return kind == "xt" and body.get("type") == "match"


def _unknown(packet: Packet) -> Known:
    return None


def _verdict_map(text: str, matches: list[Match], body: dict[str, Any], sets: _Sets) -> Iterator[Rule]:
    data = body["data"]
    if isinstance(data, str) and data[1:] not in sets:
        yield Rule(text, matches, "unknown")
        return
    elements = sets[data[1:]] if isinstance(data, str) else data.get("set", [])
    for element in elements:
        key, verdict = element
        [(deed, target)] = verdict.items()
        match = _match({"op": "==", "left": body["key"], "right": key}, sets)
        name = target["target"] if isinstance(target, dict) else ""
        if deed in _TERMINAL:
            yield Rule(text, [*matches, match], _TERMINAL[deed])
        elif deed in ("jump", "goto"):
            yield Rule(text, [*matches, match], deed, name)


def _match(body: dict[str, Any], sets: _Sets) -> Match:
    compare = _comparison(body["left"])
    operator, right = body["op"], body["right"]
    if compare is None:
        return _unknown
    if operator in _ORDERS:
        return lambda packet: _ordered(packet, body["left"], operator, right)
    if operator not in ("==", "!=", "in"):
        return _unknown

    def match(packet: Packet) -> Known:
        answer = _one_of(packet, compare, right, sets)
        return negated(answer) if operator == "!=" else answer

    return match


def _one_of(packet: Packet, compare: _Compare, right: Any, sets: _Sets) -> Known:
    """Whether it equals the right side, or one of its elements."""
    if isinstance(right, str) and right.startswith("@"):
        right = sets.get(right[1:])
        if right is None:
            return None
    if isinstance(right, dict) and "set" in right:
        right = right["set"]
    if isinstance(right, list):
        return some(_one_of(packet, compare, element, sets) for element in right)
    if isinstance(right, dict) and "elem" in right:
        return _one_of(packet, compare, right["elem"]["val"], sets)
    return compare(packet, right)


def _ordered(packet: Packet, left: dict[str, Any], operator: str, right: Any) -> Known:
    field = left.get("payload", {}).get("field")
    protocol = left.get("payload", {}).get("protocol")
    if field not in ("sport", "dport") or not isinstance(right, int):
        return None
    if protocol not in (packet.protocol, "th"):
        return False
    port = packet.destination_port if field == "dport" else packet.source_port
    return comparing.in_ports(port, *_ORDERS[operator](right))


def _comparison(left: Any) -> _Compare | None:
    """How to compare with one value; None where that is not known."""
    if not isinstance(left, dict):
        return None
    if "concat" in left:
        parts = [_comparison(part) for part in left["concat"]]
        return lambda packet, value: _concatenation(packet, parts, value)
    if "meta" in left:
        return _META.get(left["meta"].get("key"))
    if "ct" in left and left["ct"].get("key") == "state":
        return lambda packet, value: comparing.in_state(packet, [str(value)])
    if "fib" in left and left["fib"].get("result") == "type" and "daddr" in left["fib"].get("flags", []):
        return lambda packet, value: comparing.of_kind(packet, str(value))
    if "payload" in left:
        return _payload(left["payload"].get("protocol", ""), left["payload"].get("field", ""))
    return None


def _concatenation(packet: Packet, parts: list[_Compare | None], value: Any) -> Known:
    values = value.get("concat") if isinstance(value, dict) else None
    if values is None or len(values) != len(parts):
        return None
    return every(
        None if compare is None else compare(packet, each)
        for compare, each in zip(parts, values, strict=True)
    )


def _payload(protocol: str, field: str) -> _Compare | None:
    if protocol in ("ip", "ip6"):
        family = 4 if protocol == "ip" else 6
        if field in ("saddr", "daddr"):
            return lambda packet, value: packet.family == family and _address(packet, field, value)
        if field in ("protocol", "nexthdr"):
            return lambda packet, value: packet.family == family and comparing.is_protocol(packet, value)
        return lambda packet, value: None if packet.family == family else False
    if field in ("sport", "dport") and protocol in ("udp", "tcp", "th", "sctp", "dccp", "udplite"):
        return lambda packet, value: _port(packet, protocol, field, value)
    if comparing.protocol_number(protocol) is not None:
        return lambda packet, value: None if comparing.is_protocol(packet, protocol) else False
    return None


def _address(packet: Packet, field: str, value: Any) -> Known:
    known = packet.source if field == "saddr" else packet.destination
    try:
        if isinstance(value, str):
            return comparing.within(known, [ipaddress.ip_network(value)])
        if "prefix" in value:
            network = f"{value['prefix']['addr']}/{value['prefix']['len']}"
            return comparing.within(known, [ipaddress.ip_network(network, strict=False)])
        if "range" in value:
            first, last = (ipaddress.ip_address(end) for end in value["range"])
            return comparing.between(known, first, last)
    except (ValueError, TypeError, KeyError):
        return None
    return None


def _port(packet: Packet, protocol: str, field: str, value: Any) -> Known:
    if protocol not in (packet.protocol, "th"):
        return False
    port = packet.destination_port if field == "dport" else packet.source_port
    if isinstance(value, dict) and "range" in value:
        return comparing.in_ports(port, *value["range"])
    return comparing.in_ports(port, value, value) if isinstance(value, int) else None


def _interface(packet: Packet, incoming: bool, value: Any) -> Known:
    # Only output and postrouting have an interface to leave by, and only the others one to arrive by.
    name = packet.interface if packet.incoming == incoming else None
    return comparing.is_called(name, str(value), "*")


_META: dict[str, _Compare] = {
    "l4proto": lambda packet, value: comparing.is_protocol(packet, value),
    "nfproto": lambda packet, value: packet.family == {"ipv4": 4, "ipv6": 6}.get(str(value)),
    "protocol": lambda packet, value: packet.family == {"ip": 4, "ip6": 6}.get(str(value)),
    "iifname": lambda packet, value: _interface(packet, True, value),
    "iif": lambda packet, value: _interface(packet, True, value),
    "oifname": lambda packet, value: _interface(packet, False, value),
    "oif": lambda packet, value: _interface(packet, False, value),
    "pkttype": lambda packet, value: comparing.packet_type(packet, str(value)),
}


def _summary(expressions: list[dict[str, Any]]) -> str:
    """A rule in few words, for people who know their ruleset."""
    words = []
    for expression in expressions:
        [(kind, body)] = expression.items()
        if kind == "match":
            operator = "" if body["op"] in ("==", "in") else f" {body['op']}"
            words.append(f"{_words(body['left'])}{operator} {_words(body['right'])}")
        elif kind in ("jump", "goto"):
            words.append(f"{kind} {body['target']}")
        elif kind not in ("counter", "comment"):
            words.append(kind)
    return " ".join(words)


def _words(side: Any) -> str:
    match side:
        case {"payload": {"protocol": protocol, "field": field}}:
            return f"{protocol} {field}"
        case {"meta": {"key": key}}:
            return str(key)
        case {"ct": {"key": key}}:
            return f"ct {key}"
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"range": [first, last]}:
            return f"{first}-{last}"
        case {"set": [*elements]} | {"concat": [*elements]} | [*elements]:
            return "{ " + ", ".join(_words(element) for element in elements[:4]) + " }"
        case str() | int():
            return str(side)
    return "…"
