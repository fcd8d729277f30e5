# SPDX-License-Identifier: GPL-2.0-or-later
"""The codec alone: what goes in comes out, and what the kernel alone says is read."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.kernel_codec import DONE, ERROR, INTERRUPTED, decode, encode, prepare_creates
from tests.kernel.netlink_bytes import attribute, ipv4_tuple, message, nest

NEW, DELETE = 0, 2
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
u64 = st.integers(0, 0xFFFFFFFFFFFFFFFF)
PORTS = (6, 17, 33, 47, 132, 136)


@st.composite
def tuples(draw: st.DrawFn, family: int) -> tuple[Any, ...]:
    size = 4 if family == socket.AF_INET else 16
    protocol = draw(st.one_of(st.sampled_from((*PORTS, 1, 58)), u8))
    ports = (draw(u16), draw(u16)) if protocol in PORTS else (0, 0)
    icmp = (draw(u16), draw(u8), draw(u8)) if protocol in (1, 58) else (0, 0, 0)
    address = st.binary(min_size=size, max_size=size)
    return (family, protocol, draw(address), draw(address), *ports, *icmp)


def settable(family: int) -> dict[str, st.SearchStrategy[Any]]:
    address = st.binary(min_size=4 if family == 2 else 16, max_size=4 if family == 2 else 16)
    return {
        "reply": tuples(family),
        "master": tuples(family),
        "status": u32,
        "timeout": u32,
        "mark": u32,
        "mark_mask": u32,
        "zone": u16,
        "original_zone": u16,
        "tcp_state": u8,
        "tcp_flags_original": st.tuples(u8, u8),
        "tcp_flags_reply": st.tuples(u8, u8),
        "tcp_window_scale_original": u8,
        "tcp_window_scale_reply": u8,
        "sctp_state": u8,
        "sctp_vtag_original": u32,
        "sctp_vtag_reply": u32,
        "dccp_state": u8,
        "dccp_role": u8,
        "dccp_handshake_sequence": u64,
        "helper_name": st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=15),
        "helper_info": st.binary(max_size=32),
        "source_nat_address": address,
        "source_nat_port": u16,
        "destination_nat_address": address,
        "destination_nat_port": u16,
        "sequence_adjust_original": st.tuples(u32, u32, u32),
        "sequence_adjust_reply": st.tuples(u32, u32, u32),
        "syn_proxy": st.tuples(u32, u32, u32),
        "labels": st.binary(max_size=16),
    }


@st.composite
def flows(draw: st.DrawFn) -> dict[str, Any]:
    family = draw(st.sampled_from((int(socket.AF_INET), int(socket.AF_INET6))))
    optional = settable(family)
    values: dict[str, Any] = draw(st.fixed_dictionaries({"original": tuples(family)}, optional=optional))
    if "reply" in values and draw(st.booleans()):
        values["reply_zone"] = draw(u16)
    if "labels" in values and draw(st.booleans()):
        values["labels_mask"] = draw(st.binary(min_size=16, max_size=16))[: len(values["labels"])].ljust(
            16, b"\0"
        )
    return values


def in_words(values: dict[str, Any]) -> dict[str, Any]:
    """With labels in whole words of 32 bits, as the kernel takes them."""
    labels = values.get("labels")
    return values if labels is None else {**values, "labels": labels.ljust(-(-len(labels) // 4) * 4, b"\0")}


def round_trip(values: dict[str, Any], command: int = NEW, flags: int = 0) -> dict[str, Any]:
    sent, received = FlowBatch(), FlowBatch()
    sent.pack(values)
    assert decode(encode(sent, 0, command, flags, 7), received)[2:] == (1, 0, 0)
    return received.unpack(0)


@settings(max_examples=400, deadline=None)
@given(flows())
def test_what_is_encoded_is_decoded(values: dict[str, Any]) -> None:
    assert round_trip(values) == in_words(values) | {"event": 2}


@settings(deadline=None)
@given(flows(), u32)
def test_a_delete_names_the_flow_and_no_more(values: dict[str, Any], number: int) -> None:
    names = {name: value for name, value in values.items() if name in ("original", "zone", "original_zone")}
    assert round_trip({**values, "id": number}, DELETE) == {**names, "id": number, "event": 3}


def test_the_longest_flow_fits() -> None:
    six = (10, 6, b"\xff" * 16, b"\xff" * 16, 0xFFFF, 0xFFFF, 0, 0, 0)
    values = {
        **dict.fromkeys(("original", "reply", "master"), six),
        **dict.fromkeys(("status", "timeout", "mark", "mark_mask"), 0xFFFFFFFF),
        **dict.fromkeys(("zone", "original_zone", "reply_zone", "source_nat_port"), 0xFFFF),
        **dict.fromkeys(("tcp_state", "tcp_window_scale_original", "tcp_window_scale_reply"), 0xFF),
        **dict.fromkeys(("tcp_flags_original", "tcp_flags_reply"), (0xFF, 0xFF)),
        **dict.fromkeys(("sctp_state", "dccp_state", "dccp_role"), 0xFF),
        **dict.fromkeys(("sctp_vtag_original", "sctp_vtag_reply"), 0xFFFFFFFF),
        "dccp_handshake_sequence": 0xFFFFFFFFFFFFFFFF,
        "helper_name": "x" * 15,
        "helper_info": b"\xff" * 32,
        **dict.fromkeys(
            ("source_nat_address", "destination_nat_address", "labels", "labels_mask"), b"\xff" * 16
        ),
        "destination_nat_port": 0xFFFF,
        **dict.fromkeys(
            ("sequence_adjust_original", "sequence_adjust_reply", "syn_proxy"), (0xFFFFFFFF,) * 3
        ),
    }
    kernel_only = {"secmark", "security_context", "id", "use", "counters_original", "counters_reply"}
    kernel_only |= {"timestamp_start", "timestamp_stop", "timestamp_event", "origin"}
    assert set(values) | kernel_only == set(FlowBatch.fields())
    assert round_trip(values) == in_words(values) | {"event": 2}


def test_an_event_is_known_by_its_header() -> None:
    values = {"original": (2, 6, b"\x0a\0\0\1", b"\x0a\0\0\2", 1, 2, 0, 0, 0)}
    assert round_trip(values, flags=NLM_F_CREATE | NLM_F_EXCL)["event"] == 1
    assert round_trip(values)["event"] == 2
    assert round_trip(values, DELETE)["event"] == 3


def decoded(*inner: bytes) -> dict[str, Any]:
    batch = FlowBatch()
    assert decode(message(NEW, ipv4_tuple(), *inner), batch)[2] == 1
    values = batch.unpack(0)
    assert values.pop("original") == (2, 6, b"\x0a\0\0\1", b"\x0a\0\0\2", 1000, 80, 0, 0, 0)
    assert values.pop("event") == 2
    return values


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (
            nest(9, attribute(1, struct.pack(">Q", 5)), attribute(2, struct.pack(">Q", 2**40))),
            {"counters_original": (5, 2**40)},
        ),
        (
            nest(10, attribute(3, struct.pack(">I", 5)), attribute(4, struct.pack(">I", 6))),
            {"counters_reply": (5, 6)},
        ),
        (attribute(11, struct.pack(">I", 3)), {"use": 3}),
        (attribute(12, struct.pack(">I", 0xDEADBEEF)), {"id": 0xDEADBEEF}),
        (attribute(17, struct.pack(">I", 9)), {"secmark": 9}),
        (nest(19, attribute(1, b"system_u:object_r:x_t\0")), {"security_context": "system_u:object_r:x_t"}),
        (nest(19, attribute(1, b"x" * 127 + b"y\0")), {"security_context": "x" * 127}),
        (
            nest(20, attribute(1, struct.pack(">Q", 1 << 60)), attribute(2, struct.pack(">Q", 7))),
            {"timestamp_start": 1 << 60, "timestamp_stop": 7},
        ),
        (attribute(27, struct.pack(">Q", 1 << 61)), {"timestamp_event": 1 << 61}),
        (nest(5, attribute(1, b"ftp")), {"helper_name": "ftp"}),
        (attribute(99, b"of a kernel to come"), {}),
        (nest(4, nest(9, attribute(1, b"x"))), {}),
        (attribute(3, b"\0\0\0\x0e" + b"longer"), {"status": 14}),
    ],
)
def test_what_only_the_kernel_says(inner: bytes, expected: dict[str, Any]) -> None:
    assert decoded(inner) == expected


@pytest.mark.parametrize(
    "inner",
    [
        attribute(3, b"\0\0\0"),
        attribute(18, b"\0"),
        attribute(27, b"\0" * 7),
        nest(2, b""),
        nest(9, attribute(1, b"\0" * 7)),
        nest(4, nest(1, attribute(4, b"\x08"))),
        nest(5, attribute(1, b"a helper whose name is too long")),
        nest(5, attribute(2, b"x" * 33)),
        nest(24, attribute(2, b"\0\0\0")),
        nest(6, nest(3, attribute(1, b"\0"))),
        nest(6, attribute(4, b"\0" * 15)),
        attribute(22, b"\0" * 17),
        nest(20, attribute(1, b"\0" * 4)),
        struct.pack("=HH", 3, 3),
        struct.pack("=HH", 5, 3),
        nest(4, struct.pack("=HHI", 200, 1, 0)),
    ],
)
def test_what_is_malformed_is_counted_and_left_out(inner: bytes) -> None:
    good = message(NEW, ipv4_tuple())
    batch = FlowBatch()
    found, number, count, malformed, others = decode(good + message(NEW, ipv4_tuple(), inner) + good, batch)
    assert (found, number, count, malformed, others) == (0, 0, 2, 1, 0)
    assert len(batch) == 2


def usual_tuple(size: int, first: int) -> bytes:
    """What the kernel writes into a tuple with ports, of addresses of that size and kind."""
    source, destination = attribute(first, b"\1" * size), attribute(first + 1, b"\2" * size)
    ports = attribute(2, b"\x03\xe8"), attribute(3, b"\0\x50")
    return nest(1, source, destination) + nest(2, attribute(1, b"\x06"), *ports)


def usual_tcp() -> bytes:
    octets = [attribute(kind, bytes([kind])) for kind in (1, 2, 3)]
    flags = [attribute(kind, bytes([kind, 0x0A])) for kind in (4, 5)]
    return b"".join(octets + flags)


def decoded_tuple(*inner: bytes) -> object:
    batch = FlowBatch()
    return decode(message(NEW, nest(1, *inner)), batch), len(batch) and batch.unpack(0)


def decoded_tcp(*inner: bytes) -> object:
    batch = FlowBatch()
    return decode(message(NEW, ipv4_tuple(), nest(4, nest(1, *inner))), batch), len(batch) and batch.unpack(0)


@pytest.mark.parametrize(
    ("read", "usual"),
    [
        (decoded_tuple, usual_tuple(4, 1)),
        (decoded_tuple, usual_tuple(16, 3)),
        (decoded_tcp, usual_tcp()),
    ],
    ids=["IPv4", "IPv6", "TCP"],
)
def test_what_is_usual_is_read_as_anything_else(read: Callable[..., object], usual: bytes) -> None:
    """And so is what is a bit away from it. Behind an attribute that nobody knows, nothing is usual."""
    unknown = attribute(60, bytes(4))
    assert read(usual) == read(unknown, usual)
    for place, bit in itertools.product(range(len(usual)), range(8)):
        changed = bytearray(usual)
        changed[place] ^= 1 << bit
        assert read(bytes(changed)) == read(unknown, bytes(changed)), (place, bit)


def test_what_is_not_a_flow_is_no_error() -> None:
    batch = FlowBatch()
    data = message(NEW, subsystem=2) + message(5) + message(NEW, ipv4_tuple())
    assert decode(data, batch) == (0, 0, 1, 0, 2)


def test_the_end_of_a_dump_and_its_errors() -> None:
    def control(kind: int, payload: bytes, flags: int = 0) -> bytes:
        return struct.pack("=IHHII", 16 + len(payload), kind, flags, 0, 0) + payload

    batch = FlowBatch()
    assert decode(control(3, struct.pack("=i", 0)), batch)[:2] == (DONE, 0)
    assert decode(control(3, struct.pack("=i", -12)), batch)[:2] == (DONE, 12)
    assert decode(control(2, struct.pack("=i", -1) + bytes(16)), batch)[:2] == (ERROR, 1)
    assert decode(control(3, b""), batch)[:2] == (DONE, 0)
    assert decode(control(3, struct.pack("=i", 0), flags=0x10), batch)[:2] == (DONE | INTERRUPTED, 0)
    assert decode(b"", batch) == (0, 0, 0, 0, 0)
    assert decode(b"\1\2\3", batch)[3] == 1
    assert decode(struct.pack("=IHHII", 15, 3, 0, 0, 0), batch)[3] == 1


PLAIN = (2, 6, b"\x0a\0\0\1", b"\x0a\0\0\2", 1000, 80, 0, 0, 0)
INVERSE = (2, 6, b"\x0a\0\0\2", b"\x0a\0\0\1", 80, 1000, 0, 0, 0)


def prepared(**values: Any) -> dict[str, Any]:
    batch = FlowBatch()
    batch.pack(values)
    prepare_creates(batch)
    return batch.unpack(0)


def test_a_translated_flow_is_made_creatable() -> None:
    reply = (2, 6, b"\x0a\0\0\7", b"\1\2\3\4", 8080, 5555, 0, 0, 0)
    values = prepared(original=PLAIN, reply=reply, status=0x1BE, id=4)
    assert values["reply"] == INVERSE
    assert (values["source_nat_address"], values["source_nat_port"]) == (b"\1\2\3\4", 5555)
    assert (values["destination_nat_address"], values["destination_nat_port"]) == (b"\x0a\0\0\7", 8080)
    assert values["status"] == 0x0E
    assert "id" not in values


def test_nat_that_is_given_stays() -> None:
    reply = (2, 6, b"\x0a\0\0\2", b"\1\2\3\4", 80, 5555, 0, 0, 0)
    values = prepared(original=PLAIN, reply=reply, status=0x18, source_nat_address=b"\5\6\7\x08")
    assert values["source_nat_address"] == b"\5\6\7\x08"
    assert "source_nat_port" not in values


def test_no_status_no_nat() -> None:
    reply = (2, 6, b"\x0a\0\0\2", b"\1\2\3\4", 80, 5555, 0, 0, 0)
    values = prepared(original=PLAIN, reply=reply)
    assert "source_nat_address" not in values
    assert values["reply"] == INVERSE


def test_an_icmp_id_is_translated_as_a_port() -> None:
    original = (2, 1, b"\x0a\0\0\1", b"\x0a\0\0\2", 0, 0, 5, 8, 0)
    reply = (2, 1, b"\x0a\0\0\2", b"\1\2\3\4", 0, 0, 99, 0, 0)
    values = prepared(original=original, reply=reply, status=0x18)
    assert (values["source_nat_address"], values["source_nat_port"]) == (b"\1\2\3\4", 99)
    assert values["reply"] == (2, 1, b"\x0a\0\0\2", b"\x0a\0\0\1", 0, 0, 5, 0, 0)


def test_an_event_names_the_process_that_caused_it() -> None:
    data = bytearray(message(NEW, ipv4_tuple(), flags=NLM_F_CREATE))
    batch = FlowBatch()
    decode(bytes(data), batch)
    data[12:16] = struct.pack("=I", 4711)
    decode(bytes(data), batch)
    assert "origin" not in batch.unpack(0)
    assert batch.unpack(1)["origin"] == 4711
