# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/protocol.md: its example is what the code reads and writes, its digest is the code's."""

from __future__ import annotations

import pytest

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.queue import write_digest
from pyconntrack.core.wire import check
from pyconntrack.replication.messages import EXTENDED, MessageErrors, read_extension, read_message
from tests.docs.blocks import blocks_of

(EXAMPLE,) = blocks_of("docs/protocol.md", "hex")

# TCP 10.0.0.1:1000 > 10.0.0.2:80, ESTABLISHED.
ADDRESSES = bytes.fromhex("000c0000 0a000001 0a000002")
REST = bytes.fromhex("00080005 0000018a 00050002 06000000 00080003 03e80050 00050004 03000000")
BODY = ADDRESSES + REST


def fold(first: int, second: int) -> int:
    product = first * second
    return (product ^ product >> 64) & (1 << 64) - 1


def digest(body: bytes) -> int:
    """As docs/protocol.md tells it."""
    state = 0xA0761D6478BD642F ^ len(body)
    for start in range(0, len(body), 8):
        state = fold(state ^ int.from_bytes(body[start : start + 8], "little"), 0xE7037ED1A0B428DB)
    return fold(state, 0xA0761D6478BD642F)


def test_the_example() -> None:
    datagram = bytes.fromhex(EXAMPLE.text)
    errors = MessageErrors()
    message = read_message(datagram, 0, errors)
    assert message is not None
    assert errors == MessageErrors()
    assert message.flags & EXTENDED
    said = read_extension(datagram, message)
    assert said.digest is not None
    assert said.node == 0x295391C5
    out = Datagrams(1472, 1)
    assert write_digest(out, 0x6B024C91, 0, said.node, *said.digest)
    assert out[0] == datagram


def cache_of(*bodies: bytes) -> ExternalCache:
    cache = ExternalCache()
    for sequence, body in enumerate(bodies):
        header = bytes([0x10, 0]) + (8 + len(body)).to_bytes(2, "big") + sequence.to_bytes(4, "big")
        cache.apply_run(header + body, 0, sequence, True, 0, 0)
    return cache


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_digest(count: int) -> None:
    bodies = [BODY, BODY.replace(b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x07")][:count]
    assert [check(body) for body in bodies] == bodies
    total = sum(digest(body) for body in bodies) & (1 << 64) - 1
    assert cache_of(*bodies).settle(0, count, total)
    assert not cache_of(*bodies).settle(0, count, total ^ 1)
