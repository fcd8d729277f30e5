# SPDX-License-Identifier: GPL-2.0-or-later
"""The server process: takes connections and plays its end of their streams."""

from __future__ import annotations

import argparse
import asyncio

from testbed.traffic.commands import raise_descriptor_limit, serve_commands
from testbed.traffic.report import TrafficReport
from testbed.traffic.stream import HEADER, MAGIC, Stream


class Server:
    """All connections of the process. A connection with an endless stream is a long one, and is reported."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._long: dict[int, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def report(self) -> TrafficReport:
        return TrafficReport([stream.current_report() for _, stream in sorted(self._long.items())])

    async def finish(self, seconds: float) -> None:
        """Wait until the clients have ended their long connections, or until the time is over."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            magic, number, blocks = HEADER.unpack(await reader.readexactly(HEADER.size))
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
            return
        if magic != MAGIC:
            writer.transport.abort()
            return
        pace = 0.0 if blocks else self._interval
        stream = Stream(reader, writer, number, client=False, interval=pace, blocks=blocks)
        task = asyncio.create_task(stream.run())
        if not blocks:
            self._long[number] = stream
            self._tasks.add(task)
        await task


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--interval", type=float, required=True)
    options = parser.parse_args()
    raise_descriptor_limit()
    server = Server(options.interval)
    listener = await asyncio.start_server(server.accept, options.address, options.port, backlog=1024)
    try:
        await serve_commands(server.report, server.finish)
    finally:
        listener.close()


if __name__ == "__main__":
    asyncio.run(main())
