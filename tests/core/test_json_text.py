# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON lines say what FlowBatch.unpack says, of any record."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.label_names import LabelNames
from pyconntrack.core.output import JSON, format_batch
from pyconntrack.model.names import DccpRole, DccpState, Protocol, SctpState, Status, TcpFlag, TcpState

u8, u16 = st.integers(0, 255), st.integers(0, 0xFFFF)
u32, u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
protocols = st.sampled_from([1, 6, 17, 33, 47, 58, 132, 136]) | u8
# Bytes that are no UTF-8 among characters of every length.
hostile = st.lists(
    st.sampled_from(
        [b"a", b'"', b"\\", b"\n", b"\x7f", "é".encode(), "\x9b".encode(), "€".encode(), "😀".encode()]
    )
    | st.sampled_from(
        [b"\x9b", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xff", b"</"]
    )
    | st.binary(min_size=1, max_size=3).map(lambda data: data.replace(b"\0", b"")),
    max_size=20,
).map(b"".join)


def tuples(family: int) -> st.SearchStrategy[tuple[Any, ...]]:
    address = st.binary(min_size=16, max_size=16).map(lambda data: data[: 4 if family == 2 else 16])
    return st.tuples(st.just(family), protocols, address, address, u16, u16, u16, u8, u8)


def text(size: int) -> st.SearchStrategy[str]:
    return hostile.map(lambda data: data[: size - 1].decode("utf-8", "surrogateescape"))


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    family = draw(st.sampled_from([2, 10]))
    address = st.binary(min_size=16, max_size=16).map(lambda data: data[: 4 if family == 2 else 16])
    kinds: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(FlowBatch.fields(), u32)
    kinds |= dict.fromkeys(("original", "reply"), tuples(family))
    kinds |= {"master": st.sampled_from([2, 10]).flatmap(tuples)}
    kinds |= dict.fromkeys(("zone", "original_zone", "reply_zone", "source_nat_port"), u16)
    kinds |= {"destination_nat_port": u16, "dccp_handshake_sequence": u64}
    kinds |= dict.fromkeys(("tcp_state", "sctp_state", "dccp_state"), st.integers(0, 12) | u8)
    kinds |= dict.fromkeys(("tcp_window_scale_original", "tcp_window_scale_reply"), u8)
    kinds |= {"dccp_role": st.integers(0, 3)}
    kinds |= dict.fromkeys(("tcp_flags_original", "tcp_flags_reply"), st.tuples(u8, u8))
    kinds |= dict.fromkeys(("counters_original", "counters_reply"), st.tuples(u64, u64))
    kinds |= dict.fromkeys(("timestamp_start", "timestamp_stop", "timestamp_event"), u64)
    words = st.tuples(u32, u32, u32)
    kinds |= dict.fromkeys(("sequence_adjust_original", "sequence_adjust_reply", "syn_proxy"), words)
    kinds |= dict.fromkeys(("source_nat_address", "destination_nat_address"), address)
    kinds |= {"labels": st.binary(max_size=16), "labels_mask": st.binary(min_size=16, max_size=16)}
    kinds |= {"helper_name": text(16), "helper_info": st.binary(max_size=32), "security_context": text(128)}
    names = draw(st.sets(st.sampled_from(sorted(kinds))))
    if not names & {"original", "reply"}:
        names |= {"original"}
    return {"event": draw(st.integers(0, 3)), **{name: draw(kinds[name]) for name in sorted(names)}}


def named(kind: Any, number: int) -> dict[str, Any]:
    known = {int(member): member.name for member in kind}
    return {"number": number, **({"name": known[number]} if number in known else {})}


def bits(kind: Any, number: int) -> dict[str, Any]:
    return {"number": number, "names": [member.name for member in kind if number & member]}


def label_bits(data: bytes) -> list[int]:
    return [bit for bit in range(8 * len(data)) if data[bit // 8] >> bit % 8 & 1]


def direction(values: tuple[Any, ...]) -> dict[str, Any]:
    family, protocol, source, destination, source_port, destination_port, icmp_id, icmp_type, icmp_code = (
        values
    )
    name = {int(member): member.name.lower() for member in Protocol}.get(protocol)
    found: dict[str, Any] = {
        "family": "ipv4" if family == 2 else "ipv6",
        "protocol": {"number": protocol, **({"name": name} if name else {})},
        "source": source,
        "destination": destination,
    }
    if protocol in (1, 58):
        found |= {"icmp_type": icmp_type, "icmp_code": icmp_code, "icmp_id": icmp_id}
    elif protocol == 47:
        found |= {"source_key": source_port, "destination_key": destination_port}
    elif name:
        found |= {"source_port": source_port, "destination_port": destination_port}
    return found


def with_packed_addresses(found: dict[str, Any]) -> dict[str, Any]:
    """The object with its addresses as bytes, since an address can be written in several ways."""
    for name in ("original", "reply", "master"):
        for end in ("source", "destination"):
            if end in found.get(name, {}):
                found[name][end] = ipaddress.ip_address(found[name][end]).packed
    for name in ("source_nat", "destination_nat"):
        if "address" in found.get(name, {}):
            found[name]["address"] = ipaddress.ip_address(found[name]["address"]).packed
    return found


NUMBERS = ("timeout", "mark", "mark_mask", "secmark", "security_context", "zone", "use", "id")
TIMES = ("timestamp_start", "timestamp_stop", "timestamp_event")
ADJUST = ("position", "offset_before", "offset_after")


def expected(values: dict[str, Any]) -> dict[str, Any]:
    """The object that says the same as a record."""
    found: dict[str, Any] = {name: values[name] for name in NUMBERS + TIMES if name in values}
    if values["event"]:
        found["event"] = ("new", "update", "destroy")[values["event"] - 1]
    for name in ("original", "reply"):
        inner = direction(values[name]) if name in values else {}
        if f"{name}_zone" in values:
            inner["zone"] = values[f"{name}_zone"]
        if f"counters_{name}" in values:
            inner["counters"] = dict(zip(("packets", "bytes"), values[f"counters_{name}"], strict=True))
        if f"sequence_adjust_{name}" in values:
            inner["sequence_adjust"] = dict(zip(ADJUST, values[f"sequence_adjust_{name}"], strict=True))
        found[name] = inner
    if "master" in values:
        found["master"] = direction(values["master"])
    if "status" in values:
        found["status"] = bits(Status, values["status"])
    found |= protocol_parts(values) | other_parts(values)
    return {name: value for name, value in found.items() if value != {}}


def protocol_parts(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"tcp": {}, "sctp": {}, "dccp": {}}
    states = {"tcp_state": TcpState, "sctp_state": SctpState, "dccp_state": DccpState, "dccp_role": DccpRole}
    for name, value in values.items():
        prefix, _, rest = name.partition("_")
        if prefix not in found:
            continue
        if name in states:
            found[prefix][rest] = named(states[name], value)
        elif rest.startswith("flags_"):
            found[prefix][rest] = bits(TcpFlag, value[0])
            found[prefix][rest.replace("flags_", "flags_mask_")] = value[1]
        else:
            found[prefix][rest] = value
    return found


def other_parts(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"helper": {}, "source_nat": {}, "destination_nat": {}}
    if "helper_name" in values:
        found["helper"]["name"] = values["helper_name"]
    if "helper_info" in values:
        found["helper"]["info"] = values["helper_info"].hex()
    for name in ("source_nat", "destination_nat"):
        for part in ("address", "port"):
            if f"{name}_{part}" in values:
                found[name][part] = values[f"{name}_{part}"]
    if "syn_proxy" in values:
        found["syn_proxy"] = dict(zip(("isn", "its", "tsoff"), values["syn_proxy"], strict=True))
    for name in ("labels", "labels_mask"):
        if name in values:
            found[name] = {"bits": label_bits(values[name])}
    if "origin" in values:
        found["origin"] = {"port": values["origin"]}
    return found


@given(st.lists(records(), max_size=4))
@settings(max_examples=500, deadline=None)
def test_a_line_says_what_the_record_says(given_records: list[dict[str, Any]]) -> None:
    batch = FlowBatch()
    for values in given_records:
        batch.pack(values)
    written = format_batch(batch, 0, len(batch), JSON)
    assert written.isascii()
    assert all(32 <= byte < 127 for byte in written.replace(b"\n", b""))
    lines = written.splitlines(keepends=True)
    assert len(lines) == len(batch)
    for index, line in enumerate(lines):
        assert line.endswith(b"}\n")
        assert with_packed_addresses(json.loads(line)) == expected(batch.unpack(index))


def test_names_of_labels_and_processes_are_given_where_they_are_known() -> None:
    names = LabelNames()
    names.add(3, "three")
    batch = FlowBatch()
    end = bytes(4)
    batch.pack({"original": (2, 6, end, end, 1, 2, 0, 0, 0), "labels": b"\x18" + bytes(15), "origin": 7})
    line = json.loads(format_batch(batch, 0, 1, JSON, 0, names, process_names={7: b'a"\xff'}))
    assert line["labels"] == {"bits": [3, 4], "names": ["three"]}
    assert line["origin"] == {"port": 7, "process": 'a"\udcff'}
