# SPDX-License-Identifier: GPL-2.0-or-later
"""Expectations between ctnetlink's messages and Python values, and back."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core.expectation_codec import decode, encode, table_request
from tests.core.support_expectations import (
    CLASS,
    DELETE,
    EXPECTATIONS,
    EXPECTED,
    FLAGS,
    FUNCTION,
    HELPER,
    ICMP,
    ID,
    MASK,
    MASTER,
    NAT,
    NEW,
    PORTS,
    TIMEOUT,
    ZONE,
    WireExpectation,
    WireTuple,
)
from tests.kernel.netlink_bytes import attribute, message, nest

GET = 1
NLM_F_MULTI, NLM_F_DUMP_INTR, NLM_F_CREATE = 0x2, 0x10, 0x400
DONE, INTERRUPTED, ERROR = 1, 2, 4
SHORTS = st.integers(0, 0xFFFF)
WORDS = st.integers(0, 0xFFFFFFFF)
NAMES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz-.0123456789", max_size=15)
WORD_NAMES = {TIMEOUT: "timeout", ID: "id", FLAGS: "flags", CLASS: "class_"}

TCP = WireTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 6, (0, 50000, 0))
ALL_BITS = WireTuple(bytes([255] * 4), bytes([255] * 4), 6, (0, 65535, 0))
CONTROL = WireTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 6, (40000, 21, 0))
USUAL = WireExpectation(TCP, ALL_BITS, CONTROL, {TIMEOUT: 300, ID: 7}, helper=b"ftp")


def tuples(size: int) -> st.SearchStrategy[WireTuple]:
    addresses = st.binary(min_size=size, max_size=size)
    protocols = st.sampled_from([*PORTS, *ICMP, 0, 50])
    fields = st.tuples(SHORTS, st.integers(0, 255), st.integers(0, 255))
    return st.builds(WireTuple, addresses, addresses, protocols, fields)


def expectations(size: int) -> st.SearchStrategy[WireExpectation]:
    return st.builds(
        WireExpectation,
        tuples(size),
        tuples(size),
        tuples(size),
        words=st.fixed_dictionaries({}, optional=dict.fromkeys(WORD_NAMES, WORDS)),
        zone=st.none() | SHORTS,
        helper=st.none() | NAMES.map(str.encode),
        function=st.none() | NAMES.map(str.encode) | st.just(b"nat-follow-master"),
        nat=st.none() | st.tuples(WORDS, tuples(size)),
    )


def values_of_tuple(wire: WireTuple) -> tuple[Any, ...]:
    family = 2 if len(wire.source) == 4 else 10
    ports = wire.fields[:2] if wire.protocol in PORTS else (0, 0)
    icmp = wire.fields if wire.protocol in ICMP else (0, 0, 0)
    return (family, wire.protocol, wire.source, wire.destination, *ports, *icmp)


def values_of(wire: WireExpectation) -> dict[str, Any]:
    """What the record must hold, by this file's own reading."""
    values: dict[str, Any] = {
        "expected": values_of_tuple(wire.expected),
        "mask": values_of_tuple(wire.mask),
        "master": values_of_tuple(wire.master),
        "zone": wire.zone,
        "helper": None if wire.helper is None else wire.helper.decode(),
        "function": None if wire.function is None else wire.function.decode(),
        "nat": None if wire.nat is None else (wire.nat[0], values_of_tuple(wire.nat[1])),
    } | {WORD_NAMES[kind]: value for kind, value in wire.words.items()}
    return {name: value for name, value in values.items() if value is not None}


def decoded(*messages: bytes) -> ExpectationBatch:
    batch = ExpectationBatch()
    found, number, count, malformed, others = decode(b"".join(messages), batch)
    assert (found, number, count, malformed, others) == (0, 0, len(messages), 0, 0)
    return batch


@given(st.one_of(expectations(4), expectations(16)))
def test_every_attribute_is_read(wire: WireExpectation) -> None:
    assert decoded(wire.message()).unpack(0) == {"event": 2} | values_of(wire)


