# SPDX-License-Identifier: GPL-2.0-or-later
"""The event filter, against a plain model of it and against what the C daemon let through."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.filter import EventFilter, merge_networks

TCP, UDP, ICMP, SCTP, OSPF = 6, 17, 1, 132, 89
SYN_SENT, ESTABLISHED, TIME_WAIT = 1, 3, 7


def pack(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def network(text: str) -> tuple[bytes, int]:
    parsed = ipaddress.ip_network(text)
    return parsed.network_address.packed, parsed.prefixlen


def flow(
    source: str, destination: str, protocol: int = TCP, *, reply_source: str = "", **values: Any
) -> dict[str, Any]:
    """A flow's values; `reply_source` is where the destination was translated to."""
    family = socket.AF_INET if "." in source else socket.AF_INET6
    answering = pack(reply_source or destination)
    return {
        "original": (family, protocol, pack(source), pack(destination), 1000, 80, 0, 0, 0),
        "reply": (family, protocol, answering, pack(source), 80, 1000, 0, 0, 0),
        **values,
    }


def decide(rules: EventFilter, *flows: dict[str, Any]) -> list[bool]:
    batch = FlowBatch()
    for values in flows:
        batch.pack(values)
    return rules.decide(batch)


# What the C daemon 1.4.7 was shown, and below, what of it was in its internal cache then.
FLOWS = {
    1: flow("10.1.0.1", "10.2.0.1", tcp_state=ESTABLISHED),
    2: flow("10.2.0.1", "10.1.0.1", tcp_state=ESTABLISHED),
    3: flow("10.3.0.1", "10.4.0.1", tcp_state=ESTABLISHED),
    4: flow("10.3.0.1", "10.4.0.1", reply_source="10.1.0.1", tcp_state=ESTABLISHED),
    5: flow("10.3.0.1", "10.4.0.1", tcp_state=ESTABLISHED)
    | {"reply": (2, TCP, pack("10.4.0.1"), pack("10.1.0.1"), 80, 1000, 0, 0, 0)},
    6: flow("10.3.0.1", "10.1.0.1", reply_source="10.4.0.1", tcp_state=ESTABLISHED),
    7: flow("10.3.0.1", "10.4.0.1", tcp_state=TIME_WAIT),
    8: flow("10.3.0.1", "10.4.0.1", UDP),
    9: flow("10.3.0.1", "10.4.0.1", ICMP),
    10: flow("10.1.0.77", "10.4.0.1", tcp_state=ESTABLISHED),
    11: flow("fd00::1", "fd00::2", tcp_state=ESTABLISHED),
    12: flow("10.3.0.1", "10.4.0.1", SCTP, sctp_state=4),
    13: flow("10.3.0.1", "10.4.0.1", tcp_state=SYN_SENT),
    15: flow("fd00::77", "fd00::2", tcp_state=ESTABLISHED),
    89: flow("10.3.0.1", "10.4.0.1", OSPF),
}
ALL = set(FLOWS)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param({}, ALL, id="none"),
        pytest.param({"protocols": [TCP]}, {1, 2, 3, 4, 5, 6, 7, 10, 11, 13, 15}, id="Protocol Accept TCP"),
        pytest.param(
            {"protocols": [TCP], "accept_protocols": False}, {8, 9, 12, 89}, id="Protocol Ignore TCP"
        ),
        pytest.param({"networks": [network("10.1.0.1")]}, {1, 2, 4}, id="Address Accept 10.1.0.1"),
        pytest.param(
            {"networks": [network("10.1.0.1")], "accept_networks": False},
            ALL - {1, 2, 4},
            id="Address Ignore 10.1.0.1",
        ),
        pytest.param({"networks": [network("10.1.0.0/24")]}, {1, 2, 4, 10}, id="Address Accept 10.1.0.0/24"),
        pytest.param(
            {"networks": [network("10.1.0.0/24")], "accept_networks": False},
            ALL - {1, 2, 4, 10},
            id="Address Ignore 10.1.0.0/24",
        ),
        pytest.param(
            {"networks": [network("10.1.0.0/24"), network("10.3.0.1")]},
            ALL - {11, 15},
            id="Address Accept 10.1.0.0/24 10.3.0.1",
        ),
        pytest.param({"networks": [network("fd00::1")]}, {11}, id="Address Accept fd00::1"),
        pytest.param({"networks": [network("fd00::/120")]}, {11, 15}, id="Address Accept fd00::/120"),
        pytest.param(
            {"networks": [network("fd00::1")], "accept_networks": False},
            ALL - {11},
            id="Address Ignore fd00::1",
        ),
        pytest.param({"states": {TCP: [ESTABLISHED]}}, ALL - {7, 13}, id="State Accept ESTABLISHED"),
        pytest.param(
            {"states": {TCP: [ESTABLISHED]}, "accept_states": False},
            {7, 8, 9, 12, 13, 89},
            id="State Ignore ESTABLISHED",
        ),
        pytest.param(
            {"states": {TCP: [ESTABLISHED, TIME_WAIT]}, "accept_states": False},
            {8, 9, 12, 13, 89},
            id="State Ignore ESTABLISHED TIME_WAIT",
        ),
    ],
)
def test_what_the_c_daemon_lets_through(rules: dict[str, Any], expected: set[int]) -> None:
    passed = decide(EventFilter(**rules), *FLOWS.values())
    assert {number for number, through in zip(FLOWS, passed, strict=True) if through} == expected


