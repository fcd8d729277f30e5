# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire codec of expectations: what C daemons send is read, and written byte for byte."""

from __future__ import annotations

from random import Random

import pytest

from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core.expectation_wire import decode, encode, key
from tests.core.support_expectation_wire import CAPTURED, Values, batch_of, ftp, ftp_body, tcp4, tcp6
from tests.core.support_wire import attribute

OK, TRUNCATED, BAD_SIZE, UNKNOWN, INCOMPLETE = 0, -1, -2, -3, -4
BODY = ftp_body(7)


def read(body: bytes) -> Values:
    batch = ExpectationBatch()
    assert decode(body, batch) == OK
    return batch.unpack(0)


def refusal(body: bytes) -> int:
    batch = ExpectationBatch()
    result = decode(body, batch)
    assert len(batch) == 0
    return result


def attributes(body: bytes) -> list[bytes]:
    parts = []
    while body:
        size = int.from_bytes(body[:2]) + 3 & ~3
        parts.append(body[:size])
        body = body[size:]
    return parts


@pytest.mark.parametrize("name", CAPTURED)
def test_what_a_c_daemon_sent_is_read_and_written_alike(name: str) -> None:
    body, values = CAPTURED[name]
    assert read(body) == values
    assert encode(batch_of(values), 0) == body


def test_the_order_of_attributes_does_not_matter() -> None:
    random = Random(1)
    for body, values in CAPTURED.values():
        parts = attributes(body)
        random.shuffle(parts)
        assert read(b"".join(parts)) == values


def test_ports_of_a_protocol_without_any_are_left_out() -> None:
    """The C daemon sends the ports that it sent last, where there are none."""
    esp = ftp_body(1).replace(attribute(6, b"\x06"), attribute(6, b"\x32"))
    values = read(esp)
    assert values["expected"][4:6] == (0, 0)
    assert attribute(7, b"\0\0\xc3\x51") not in encode(batch_of(values), 0)


def test_the_key_is_what_is_expected_and_the_mask() -> None:
    first = encode(batch_of(ftp(1)), 0)
    assert key(first) == b"".join(attributes(first)[3:9])
    other_master = ftp(1, master=tcp4("10.0.0.9", "10.0.0.2", 1, 21), timeout=1, helper="sip")
    assert key(encode(batch_of(other_master), 0)) == key(first)
    assert key(encode(batch_of(ftp(2)), 0)) != key(first)
    assert key(encode(batch_of(ftp(1, mask=tcp4("0.0.0.0", "255.255.255.255", 0, 65535))), 0)) != key(first)


@pytest.mark.parametrize("length", range(len(BODY)))
def test_a_cut_message_is_malformed_or_incomplete(length: int) -> None:
    """Ports, and what follows the mask, may be missing, and so may the padding of the last attribute."""
    ends = [sum(map(len, attributes(BODY)[:count])) for count in range(8, 14)]
    assert ends[0] == 76
    batch = ExpectationBatch()
    assert (decode(BODY[:length], batch) == OK) == (length in (73, 74, 75, *ends))


@pytest.mark.parametrize("number", range(21))
def test_a_value_of_another_size_is_malformed(number: int) -> None:
    if number < 19:
        assert refusal(BODY + attribute(number, bytes(3))) == BAD_SIZE
    assert refusal(BODY + attribute(number, bytes(33))) == BAD_SIZE


def test_names_end_with_a_zero_and_have_room() -> None:
    assert refusal(BODY + attribute(19, b"ftp")) == BAD_SIZE
    assert refusal(BODY + attribute(19, b"")) == BAD_SIZE
    assert read(BODY + attribute(19, b"123456789012345\0"))["helper"] == "123456789012345"
    assert refusal(BODY + attribute(19, b"1234567890123456\0")) == BAD_SIZE
    assert refusal(BODY + attribute(20, bytes(31) + b"x")) == BAD_SIZE


def test_unknown_attributes_are_malformed() -> None:
    assert refusal(BODY + attribute(21, bytes(4))) == UNKNOWN
    assert refusal(BODY + b"\0\x08\0\x0c\0\0") == TRUNCATED
    assert refusal(BODY + b"\0\x03\0\x0c") == TRUNCATED


def test_families_agree() -> None:
    six = attributes(encode(batch_of(CAPTURED_SIX), 0))
    four = attributes(BODY)
    assert refusal(b"".join(four[:3] + six[3:])) == INCOMPLETE
    assert refusal(BODY + attribute(1, bytes(32))) == INCOMPLETE
    assert refusal(encode(batch_of(CAPTURED_SIX), 0) + attribute(15, bytes(8))) == INCOMPLETE


CAPTURED_SIX: Values = {
    **ftp(1),
    "master": tcp6("fd00::1", "fd00::2", 1, 21),
    "expected": tcp6("fd00::1", "fd00::2", 0, 2),
    "mask": tcp6("ffff::", "ffff::", 0, 65535),
    "nat": (0, tcp6("::", "::", 2, 0)),
}


def test_what_cannot_be_sent_is_refused() -> None:
    values = ftp(1)
    del values["master"]
    with pytest.raises(ValueError):
        encode(batch_of(values), 0)
    with pytest.raises(IndexError):
        encode(batch_of(values), 1)
