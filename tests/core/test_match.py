# SPDX-License-Identifier: GPL-2.0-or-later
"""Selections without a kernel: against a comparison written plainly, and the requests that carry them."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.match import ALL, DESTINATION, SOURCE, FlowMatch

GET, DELETE, DUMP = 1, 2, 0x300
STATUS_SRC_NAT_DONE, STATUS_DST_NAT_DONE = 1 << 7, 1 << 8

Values = dict[str, Any]

# Few values, so that flows and selections meet.
addresses = st.sampled_from([b"\x0a\0\0\1", b"\x0a\0\0\2", b"\x0a\1\0\1"])
ports = st.integers(0, 2)
small = st.integers(0, 3)


@st.composite
def tuples(draw: st.DrawFn) -> tuple[Any, ...]:
    protocol = draw(st.sampled_from([1, 6, 17, 47, 50]))
    icmp = (draw(small), draw(st.sampled_from([0, 8])), draw(small)) if protocol == 1 else (0, 0, 0)
    both = (draw(ports), draw(ports)) if protocol in (6, 17, 47) else (0, 0)
    return (2, protocol, draw(addresses), draw(addresses), *both, *icmp)


@st.composite
def flows(draw: st.DrawFn) -> Values:
    flow: Values = {"original": draw(tuples()), "reply": draw(tuples())}
    flow["status"] = draw(st.sampled_from([0, 8, 12, 14])) | draw(
        st.sampled_from(
            [0, STATUS_SRC_NAT_DONE, STATUS_DST_NAT_DONE, STATUS_SRC_NAT_DONE | STATUS_DST_NAT_DONE]
        )
    )
    for name in (
        "mark",
        "zone",
        "original_zone",
        "reply_zone",
        "secmark",
        "tcp_state",
        "sctp_state",
        "timeout",
    ):
        if draw(st.booleans()):
            flow[name] = draw(small)
    flow["id"] = draw(small)
    if draw(st.booleans()):
        flow["labels"] = bytes([draw(small)]) + bytes(15)
    return flow


FIELDS = {0x001: 2, 0x002: 3, 0x008: 1, 0x010: 4, 0x020: 5, 0x100: 6, 0x040: 7, 0x080: 8}
"""CTA_FILTER flags and where their field stands in a tuple."""
FIELDS_OF = {0x010: (6, 17, 47), 0x020: (6, 17, 47), 0x100: (1,), 0x040: (1,), 0x080: (1,)}
"""The protocols that have a field."""
MASKS = [bytes(4), b"\xff\xff\0\0", b"\xff\xff\xff\xff", b"\xff\0\0\xff"]


@st.composite
def selections(draw: st.DrawFn) -> Values:
    given_values = draw(
        st.sets(st.sampled_from(["mark", "status", "zone", "original_zone", "secmark", "id", "labels"]))
    )
    wanted = draw(flows())
    values = {name: wanted[name] for name in given_values if name in wanted}
    if "status" in values:
        values["status"] &= 14
    if "mark" in values and draw(st.booleans()):
        values["mark_mask"] = draw(small)
    fields = st.sets(st.sampled_from(sorted(FIELDS)), max_size=2).map(sum)
    return {
        "values": values | {"original": wanted["original"], "reply": wanted["reply"]},
        "original_fields": draw(fields),
        "reply_fields": draw(fields),
        "source_mask": draw(st.sampled_from(MASKS)),
        "reply_destination_mask": draw(st.sampled_from(MASKS)),
        "status_unset": draw(st.sampled_from([0, 0, 2, 4])),
        "family": draw(st.sampled_from([0, 2])),
    }


def masked(address: bytes, mask: bytes) -> bytes:
    return bytes(one & other for one, other in zip(address, mask, strict=True))


def tuple_fits(wanted: tuple[Any, ...], found: tuple[Any, ...], fields: int, masks: dict[int, bytes]) -> bool:
    for flag, place in FIELDS.items():
        mask = masks.get(flag)
        if not fields & flag:
            continue
        if flag in FIELDS_OF and found[1] not in FIELDS_OF[flag]:
            return False
        if mask is None and wanted[place] != found[place]:
            return False
        if mask is not None and masked(wanted[place], mask) != masked(found[place], mask):
            return False
    return True


def fits(selection: Values, flow: Values) -> bool:
    """The same as the compiled comparison, with nothing of it."""
    values = selection["values"]
    for name, expected in values.items():
        found = flow.get(name)
        if name == "mark" and (found or 0) & values.get("mark_mask", 0xFFFFFFFF) != expected:
            return False
        if name in ("zone", "original_zone", "secmark") and (found or 0) != expected:
            return False
        if name == "id" and found != expected:
            return False
        if name == "status" and flow["status"] & expected != expected:
            return False
        if name == "labels" and any(
            bit & ~set_ for bit, set_ in zip(expected, found or bytes(16), strict=True)
        ):
            return False
    return (
        not flow["status"] & selection["status_unset"]
        and tuple_fits(
            values["original"],
            flow["original"],
            selection["original_fields"],
            {0x001: selection["source_mask"]},
        )
        and tuple_fits(
            values["reply"],
            flow["reply"],
            selection["reply_fields"],
            {0x002: selection["reply_destination_mask"]},
        )
    )


def packed(*flows: Values) -> FlowBatch:
    batch = FlowBatch()
    for values in flows:
        batch.pack(values)
    return batch


@given(selections(), st.lists(flows(), max_size=20), st.integers(0, 20))
def test_what_fits_is_selected(selection: Values, found: list[Values], start: int) -> None:
    match = FlowMatch(**selection)
    start = min(start, len(found))
    for number, flow in enumerate(found):
        flow["use"] = number
    batch = packed(*found)
    assert [match.matches(batch, index) for index in range(len(batch))] == [
        fits(selection, flow) for flow in found
    ]
    match.select(batch, start)
    kept = [flow["use"] for number, flow in enumerate(found) if number < start or fits(selection, flow)]
    assert [batch.unpack(index)["use"] for index in range(len(batch))] == kept


@given(flows())
def test_without_a_condition_everything_fits(flow: Values) -> None:
    match = FlowMatch()
    assert match.is_empty
    assert match.is_complete_in_kernel
    assert match.matches(packed(flow), 0)


def translated(status: int, reply_source: int, reply_destination: int) -> Values:
    """From 1:10 to 2:20, and what the reply has instead."""
    one, two, three = b"\x0a\0\0\1", b"\x0a\0\0\2", b"\x0a\0\0\3"
    ends = (three if reply_source & 1 else two, three if reply_destination & 1 else one)
    ports = (30 if reply_source & 2 else 20, 30 if reply_destination & 2 else 10)
    return {
        "original": (2, 17, one, two, 10, 20, 0, 0, 0),
        "reply": (2, 17, *ends, *ports, 0, 0, 0),
        "status": status,
    }


BOTH = STATUS_SRC_NAT_DONE | STATUS_DST_NAT_DONE
THREE = b"\x0a\0\0\3"


@pytest.mark.parametrize(
    ("translation", "nat", "expected"),
    [
        # Of: nothing, source address, source port, destination address, both, and one that passed no hooks.
        (SOURCE, {}, [0, 1, 1, 0, 1, 0]),
        (DESTINATION, {}, [0, 0, 0, 1, 1, 0]),
        (SOURCE | DESTINATION, {}, [0, 1, 1, 1, 1, 0]),
        (SOURCE | DESTINATION | ALL, {}, [0, 0, 0, 0, 1, 0]),
        (SOURCE, {"source_nat_address": THREE}, [0, 1, 0, 0, 1, 0]),
        (SOURCE, {"source_nat_port": 30}, [0, 0, 1, 0, 0, 0]),
        (SOURCE, {"source_nat_port": 10}, [0, 0, 0, 0, 0, 0]),
        (SOURCE, {"source_nat_address": THREE, "source_nat_port": 10}, [0, 0, 0, 0, 0, 0]),
        (DESTINATION, {"destination_nat_address": b"\x0a\0\0\2"}, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_translation(translation: int, nat: Values, expected: list[int]) -> None:
    batch = packed(
        translated(BOTH, 0, 0),
        translated(BOTH, 0, 1),
        translated(BOTH, 0, 2),
        translated(BOTH, 1, 0),
        translated(BOTH, 1, 1),
        translated(0, 1, 1),
    )
    match = FlowMatch(translation=translation, values=nat)
    assert [int(match.matches(batch, index)) for index in range(len(batch))] == expected


def attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while data:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def test_the_request_carries_what_the_kernel_can_tell() -> None:
    original = (2, 6, b"\x0a\0\0\1", b"\x0a\0\0\2", 10, 20, 0, 0, 0)
    match = FlowMatch(
        family=2,
        values={"original": original, "mark": 5, "mark_mask": 7, "status": 4, "zone": 9},
        original_fields=0x3B,
        source_mask=b"\xff\xff\xff\xff",
        destination_mask=b"\xff\xff\0\0",
        status_unset=2,
    )
    message = match.request(GET, DUMP, 77)
    assert struct.unpack_from("=IHHII", message) == (len(message), 0x101, DUMP | 1, 77, 0)
    assert message[16:18] == b"\2\0"
    found = attributes(message[20:])
    assert sorted(found) == [1, 3, 8, 18, 21, 25, 26]
    assert (found[8], found[21]) == (b"\0\0\0\5", b"\0\0\0\7")
    assert (found[3], found[26]) == (b"\0\0\0\4", b"\0\0\0\6")
    assert found[18] == b"\0\x09"
    # A network is not the kernel's business.
    assert attributes(found[25]) == {1: struct.pack("=I", 0x39), 2: struct.pack("=I", 0)}
    inner = attributes(found[1])
    assert attributes(inner[1]) == {1: b"\x0a\0\0\1"}
    assert attributes(inner[2]) == {1: b"\6", 2: b"\0\x0a", 3: b"\0\x14"}
    assert not match.is_complete_in_kernel


@pytest.mark.parametrize(
    ("match", "complete"),
    [
        ({"family": 2}, True),
        ({"values": {"mark": 1}}, True),
        ({"values": {"mark": 1, "status": 4}, "status_unset": 2}, True),
        ({"values": {"zone": 1}}, False),
        ({"values": {"id": 1}}, False),
        ({"values": {"labels": b"\1"}}, False),
        ({"translation": SOURCE}, False),
        ({"family": 2, "original_fields": 0x08}, True),
        ({"original_fields": 0x08}, False),
        ({"family": 2, "protocol": 6, "original_fields": 0x18}, True),
        ({"family": 2, "protocol": 132, "original_fields": 0x18}, False),
        ({"family": 2, "original_fields": 0x10}, False),
        ({"family": 2, "original_fields": 0x01}, True),
        ({"family": 2, "original_fields": 0x01, "source_mask": b"\xff\xff\xff\0"}, False),
        ({"family": 2, "reply_fields": 0x02, "reply_destination_mask": b"\xff\xff\xff\0"}, False),
        ({"family": 10, "original_fields": 0x01}, False),
        ({"family": 2, "original_fields": 0x04}, False),
    ],
)
def test_what_the_kernel_decides_alone(match: Values, complete: bool) -> None:
    family = match.get("family") or 2
    size = 4 if family == 2 else 16
    tuple_ = (family, match.pop("protocol", 6), bytes(size), bytes(size), 0, 0, 0, 0, 0)
    values = match.pop("values", {}) | {"original": tuple_, "reply": tuple_}
    assert FlowMatch(values=values, **match).is_complete_in_kernel == complete


def test_a_flush_by_family_says_that_it_means_it() -> None:
    """The kernel looks at the family of a flush in messages of version 1 only."""
    assert FlowMatch(family=10).request(DELETE, 0, 1)[16:18] == b"\x0a\1"
    assert FlowMatch(family=10).request(GET, DUMP, 1)[16:18] == b"\x0a\0"
    assert FlowMatch().request(DELETE, 0, 1)[16:18] == b"\0\0"


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="family 3"):
        FlowMatch(family=3)
    with pytest.raises(ValueError, match="translation"):
        FlowMatch(translation=8)
    with pytest.raises(ValueError, match="mask"):
        FlowMatch(source_mask=b"123")
    with pytest.raises(ValueError, match="no attribute"):
        FlowMatch(values={"colour": 1})
    with pytest.raises(OverflowError):
        FlowMatch(values={"mark": -1})
    batch = packed({"mark": 1})
    with pytest.raises(IndexError):
        FlowMatch().select(batch, 2)
    with pytest.raises(IndexError):
        FlowMatch().matches(batch, 1)
    view = memoryview(batch)
    with pytest.raises(BufferError):
        FlowMatch().select(batch, 0)
    view.release()


def test_a_security_context_is_a_mark_of_unknown_number() -> None:
    flow = packed({"security_context": "a:b", "original": (2, 6, bytes(4), bytes(4), 0, 0, 0, 0, 0)})
    assert not FlowMatch(values={"secmark": 0}).matches(flow, 0)
    assert FlowMatch().matches(flow, 0)
