# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules of the event filter and flows that they concern, drawn from few values, so that they meet."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import strategies as st

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.filter import EventFilter
from pyconntrack.core.kernel_codec import decode
from pyconntrack.kernel.socket_filter import FilterRules
from tests.core.support_flows import DCCP, GROUPS, ICMP, ICMPV6, SCTP, TCP, UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import destroy, event

PROTOCOLS = (TCP, UDP, SCTP, DCCP, ICMP, ICMPV6, 0, 89, 255)

IPV4_HOSTS = [ipaddress.IPv4Address(text).packed for text in ("10.0.0.1", "10.0.0.2", "10.0.1.1")]
IPV4_EDGES = [
    ipaddress.IPv4Address(text).packed for text in ("0.0.0.0", "255.255.255.255", "127.255.255.255")
]
IPV6_HOSTS = [
    ipaddress.IPv6Address(text).packed
    for text in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db8::1:0:0", "fe80::1")
]
IPV6_EDGES = [bytes(16), b"\xff" * 16, bytes(12) + b"\xff" * 4]

ipv4_addresses = st.sampled_from(IPV4_HOSTS + IPV4_EDGES) | st.binary(min_size=4, max_size=4)
ipv6_addresses = st.sampled_from(IPV6_HOSTS + IPV6_EDGES) | st.binary(min_size=16, max_size=16)
protocol_numbers = st.sampled_from(PROTOCOLS) | st.integers(0, 255)


@st.composite
def networks(draw: st.DrawFn) -> tuple[bytes, int]:
    address = draw(ipv4_addresses | ipv6_addresses)
    bits = 8 * len(address)
    return address, draw(
        st.sampled_from((bits, bits - 1, bits * 3 // 4, bits // 2, 0)) | st.integers(0, bits)
    )


@st.composite
def filter_rules(draw: st.DrawFn) -> FilterRules:
    """Each kind of list in about two of three cases, sometimes an empty one."""
    rules = FilterRules(
        accept_protocols=draw(st.booleans()),
        accept_networks=draw(st.booleans()),
        accept_states=draw(st.booleans()),
    )
    if draw(st.integers(0, 2)):
        rules["protocols"] = draw(st.sets(protocol_numbers, max_size=6))
    if draw(st.integers(0, 2)):
        rules["networks"] = draw(st.lists(networks(), max_size=10))
    if draw(st.integers(0, 2)):
        of = st.sets(st.integers(0, 9) | st.integers(0, 31), max_size=6)
        rules["states"] = draw(st.dictionaries(st.sampled_from((TCP, SCTP, DCCP)), of))
    return rules


@st.composite
def flows(draw: st.DrawFn) -> KernelFlow:
    """A flow, of every second one the ends translated."""
    addresses = draw(st.sampled_from((ipv4_addresses, ipv6_addresses)))
    protocol = draw(protocol_numbers)
    flow = KernelFlow(
        FlowTuple(draw(addresses), draw(addresses), protocol, (1, 2)), id=draw(st.integers(1, 9))
    )
    if draw(st.booleans()):
        flow.nat_source = draw(st.none() | addresses)
        flow.nat_destination = draw(st.none() | addresses)
    state = draw(st.integers(0, 9) | st.sampled_from((31, 32, 255)))
    flow.tcp, flow.sctp, flow.dccp = (state, 0, 0), (state, 1, 2), (state, 0)
    flow.mark = draw(st.sampled_from((0, 1)))
    return flow


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """The kernel's event of a flow's begin, of a change or of its end."""
    flow = draw(flows())
    kind = draw(st.sampled_from(("new", "update", "destroy")))
    if kind == "destroy":
        return destroy(flow)
    groups = draw(st.sets(st.sampled_from(GROUPS))) | ({"protocol"} if kind == "new" else set())
    return event(flow, kind == "new", groups)


def user_space_passes(rules: FilterRules, message: bytes) -> bool:
    """What the daemon's own filter says of an event; the state of an end is nothing to it."""
    batch = FlowBatch()
    decode(message, batch)
    assert len(batch) == 1
    asked: dict[str, Any] = dict(rules)
    if message[4:6] == b"\x02\x01":
        asked.pop("states", None)
    return EventFilter(**asked).decide(batch)[0]