def test_all_lists_must_agree() -> None:
    rules = EventFilter(protocols=[TCP], networks=[network("10.1.0.0/16")], states={TCP: [ESTABLISHED]})
    assert decide(
        rules,
        flow("10.1.0.1", "10.9.0.1", tcp_state=ESTABLISHED),
        flow("10.1.0.1", "10.9.0.1", UDP),
        flow("10.8.0.1", "10.9.0.1", tcp_state=ESTABLISHED),
        flow("10.1.0.1", "10.9.0.1", tcp_state=TIME_WAIT),
    ) == [True, False, False, False]


def test_a_flow_without_a_state_passes_the_list_of_states() -> None:
    rules = EventFilter(states={TCP: [ESTABLISHED]})
    assert decide(rules, flow("10.1.0.1", "10.9.0.1")) == [True]


def test_a_list_with_nothing_on_it() -> None:
    some = flow("10.1.0.1", "10.9.0.1")
    assert decide(EventFilter(networks=[]), some) == [False]
    assert decide(EventFilter(networks=[], accept_networks=False), some) == [True]
    assert decide(EventFilter(protocols=[]), some) == [False]


def test_a_record_without_a_reply_is_taken_by_its_destination() -> None:
    rules = EventFilter(networks=[network("10.9.0.1")])
    one_way = flow("10.1.0.1", "10.9.0.1")
    del one_way["reply"]
    assert decide(rules, one_way) == [True]


ipv4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
ipv6 = st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)


@st.composite
def networks_and_addresses(draw: st.DrawFn) -> tuple[list[Any], list[Any]]:
    """Networks, nested and side by side, with addresses in, at the edges of, and beside them."""
    networks = []
    for _ in range(draw(st.integers(0, 12))):
        address = draw(ipv4 | ipv6)
        length = draw(st.integers(0, address.max_prefixlen))
        networks.append(ipaddress.ip_network(f"{address}/{length}", strict=False))
    addresses: list[Any] = [draw(ipv4), draw(ipv6)]
    for known in networks:
        for number in (int(known[0]) - 1, int(known[0]), int(known[-1]), int(known[-1]) + 1):
            if 0 <= number < 2**known.max_prefixlen:
                addresses.append(type(known[0])(number))
    return networks, addresses


@given(drawn=networks_and_addresses(), accept=st.booleans())
@settings(max_examples=300, deadline=None)
def test_networks_are_matched_as_ipaddress_does(drawn: tuple[list[Any], list[Any]], accept: bool) -> None:
    networks, addresses = drawn
    rules = EventFilter(
        networks=[(known.network_address.packed, known.prefixlen) for known in networks],
        accept_networks=accept,
    )
    for address in addresses:
        listed = any(address in known for known in networks)
        away = "203.0.113.1" if address.version == 4 else "2001:db8::1"
        away_listed = any(ipaddress.ip_address(away) in known for known in networks)
        assert decide(rules, flow(str(address), away)) == [(listed or away_listed) == accept]


def test_neighbours_and_repetitions_become_one_range() -> None:
    merged = merge_networks(
        [(b"\x0a\0\0\0", 25), (b"\x0a\0\0\x80", 25), (b"\x0a\0\0\0", 24), (b"\x0a\0\2\0", 24)]
    )
    assert merged == [(0x0A000000, 0x0A0000FF), (0x0A000200, 0x0A0002FF)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"protocols": [256]},
        {"protocols": [-1]},
        {"networks": [(b"\x0a\0\0", 8)]},
        {"networks": [(b"\x0a\0\0\0", 33)]},
        {"networks": [(b"\x0a\0\0\0", -1)]},
        {"states": {UDP: [1]}},
        {"states": {TCP: [32]}},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        EventFilter(**wrong)
