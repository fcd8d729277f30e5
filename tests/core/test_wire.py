# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire codec, against a second description of the format and against what the C daemon sends."""

from __future__ import annotations

import struct
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyconntrack.core.wire import check, read_header
from tests.core.support_flows import random_flow
from tests.core.support_wire import attribute, cache_of, flow_body, message, read_table

TRUNCATED, BAD_SIZE, UNKNOWN, INCOMPLETE = -1, -2, -3, -4

ADDRESSES = attribute(0, bytes([10, 0, 0, 1, 10, 0, 0, 2]))
ADDRESSES6 = attribute(1, bytes(32))
UDP = attribute(2, b"\x11")
TCP = attribute(2, b"\x06")
STATUS = attribute(5, struct.pack(">I", 8))
PORTS = attribute(3, b"\0\x35\0\x36")
FLOW = ADDRESSES + STATUS + UDP + PORTS

SIZES = {
    0: 8, 1: 32, 2: 1, 3: 4, 4: 1, 5: 4, 6: 4, 7: 4, 8: 8, 9: 32, 10: 1, 11: 4, 12: 4, 13: 4, 14: 2, 15: 2,
    16: 24, 17: 1, 18: 4, 19: 4, 20: 1, 21: 1, 22: 1, 23: 1, 24: 2, 25: 1, 26: 1, 29: 16, 30: 16, 31: 12,
    32: 2,
}  # fmt: skip

SAMPLES = dict(
    line.split()
    for line in (Path(__file__).parent / "c_daemon_samples.txt").read_text().splitlines()
    if not line.startswith("#")
)

seeds = st.integers(0, 2**32)


def attributes(body: bytes) -> list[bytes]:
    """A body cut into its attributes, padding included."""
    parts = []
    while body:
        size = (int.from_bytes(body[:2], "big") + 3) & ~3
        parts.append(body[:size])
        body = body[size:]
    return parts


def messages(datagram: bytes) -> list[tuple[int, bytes]]:
    """(type, body) of each message."""
    found = []
    while datagram:
        length = int.from_bytes(datagram[2:4], "big")
        found.append((datagram[0] & 15, datagram[8:length]))
        datagram = datagram[length:]
    return found


@given(seeds)
def test_canonical_bodies_stay_as_they_are(seed: int) -> None:
    random = Random(seed)
    flow = random_flow(random, 1, zone=random.choice((0, 9)))
    body = flow_body(flow, flow.timeout, window_scale=True)
    assert check(body) == body


@given(seeds)
def test_any_order_makes_one_form(seed: int) -> None:
    random = Random(seed)
    body = flow_body(random_flow(random, 1), 30, True, True)
    parts = attributes(body)
    random.shuffle(parts)
    assert check(b"".join(parts)) == body


@given(seeds)
def test_a_flow_reads_as_it_was_written(seed: int) -> None:
    flow = random_flow(Random(seed), 1)
    (values,) = [read_table(cache_of([flow_body(flow, flow.timeout, True)]).table).unpack(0)]
    original, reply = flow.original, flow.reply
    assert values["original"] == (
        2 if original.ipv4 else 10, original.protocol, original.source, original.destination, *original.ports,
        original.icmp[2], original.icmp[0], original.icmp[1],
    )  # fmt: skip
    assert values["reply"][2:6] == (reply.source, reply.destination, *reply.ports)
    assert (values["status"], values["timeout"], values["mark"]) == (flow.status, flow.timeout, flow.mark)
    assert values.get("helper_name", "") == flow.helper
    assert values.get("labels", bytes(16)) == (flow.labels or bytes(16))
    assert values.get("tcp_state") == (flow.tcp[0] if flow.tcp else None)
    assert values.get("syn_proxy") == flow.syn_proxy
    adjust = values.get("sequence_adjust_original", ()) + values.get("sequence_adjust_reply", ())
    assert adjust == (flow.adjust or ())


@given(st.binary(max_size=80))
def test_noise_is_refused_or_has_a_canonical_form(noise: bytes) -> None:
    canonical = check(noise)
    assert isinstance(canonical, bytes) or canonical < 0
    if isinstance(canonical, bytes):
        assert check(canonical) == canonical


@given(seeds, st.data())
def test_changed_bodies_have_a_canonical_form_or_none(seed: int, data: st.DataObject) -> None:
    body = bytearray(flow_body(random_flow(Random(seed), 1), 30, True, True))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    canonical = check(body)
    if isinstance(canonical, bytes):
        assert check(canonical) == canonical