@given(st.one_of(expectations(4), expectations(16)))
def test_what_is_written_is_read_again(wire: WireExpectation) -> None:
    # The kernel says the family in its header, too.
    batch = decoded(wire.message())
    request = encode(batch, 0, NEW, 0x605, 9)
    assert struct.unpack("=IHHI", request[:12]) == (len(request), EXPECTATIONS << 8 | NEW, 0x605, 9)
    assert request[16] == (2 if len(wire.expected.source) == 4 else 10)
    again = {name: value for name, value in decoded(request).unpack(0).items() if name != "event"}
    # The id is the kernel's to give.
    assert again == {name: value for name, value in values_of(wire).items() if name != "id"}


@given(st.one_of(expectations(4), expectations(16)), st.sampled_from([GET, DELETE]))
def test_a_name_is_the_tuple_the_zone_and_the_id(wire: WireExpectation, command: int) -> None:
    request = encode(decoded(wire.message()), 0, command, 5, 1)
    parts = [wire.expected.attribute(EXPECTED)]
    if wire.zone is not None:
        parts.append(attribute(ZONE, struct.pack(">H", wire.zone)))
    if ID in wire.words:
        parts.append(attribute(ID, struct.pack(">I", wire.words[ID])))
    assert request[20:] == b"".join(parts)


def test_a_name_may_stand_in_the_place_of_the_master() -> None:
    batch = ExpectationBatch()
    batch.pack({"master": values_of_tuple(WireTuple(bytes(16), bytes(16), 6, (1, 2, 0))), "id": 3})
    request = encode(batch, 0, GET, 5, 1)
    assert request[16] == 10
    assert request[20:] == WireTuple(bytes(16), bytes(16), 6, (1, 2, 0)).attribute(MASTER) + attribute(
        ID, b"\0\0\0\3"
    )


def test_a_deletion_of_none_in_particular_is_none_of_all() -> None:
    batch = ExpectationBatch()
    batch.pack({"master": values_of_tuple(CONTROL), "id": 3, "zone": 1, "helper": "ftp"})
    with pytest.raises(ValueError, match="what it expects"):
        encode(batch, 0, DELETE, 5, 1)


@given(st.one_of(expectations(4), expectations(16)))
def test_values_are_packed_as_they_were_unpacked(wire: WireExpectation) -> None:
    batch = decoded(wire.message())
    assert batch.pack(batch.unpack(0)) == 1
    assert batch.unpack(-1) == batch.unpack(0)


@pytest.mark.parametrize(
    ("command", "flags", "event"),
    [(NEW, NLM_F_CREATE, 1), (NEW, 0, 2), (NEW, NLM_F_MULTI, 2), (DELETE, 0, 3)],
)
def test_the_event_is_that_of_the_message(command: int, flags: int, event: int) -> None:
    assert decoded(USUAL.message(command, flags)).unpack(0)["event"] == event


def test_the_requests_of_the_whole_table() -> None:
    header = struct.pack("=IHHII", 20, EXPECTATIONS << 8 | GET, 0x301, 4, 0)
    assert table_request(GET, 0x300, 4, 10) == header + bytes([10, 0, 0, 0])
    of = ExpectationBatch()
    of.pack({"master": values_of_tuple(CONTROL), "zone": 5, "helper": "ftp"})
    assert table_request(GET, 0x304, 4, 2, of)[20:] == CONTROL.attribute(MASTER) + attribute(ZONE, b"\0\5")
    assert table_request(DELETE, 4, 4, 0, of)[20:] == attribute(ZONE, b"\0\5") + attribute(HELPER, b"ftp\0")


def test_names_that_are_too_long_are_cut() -> None:
    wire = replace(USUAL, helper=b"h" * 40, function=b"f" * 40)
    values = decoded(wire.message()).unpack(0)
    assert (values["helper"], values["function"]) == ("h" * 15, "f" * 31)


def test_a_name_without_its_zero_is_read() -> None:
    data = message(NEW, attribute(HELPER, b"ftp"), attribute(FUNCTION, b""), subsystem=EXPECTATIONS)
    assert decoded(data).unpack(0) == {"event": 2, "helper": "ftp", "function": ""}


