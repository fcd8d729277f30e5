# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person holds: flows and tuples, to the record and back."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyconntrack
from pyconntrack import (
    Counters,
    DccpInfo,
    DccpRole,
    DccpState,
    Event,
    Flow,
    FlowBatch,
    Helper,
    Nat,
    Protocol,
    SctpInfo,
    SctpState,
    SequenceAdjust,
    Status,
    SynProxy,
    TcpFlag,
    TcpFlags,
    TcpInfo,
    TcpState,
    Tuple,
)

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
u64 = st.integers(0, 0xFFFFFFFFFFFFFFFF)


def optional(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


def tuples(version: Literal[4, 6], zoned: bool) -> st.SearchStrategy[Tuple]:
    address = st.ip_addresses(v=version)
    zone = optional(u16) if zoned else st.none()
    return st.builds(Tuple, address, address, u8, u16, u16, u8, u8, u16, zone)


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    version: Literal[4, 6] = 4 if draw(st.booleans()) else 6
    flags = optional(st.builds(TcpFlags, u8.map(TcpFlag), u8.map(TcpFlag)))
    nat = st.builds(Nat, optional(st.ip_addresses(v=version)), optional(u16)).filter(any_given)
    adjust = optional(st.builds(SequenceAdjust, u32, u32, u32))
    text = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=15)
    attributes = {
        "reply": optional(tuples(version, True)),
        "master": optional(tuples(version, False)),
        "status": optional(st.integers(0, 0xFFFF).map(Status)),
        **dict.fromkeys(("timeout", "mark", "mark_mask", "secmark", "id", "use"), optional(u32)),
        "zone": optional(u16),
        "security_context": optional(text),
        "tcp": optional(st.builds(TcpInfo, st.sampled_from(TcpState), flags, flags, u8, u8)),
        "sctp": optional(st.builds(SctpInfo, st.sampled_from(SctpState), u32, u32)),
        "dccp": optional(st.builds(DccpInfo, st.sampled_from(DccpState), st.sampled_from(DccpRole), u64)),
        **dict.fromkeys(("counters_original", "counters_reply"), optional(st.builds(Counters, u64, u64))),
        **dict.fromkeys(("timestamp_start", "timestamp_stop", "timestamp_event"), optional(u64)),
        "helper": optional(st.builds(Helper, text, optional(st.binary(max_size=32)))),
        **dict.fromkeys(("source_nat", "destination_nat"), optional(nat)),
        **dict.fromkeys(("sequence_adjust_original", "sequence_adjust_reply"), adjust),
        "syn_proxy": optional(st.builds(SynProxy, u32, u32, u32)),
        "labels": optional(st.binary(max_size=16)),
        "labels_mask": optional(st.binary(min_size=16, max_size=16)),
        "event": st.sampled_from(Event),
    }
    return Flow(original=draw(tuples(version, True)), **draw(st.fixed_dictionaries(attributes)))


def any_given(nat: Nat) -> bool:
    return nat != Nat()


@settings(deadline=None)
@given(flows())
def test_a_flow_goes_to_the_record_and_back(flow: Flow) -> None:
    batch = FlowBatch()
    assert Flow.from_batch(batch, flow.add_to(batch)) == flow


def test_every_attribute_of_the_record_is_in_the_flow() -> None:
    parts = {"tcp", "sctp", "dccp", "helper", "source_nat", "destination_nat"}
    whole = {name for name in FlowBatch.fields() if not any(name.startswith(f"{part}_") for part in parts)}
    assert whole - {"original_zone", "reply_zone"} == set(Flow.__slots__) - parts - {"event"}


def test_numbers_without_a_name_stay_numbers() -> None:
    batch = FlowBatch()
    batch.pack({"tcp_state": 200, "status": 1 << 20, "original": (2, 99, bytes(4), bytes(4), 0, 0, 0, 0, 0)})
    flow = Flow.from_batch(batch, 0)
    assert flow.tcp is not None
    assert flow.original is not None
    assert (flow.tcp.state, flow.status, flow.original.protocol) == (200, 1 << 20, 99)


def test_addresses_may_be_text() -> None:
    four = Tuple("10.0.0.1", "10.0.0.2", Protocol.UDP, 5, 6)
    assert (four.source, four.destination, four.family) == (
        IPv4Address("10.0.0.1"),
        IPv4Address("10.0.0.2"),
        2,
    )
    assert Tuple("::1", "::2").source == IPv6Address("::1")
    assert Tuple("::1", "::2").family == 10
    assert Tuple("10.0.0.1", "10.0.0.2", 17).protocol is Protocol.UDP
    with pytest.raises(ValueError, match="not of one family"):
        Tuple("::1", "10.0.0.1")
    with pytest.raises(ValueError, match="does not appear"):
        Tuple("nonsense", "10.0.0.1")


def test_a_tuple_is_frozen_and_a_key() -> None:
    one = Tuple("10.0.0.1", "10.0.0.2", 6, 1, 2)
    assert {one: 1}[Tuple("10.0.0.1", "10.0.0.2", 6, 1, 2)] == 1
    with pytest.raises(FrozenInstanceError):
        one.source_port = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("original", "inverse"),
    [
        (Tuple("10.0.0.1", "10.0.0.2", 6, 1, 2), Tuple("10.0.0.2", "10.0.0.1", 6, 2, 1)),
        (
            Tuple("10.0.0.1", "10.0.0.2", 1, icmp_type=8, icmp_id=7),
            Tuple("10.0.0.2", "10.0.0.1", 1, icmp_type=0, icmp_id=7),
        ),
        (
            Tuple("::1", "::2", 58, icmp_type=128, icmp_id=7),
            Tuple("::2", "::1", 58, icmp_type=129, icmp_id=7),
        ),
        (
            Tuple("::1", "::2", 58, icmp_type=1, icmp_code=3),
            Tuple("::2", "::1", 58, icmp_type=1, icmp_code=3),
        ),
        (Tuple("::1", "::2", 50, zone=3), Tuple("::2", "::1", 50)),
    ],
)
def test_the_inverse_of_a_tuple(original: Tuple, inverse: Tuple) -> None:
    assert original.inverse() == inverse


def test_labels_by_number() -> None:
    assert Flow().label_bits == frozenset()
    assert Flow(labels=bytes([0b101] + [0] * 14 + [0x80])).label_bits == {0, 2, 127}


def test_importing_the_package_loads_nothing_that_is_slow() -> None:
    program = (
        "import sys, pyconntrack\n"
        "print([name for name in sys.modules if name.startswith('pyconntrack.')])\n"
        "pyconntrack.ConntrackTable\n"
        "print([name for name in ('asyncio', 'lark', 'ipaddress', 'dataclasses') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    )
    assert run.stdout.splitlines() == ["[]", "[]"]


def test_the_package_names_what_it_offers() -> None:
    assert set(pyconntrack.__all__) <= set(dir(pyconntrack))
    for name in pyconntrack.__all__:
        # A constant has no name of its own.
        assert getattr(getattr(pyconntrack, name), "__name__", name) == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        pyconntrack.nonsense  # noqa: B018
