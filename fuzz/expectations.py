# SPDX-License-Identifier: GPL-2.0-or-later
"""What is fuzzed: messages about expectations, read, written and printed."""

from __future__ import annotations

from random import Random

from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core.expectation_codec import decode, encode
from pyconntrack.core.expectation_text import EVENT, JSON, PLAIN, TIME, XML, format_expectations
from pyconntrack.core.expectation_wire import decode as decode_body
from pyconntrack.core.expectation_wire import encode as encode_body
from tests.core.support_expectations import CLASS, FLAGS, ID, TIMEOUT, WireExpectation, WireTuple

PROTOCOLS = (1, 6, 17, 33, 47, 58, 132, 136, 0, 99)


def make_expectations(random: Random, count: int) -> list[bytes]:
    """Sound messages: events and pieces of dumps, of every protocol and both families."""
    return [
        make_expectation(random).message(random.choice((0, 2)), random.choice((0, 2, 0x400)))
        for _ in range(count)
    ]


def make_expectation(random: Random) -> WireExpectation:
    size = random.choice((4, 16))

    def some_tuple() -> WireTuple:
        fields = (random.getrandbits(16), random.getrandbits(8), random.getrandbits(8))
        return WireTuple(random.randbytes(size), random.randbytes(size), random.choice(PROTOCOLS), fields)

    return WireExpectation(
        *(some_tuple(), some_tuple(), some_tuple()),
        {kind: random.getrandbits(32) for kind in (TIMEOUT, ID, FLAGS, CLASS) if random.random() < 0.7},
        random.getrandbits(16) if random.random() < 0.5 else None,
        random.choice((None, b"ftp", b"<sip>\n")),
        random.choice((None, b"nat-follow-master", b"\xff")),
        (random.getrandbits(1), some_tuple()) if random.random() < 0.5 else None,
    )


class ExpectationDoor:
    """Takes whatever arrives, and gives again, in every form, what was sound."""

    def __init__(self) -> None:
        self.batch = ExpectationBatch()
        self.decoded = 0
        self.malformed = 0

    def push(self, data: bytes) -> None:
        self.batch.clear()
        _, _, decoded, malformed, _ = decode(data, self.batch)
        self.decoded += decoded
        self.malformed += malformed
        if decoded != len(self.batch):
            raise AssertionError(f"{decoded} were told of, {len(self.batch)} are in the batch")
        for index in range(decoded):
            self.check(index)

    def check(self, index: int) -> None:
        """What is written of it is read, and written, as the same."""
        written = encode(self.batch, index, 0, 0x400, 1)
        again = ExpectationBatch()
        decode(written, again)
        if encode(again, 0, 0, 0x400, 1) != written:
            raise AssertionError(f"{self.batch.unpack(index)} was written as {again.unpack(0)}")
        self.check_wire(index)
        for form in (PLAIN, XML, JSON):
            line = format_expectations(self.batch, index, index + 1, form, EVENT | TIME)
            if line.count(b"\n") != 1 or not line.endswith(b"\n") or not line.isascii():
                raise AssertionError(f"not one line of ASCII: {line!r}")

    def check_wire(self, index: int) -> None:
        """What goes to the peers of it has one form."""
        if not {"expected", "mask", "master"} <= self.batch.unpack(index).keys():
            return
        body = encode_body(self.batch, index)
        heard = ExpectationBatch()
        # Only the kernel's own fuzzed message can name addresses of two families.
        if decode_body(body, heard) == 0 and encode_body(heard, 0) != body:
            raise AssertionError(f"{self.batch.unpack(index)} is heard as {heard.unpack(0)}")