@pytest.mark.parametrize(
    "bad",
    [
        attribute(TIMEOUT, b"\0\0\0"),
        attribute(ID, b""),
        attribute(FLAGS, b"\0"),
        attribute(CLASS, b"\0\0"),
        attribute(ZONE, b"\0"),
        nest(EXPECTED),
        nest(MASK, nest(2, attribute(1, b"\6"))),
        nest(MASTER, nest(1, attribute(1, b"\1\2\3"))),
        nest(NAT),
        nest(NAT, attribute(1, b"\0\0")),
        nest(NAT, attribute(1, bytes(4)), nest(2)),
        nest(NAT, struct.pack("=HH", 200, 2)),
        struct.pack("=HH", 3, TIMEOUT),
        struct.pack("=HH", 100, TIMEOUT),
    ],
)
def test_malformed_attributes_are_counted_and_skipped(bad: bytes) -> None:
    batch = ExpectationBatch()
    broken = message(NEW, TCP.attribute(EXPECTED), bad, subsystem=EXPECTATIONS)
    assert decode(broken + USUAL.message(), batch)[2:] == (1, 1, 0)
    assert batch.unpack(0)["id"] == 7


def test_the_end_of_a_dump_and_errors() -> None:
    def control(kind: int, number: int, flags: int = 0) -> bytes:
        return struct.pack("=IHHIIi", 20, kind, flags, 0, 0, -number)

    batch = ExpectationBatch()
    assert decode(USUAL.message(flags=NLM_F_MULTI) + control(3, 0), batch) == (DONE, 0, 1, 0, 0)
    assert decode(control(2, 1), batch) == (ERROR, 1, 0, 0, 0)
    assert decode(USUAL.message(flags=NLM_F_DUMP_INTR), batch)[0] == INTERRUPTED
    # A flow, and a request, are not expectations.
    assert decode(message(0, subsystem=1) + message(GET, subsystem=EXPECTATIONS), batch)[2:] == (0, 0, 2)
    assert decode(b"", batch) == (0, 0, 0, 0, 0)
    assert decode(b"\0" * 7, batch)[3] == 1


@given(st.data())
def test_no_message_is_read_past_its_end(data: st.DataObject) -> None:
    whole = data.draw(expectations(4)).message()
    cut = data.draw(st.integers(0, len(whole)))
    broken = bytearray(whole[:cut])
    for _ in range(data.draw(st.integers(0, 4))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    batch = ExpectationBatch()
    count = decode(broken, batch)[2]
    assert len(batch) == count
    for index in range(count):
        batch.pack(batch.unpack(index))


def test_a_batch_refuses_what_is_not_an_expectation() -> None:
    batch = ExpectationBatch()
    good = values_of(USUAL)
    for bad, error in (
        ({"nothing": 1}, ValueError),
        ({"timeout": 1 << 32}, OverflowError),
        ({"zone": -1}, OverflowError),
        ({"helper": "h" * 16}, ValueError),
        ({"helper": "a\0b"}, ValueError),
        ({"function": "f" * 32}, ValueError),
        ({"expected": (3, 6, bytes(4), bytes(4), 0, 0, 0, 0, 0)}, ValueError),
        ({"mask": (2, 6, bytes(3), bytes(4), 0, 0, 0, 0, 0)}, ValueError),
        ({"timeout": "soon"}, TypeError),
    ):
        with pytest.raises(error):
            batch.pack(good | bad)
    assert len(batch) == 0
    with pytest.raises(IndexError):
        batch.unpack(0)
    with pytest.raises(IndexError):
        encode(batch, 0, GET, 0, 0)


def test_a_batch_grows() -> None:
    batch = ExpectationBatch()
    for number in range(5000):
        assert batch.pack({"id": number}) == number
    assert [batch.unpack(index)["id"] for index in range(5000)] == list(range(5000))
    batch.clear()
    assert len(batch) == 0


def test_bad_messages_never_read_past_the_end_of_memory() -> None:
    run = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "fuzz_expectations.py"), "40000", "1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    )
    assert run.returncode == 0, run.stderr
    decoded, malformed = map(int, run.stdout.split())
    assert decoded > 1000
    assert malformed > 1000
