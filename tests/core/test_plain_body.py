# SPDX-License-Identifier: GPL-2.0-or-later
"""Bodies that are taken as they are: the codec must make nothing else of them."""

from __future__ import annotations

import struct
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyconntrack.core.plain_body import plain_key
from pyconntrack.core.wire import check
from tests.core.support_flows import random_flow
from tests.core.support_wire import attribute, flow_body

ADDRESSES = attribute(0, bytes([10, 0, 0, 1, 10, 0, 0, 2]))
ADDRESSES6 = attribute(1, bytes(range(32)))
STATUS = attribute(5, struct.pack(">I", 8))
TCP, UDP = attribute(2, b"\x06"), attribute(2, b"\x11")
PORTS = attribute(3, b"\0\x35\0\x36")
STATE, SCALES = attribute(4, b"\3"), attribute(25, b"\7") + attribute(26, b"\2")
TIMEOUT, MARK = attribute(6, bytes(4)), attribute(7, bytes(4))
NAT = attribute(12, bytes(4)) + attribute(13, bytes(4))
NAT6 = attribute(29, bytes(16)) + attribute(30, bytes(16))
NAT_PORTS = attribute(14, b"\1\2") + attribute(15, b"\3\4")
REST = attribute(16, bytes(24)) + attribute(31, bytes(12)) + attribute(32, b"\0\5")
FIXED = ADDRESSES + STATUS + TCP + PORTS
PLAIN = [
    (FIXED, 0),
    (ADDRESSES + STATUS + UDP + PORTS + TIMEOUT, 0),
    (FIXED + STATE + SCALES + TIMEOUT + MARK + NAT + NAT_PORTS + REST, 5),
    (ADDRESSES6 + STATUS + TCP + PORTS + STATE + NAT6 + REST, 5),
]
PARTS = [STATE, SCALES, TIMEOUT, MARK, NAT, NAT6, NAT_PORTS, REST]


@pytest.mark.parametrize(("body", "zone"), PLAIN)
def test_a_plain_body_is_told_by_its_key(body: bytes, zone: int) -> None:
    size = int.from_bytes(body[:2], "big")
    assert plain_key(body) == (body[4:size], PORTS[4:], body[size + 12], zone)
    assert check(bytes(body)) == bytes(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        FIXED[:-1],
        FIXED + TIMEOUT[:-1],
        FIXED + TIMEOUT + b"\0\0\0",
        FIXED + MARK + TIMEOUT,
        FIXED + TIMEOUT + TIMEOUT,
        FIXED + NAT6,
        FIXED + STATE[:-1] + b"\1",
        FIXED + NAT_PORTS[:-1] + b"\1",
        FIXED + attribute(32, b"\0\0"),
        FIXED + attribute(33, bytes(4)),
        FIXED + attribute(0xFFFF, bytes(4)),
        FIXED + attribute(6, bytes(8)),
        FIXED + attribute(27, b"ftp\0"),
        FIXED + STATUS,
        STATUS + ADDRESSES + TCP + PORTS,
        ADDRESSES6[:20] + STATUS + TCP + PORTS,
        ADDRESSES6 + STATUS + TCP + PORTS + NAT,
        ADDRESSES + STATUS + UDP + PORTS + STATE,
        ADDRESSES + STATUS + attribute(2, b"\x01") + PORTS,
        ADDRESSES + STATUS + TCP[:-1] + b"\1" + PORTS,
    ],
)
def test_anything_else_is_the_codecs_matter(body: bytes) -> None:
    assert plain_key(body) is None


@given(st.integers(0, 2**32))
def test_the_codec_changes_no_plain_body(seed: int) -> None:
    random = Random(seed)
    if random.random() < 0.5:
        body = bytearray(flow_body(random_flow(random, seed % 1000)))
    else:
        body = bytearray(random.choice(PLAIN)[0][: len(FIXED) + 24])
        for part in random.choices(PARTS, k=random.randrange(6)):
            body += part
    for _ in range(random.randrange(3)):
        if body:
            body[random.randrange(len(body))] = random.choice((0, 1, 2, 6, 17, 255, random.randrange(256)))
    if plain_key(body) is not None:
        assert check(bytes(body)) == bytes(body)
