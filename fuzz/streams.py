# SPDX-License-Identifier: GPL-2.0-or-later
"""Fuzzes what takes messages out of a stream, however it is cut and whatever stands in it."""

from __future__ import annotations

from random import Random

from pyconntrack.core.stream import StreamReader

_HEADER_SIZE = 8
_LONGEST = 0xFFFF


class StreamDoor:
    """A reader, beside one that is written down once more, slowly."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._reader = StreamReader()
        self._held = b""
        self.runs = 0
        self.bytes_taken = 0
        self.rubbish = 0

    def push(self, data: bytes) -> None:
        """Let the stream go on with these bytes, in pieces; after rubbish another stream begins."""
        start = 0
        while start < len(data):
            end = (
                start + int(self._random.choice((1, 7, 8, 9, 100, 1500, 60_000)) * self._random.random()) + 1
            )
            self._push_piece(data[start:end])
            start = end

    def _push_piece(self, piece: bytes) -> None:
        run, rubbish = self._expect(piece)
        taken = self._reader.feed(piece)
        if taken != run or self._reader.rubbish != rubbish or self._reader.pending != len(self._held):
            raise AssertionError(f"{taken.hex()} out of a stream, not {run.hex()}")
        if self._reader.pending > _LONGEST:
            raise AssertionError(f"{self._reader.pending} bytes of one message")
        self.runs += bool(taken)
        self.bytes_taken += len(taken)
        if rubbish:
            self.rubbish += 1
            self._reader.clear()

    def _expect(self, piece: bytes) -> tuple[bytes, bool]:
        """What comes out, and whether the stream ends there."""
        stream, self._held = self._held + piece, b""
        offset = 0
        while len(stream) - offset >= _HEADER_SIZE:
            length = int.from_bytes(stream[offset + 2 : offset + 4])
            if stream[offset] >> 4 != 1 or length < _HEADER_SIZE:
                return stream[: offset + _HEADER_SIZE], True
            if offset + length > len(stream):
                break
            offset += length
        self._held = stream[offset:]
        return stream[:offset], False