@pytest.mark.parametrize("number", SIZES)
def test_a_fixed_size_is_fixed(number: int) -> None:
    size = SIZES[number]
    for wrong in {0, size - 1, size + 1, size * 2} - {size}:
        assert check(FLOW + attribute(number, bytes(wrong))) == BAD_SIZE


@pytest.mark.parametrize("number", [33, 34, 255, 0xFFFF])
def test_numbers_beyond_the_table_are_refused(number: int) -> None:
    assert check(FLOW + attribute(number, b"")) == UNKNOWN


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_piece_of_an_attribute_is_refused(length: int) -> None:
    assert check(FLOW + b"\0\x08\0\x06"[:length]) == TRUNCATED


def test_a_length_past_the_end_is_refused() -> None:
    assert check(FLOW + b"\0\x08\0\x06" + b"\0\0\0") == TRUNCATED
    assert check(FLOW + b"\0\x03\0\x06") == TRUNCATED
    assert check(FLOW + b"\xff\xff\0\x06\0\0\0\0") == TRUNCATED


@pytest.mark.parametrize(
    "body",
    [b"", ADDRESSES, UDP, ADDRESSES + ADDRESSES6 + UDP, ADDRESSES6 + UDP + attribute(12, bytes(4)),
     ADDRESSES + UDP + attribute(29, bytes(16)), FLOW + attribute(8, bytes(8)) + attribute(9, bytes(32))],
)  # fmt: skip
def test_a_body_names_one_flow_of_one_family(body: bytes) -> None:
    assert check(body) == INCOMPLETE


@pytest.mark.parametrize("value", [b"", b"ftp", b"sixteen-letters-", b"sixteen-letters-\0"])
def test_a_helper_is_short_and_ends_in_zero(value: bytes) -> None:
    assert check(FLOW + attribute(27, value)) == BAD_SIZE


def test_labels_are_words() -> None:
    for size in (0, 1, 6, 20):
        assert check(FLOW + attribute(28, bytes(size))) == BAD_SIZE
    assert check(FLOW + attribute(28, b"\0\0\0\1")) == FLOW + attribute(28, b"\0\0\0\1" + bytes(12))


@pytest.mark.parametrize("nothing", [attribute(28, bytes(16)), attribute(32, b"\0\0"), attribute(27, b"\0")])
def test_what_says_nothing_is_left_out(nothing: bytes) -> None:
    assert check(FLOW + nothing) == FLOW


def test_what_contradicts_the_protocol_is_left_out() -> None:
    assert check(FLOW + attribute(4, b"\3")) == FLOW
    assert check(FLOW + attribute(20, b"\3")) == FLOW
    assert check(FLOW + attribute(17, b"\3")) == FLOW
    esp = ADDRESSES + STATUS + attribute(2, b"\x32")
    assert check(esp + PORTS + attribute(14, b"\1\1")) == esp


def test_the_padding_says_nothing_and_may_lack_at_the_end() -> None:
    assert check(ADDRESSES + STATUS + b"\0\5\0\2\x06\xff\xff\xff" + PORTS) == ADDRESSES + STATUS + TCP + PORTS
    esp = ADDRESSES + STATUS + attribute(2, b"\x32")
    assert check(ADDRESSES + STATUS + b"\0\5\0\2\x32") == esp


def test_the_last_of_two_counts() -> None:
    assert (
        check(STATUS + FLOW + attribute(5, b"\0\0\0\1"))
        == ADDRESSES + attribute(5, b"\0\0\0\1") + UDP + PORTS
    )


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_c_daemons_messages_are_canonical(name: str) -> None:
    """What the C daemon sends goes through the cache unchanged, so that either end can be ours."""
    datagram = bytes.fromhex(SAMPLES[name])
    found = messages(datagram)
    assert found
    for kind, body in found:
        if kind == 10:
            assert len(body) in (0, 8)
        elif name != "dccp_new_garbage_ports":
            assert check(body) == body


def test_a_header_is_read_within_the_datagram() -> None:
    datagram = message(1, 0x20, 0x01020304, b"abcd")
    assert read_header(datagram, 0) == (1, 1, 0x20, 12, 0x01020304)
    assert read_header(datagram, 5) is None
    assert read_header(datagram, 4_000_000_000) is None
    assert read_header(b"", 0) is None
