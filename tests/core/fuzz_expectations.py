# SPDX-License-Identifier: GPL-2.0-or-later
"""Decode and print bad messages of expectations that end where memory ends: fuzz_expectations.py COUNT SEED.

Those of the kernel, and the bodies of those of other nodes.

Prints how many expectations were decoded and how many messages were malformed.
"""

from __future__ import annotations

import random
import sys

from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core.expectation_cache import ExternalExpectations
from pyconntrack.core.expectation_codec import decode, encode
from pyconntrack.core.expectation_listing import list_text
from pyconntrack.core.expectation_text import EVENT, JSON, PLAIN, TIME, XML, format_expectations
from pyconntrack.core.expectation_wire import decode as decode_body
from pyconntrack.core.expectation_wire import encode as encode_body
from tests.core.support_expectation_wire import CAPTURED
from tests.core.support_expectations import CLASS, FLAGS, ID, TIMEOUT, WireExpectation, WireTuple
from tests.kernel.fuzz_decoder import EdgeOfMemory

TCP = WireTuple(bytes(4), bytes(4), 6, (0, 50000, 0))
WORDS = {TIMEOUT: 1, ID: 2, FLAGS: 7, CLASS: 0}
WHOLE = [
    WireExpectation(TCP, TCP, TCP, WORDS, 5, b"ftp", b"nat-follow-master", (1, TCP)).message(),
    WireExpectation(
        WireTuple(bytes(16), bytes(16), 58, (1, 2, 3)),
        WireTuple(bytes(16), bytes(16), 47),
        WireTuple(bytes(16), bytes(16), 17),
        WORDS,
    ).message(),
]
BODIES = [body for body, _ in CAPTURED.values()]
NUMBERS = (0, 1, 3, 4, 5, 255)


def bad_message(generator: random.Random) -> bytes:
    """One that is cut, with a length that may be that of the whole, or has other bytes in some places."""
    data = bytearray(generator.choice(WHOLE))
    if generator.random() < 0.4:
        del data[generator.randrange(len(data)) :]
        if len(data) >= 4 and generator.random() < 0.7:
            data[:4] = len(data).to_bytes(4, sys.byteorder)
    for _ in range(generator.randrange(5)):
        if len(data) > 20:
            value = generator.choice((*NUMBERS, generator.randrange(256)))
            data[generator.randrange(20, len(data))] = value
    return bytes(data)


def bad_body(generator: random.Random) -> bytes:
    """One of another node's, cut or with other bytes in some places, or both."""
    data = bytearray(generator.choice(BODIES))
    if generator.random() < 0.6:
        del data[generator.randrange(len(data)) :]
    for _ in range(generator.randrange(4)):
        if data:
            value = generator.choice((*NUMBERS, generator.randrange(256)))
            data[generator.randrange(len(data))] = value
    return bytes(data)


def main() -> None:
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    edge = EdgeOfMemory()
    generator = random.Random(seed)
    batch = ExpectationBatch()
    others = ExternalExpectations(limit=100)
    decoded = malformed = 0
    for _ in range(count):
        batch.clear()
        _, _, found, bad, _ = decode(edge.put(bad_message(generator)), batch)
        decoded += found
        malformed += bad
        for index in range(found):
            batch.unpack(index)
            encode(batch, index, 0, 0, 0)
            for form in (PLAIN, XML, JSON):
                line = format_expectations(batch, index, index + 1, form, EVENT | TIME)
                if line.count(b"\n") != 1 or not line.isascii():
                    raise AssertionError(line)
        batch.clear()
        others.apply(generator.choice((3, 4, 5)), edge.put(bad_body(generator)), 0, 0)
        if decode_body(edge.put(bad_body(generator)), batch) == 0:
            decode_body(encode_body(batch, 0), batch)
            if batch.unpack(0) != batch.unpack(1):
                raise AssertionError(batch.unpack(0))
    list_text(others.table, 0, False, 0)
    print(decoded, malformed)


if __name__ == "__main__":
    main()
