# SPDX-License-Identifier: GPL-2.0-or-later
"""Decode bad messages that end where memory ends: fuzz_decoder.py KIND COUNT SEED.

Prints how many flows were decoded and how many messages were malformed.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import random
import sys

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.kernel_codec import decode
from pyconntrack.core.netlink import acknowledgement, attributes, messages
from tests.kernel.netlink_bytes import attribute, ipv4_tuple, message, nest

WHOLE = message(
    0,
    ipv4_tuple(1),
    ipv4_tuple(2),
    ipv4_tuple(14),
    attribute(3, bytes(4)),
    nest(4, nest(1, attribute(1, b"\3"), attribute(4, b"\1\1")), nest(3, attribute(2, bytes(4)))),
    nest(4, nest(2, attribute(3, bytes(8)))),
    nest(5, attribute(1, b"ftp\0"), attribute(2, bytes(32))),
    nest(6, attribute(1, bytes(4)), nest(3, attribute(1, bytes(2)))),
    nest(9, attribute(1, bytes(8)), attribute(4, bytes(4))),
    nest(13, attribute(4, bytes(16))),
    nest(15, attribute(1, bytes(4))),
    attribute(18, bytes(2)),
    nest(19, attribute(1, b"context\0")),
    nest(20, attribute(1, bytes(8)), attribute(2, bytes(8))),
    attribute(22, bytes(16)),
    attribute(23, bytes(16)),
    nest(24, attribute(3, bytes(4))),
    attribute(27, bytes(8)),
)


class EdgeOfMemory:
    """Two pages, the second of which cannot be read."""

    def __init__(self) -> None:
        self.pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.pages))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mprotect(ctypes.c_void_p(start + mmap.PAGESIZE), ctypes.c_size_t(mmap.PAGESIZE), 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
        self.view = memoryview(self.pages)

    def put(self, data: bytes) -> memoryview:
        """The data, so that its end is the end of what can be read."""
        place = self.view[mmap.PAGESIZE - len(data) : mmap.PAGESIZE]
        place[:] = data
        return place


def bad_message(kind: str, generator: random.Random) -> bytes:
    if kind == "random":
        data = bytearray(generator.randbytes(generator.randrange(200)))
        if len(data) > 20:
            # Mostly beyond the header, or nothing behind it would ever be read.
            data[:8] = (len(data)).to_bytes(4, sys.byteorder) + (0x100).to_bytes(2, sys.byteorder) + b"\0\0"
        return bytes(data)
    if kind == "truncated":
        end = generator.randrange(len(WHOLE))
        if generator.random() < 0.5:
            return WHOLE[:end]
        return end.to_bytes(4, sys.byteorder) + WHOLE[4:end] if end >= 4 else b""
    data = bytearray(WHOLE)
    for _ in range(generator.randrange(1, 6)):
        data[generator.randrange(20, len(data))] = generator.choice(
            (0, 1, 3, 4, 5, 255, generator.randrange(256))
        )
    return bytes(data)


def main() -> None:
    kind, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    edge = EdgeOfMemory()
    if kind == "overrun":
        ctypes.string_at(ctypes.addressof(ctypes.c_char.from_buffer(edge.put(b"x"))), 2)
    generator = random.Random(seed)
    batch = FlowBatch()
    decoded = malformed = 0
    for _ in range(count):
        data = edge.put(bad_message(kind, generator))
        batch.clear()
        _, _, flows, bad, _ = decode(data, batch)
        decoded += flows
        malformed += bad
        for read in (messages, attributes, lambda view: acknowledgement(view, 0x200)):
            with contextlib.suppress(ValueError):
                read(data)
    print(decoded, malformed)


if __name__ == "__main__":
    main()
