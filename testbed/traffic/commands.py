# SPDX-License-Identifier: GPL-2.0-or-later
"""How a traffic process is asked: a word a line on its input, a report a line on its output."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from testbed.traffic.report import TrafficReport


async def serve_commands(report: Callable[[], TrafficReport], finish: Callable[[], Awaitable[None]]) -> None:
    """Say ``ready``, then answer ``report``, and ``finish`` when all is finished, until the input ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    while line := await reader.readline():
        if line.strip() == b"finish":
            await finish()
        print(report().to_json(), flush=True)
