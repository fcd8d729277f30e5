# SPDX-License-Identifier: GPL-2.0-or-later
"""One connection's two streams: send known blocks at a pace, compare what arrives with what must arrive."""

from __future__ import annotations

import asyncio
import random
import struct
import time

from testbed.traffic.report import ConnectionReport

BLOCK = 1024
"""Bytes that are sent at once."""

HEADER = struct.Struct("!4sII")
"""What the client sends first: a magic, the connection's number, and how many blocks each way (0: no end)."""
MAGIC = b"flow"

_CHUNK = 4096


class Pattern:
    """An endless stream of pseudo-random bytes; the same for the same seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._ready = b""

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        while len(self._ready) < count:
            self._ready += self._random.randbytes(_CHUNK)
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken


class Stream:
    """One end of a connection. Both directions run until told to stop, or for a number of blocks."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
        *,
        client: bool,
        interval: float,
        blocks: int = 0,
    ) -> None:
        self._reader = reader
        self._writer = writer
        up, down = Pattern(f"{number} up"), Pattern(f"{number} down")
        self._outgoing, self._incoming = (up, down) if client else (down, up)
        self._interval = interval
        self._blocks = blocks
        self._stopping = False
        self.report = ConnectionReport(number, writer.get_extra_info("sockname")[1])

    def stop(self) -> None:
        """End our direction after the block at hand, if it has no end of its own."""
        self._stopping = True

    async def run(self) -> None:
        """Send and receive until both directions have ended; errors are kept in the report."""
        sender = asyncio.create_task(self._send())
        try:
            await self._receive()
            # The other end has finished: so do we.
            self.stop()
            await sender
            self._writer.close()
            await self._writer.wait_closed()
            self.report.closed = True
        except (OSError, ValueError) as error:
            self.report.error = f"{type(error).__name__}: {error}"
        finally:
            sender.cancel()
            self._writer.transport.abort()

    async def _send(self) -> None:
        sent = 0
        while sent < self._blocks if self._blocks else not self._stopping:
            block = self._outgoing.take(BLOCK)
            self._writer.write(block)
            self.report.sent += len(block)
            sent += 1
            await self._writer.drain()
            if self._interval:
                await asyncio.sleep(self._interval)
        self._writer.write_eof()

    async def _receive(self) -> None:
        report = self.report
        while data := await self._reader.read(65536):
            now = time.monotonic()
            if data != self._incoming.take(len(data)):
                raise ValueError(f"wrong data after {report.received} good bytes")
            if report.received == 0:
                report.first_received = now
            else:
                report.longest_gap = max(report.longest_gap, now - report.last_received)
            report.received += len(data)
            report.last_received = now

    def current_report(self) -> ConnectionReport:
        """The report at this moment, with the gap that lasts now."""
        report = self.report
        if report.received and not report.closed and not self._stopping:
            report.longest_gap = max(report.longest_gap, time.monotonic() - report.last_received)
        return report
