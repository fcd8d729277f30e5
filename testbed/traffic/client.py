# SPDX-License-Identifier: GPL-2.0-or-later
"""The client process: opens the long connections, and short ones at a steady pace."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time

from testbed.traffic.commands import raise_descriptor_limit, serve_commands
from testbed.traffic.report import ConnectionReport, ShortReport, TrafficReport
from testbed.traffic.stream import BLOCK, HEADER, MAGIC, Stream

_SHORT_BLOCKS = 4
_SHORT_DEADLINE = 10.0
_FIRST_SHORT_NUMBER = 1_000_000
_CONNECT_ATTEMPTS_AT_ONCE = 64


class Client:
    """All connections of the process."""

    def __init__(self, address: str, port: int, interval: float) -> None:
        self._address = address
        self._port = port
        self._interval = interval
        self._streams: list[Stream] = []
        self._failed: list[ConnectionReport] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._short = ShortReport()
        self._short_tasks: set[asyncio.Task[None]] = set()
        self._finishing = False
        self._connecting = asyncio.Semaphore(_CONNECT_ATTEMPTS_AT_ONCE)

    def report(self) -> TrafficReport:
        self._short.under_way = len(self._short_tasks)
        connections = [stream.current_report() for stream in self._streams] + self._failed
        return TrafficReport(sorted(connections, key=lambda report: report.number), self._short)

    async def open_long(self, count: int) -> None:
        """Open ``count`` connections whose streams have no end."""
        await asyncio.gather(*(self._open_long(number) for number in range(count)))

    async def _open_long(self, number: int) -> None:
        async with self._connecting:
            try:
                stream = await self._connect(number, 0, self._interval)
            except OSError as error:
                self._failed.append(ConnectionReport(number, 0, error=str(error)))
                return
        self._streams.append(stream)
        self._tasks.add(asyncio.create_task(stream.run()))

    async def _connect(self, number: int, blocks: int, interval: float) -> Stream:
        reader, writer = await asyncio.open_connection(self._address, self._port)
        writer.write(HEADER.pack(MAGIC, number, blocks))
        return Stream(reader, writer, number, client=True, interval=interval, blocks=blocks)

    async def open_short(self, interval: float) -> None:
        """Open a short connection every ``interval`` seconds until the end is asked for."""
        for number in itertools.count(_FIRST_SHORT_NUMBER):
            if self._finishing:
                return
            task = asyncio.create_task(self._one_short(number))
            self._short_tasks.add(task)
            task.add_done_callback(self._short_tasks.discard)
            await asyncio.sleep(interval)

    async def _one_short(self, number: int) -> None:
        start = time.monotonic()
        try:
            async with asyncio.timeout(_SHORT_DEADLINE):
                stream = await self._connect(number, _SHORT_BLOCKS, 0.0)
                await stream.run()
            report = stream.report
            if report.error or report.received != _SHORT_BLOCKS * BLOCK:
                raise OSError(report.error or f"ended after {report.received} bytes")
        except (OSError, TimeoutError) as error:
            self._short.failed.append((start, str(error) or "no answer"))
            return
        self._short.bytes_checked += report.sent + report.received
        self._short.completed.append((start, time.monotonic()))

    async def finish(self, seconds: float) -> None:
        """End every connection in good order: what was sent arrives, then both directions close.

        Those that cannot within ``seconds`` stay as they are.
        """
        self._finishing = True
        for stream in self._streams:
            stream.stop()
        under_way = self._tasks | self._short_tasks
        if under_way:
            await asyncio.wait(under_way, timeout=seconds)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--interval", type=float, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--short-interval", type=float, required=True)
    options = parser.parse_args()
    raise_descriptor_limit()
    client = Client(options.address, options.port, options.interval)
    await client.open_long(options.connections)
    short = asyncio.create_task(client.open_short(options.short_interval)) if options.short_interval else None
    await serve_commands(client.report, client.finish)
    if short is not None:
        short.cancel()


if __name__ == "__main__":
    asyncio.run(main())
