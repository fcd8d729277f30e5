# SPDX-License-Identifier: GPL-2.0-or-later
"""How a traffic process is asked: a word a line on its input, a report a line on its output."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Awaitable, Callable

from testbed.traffic.report import TrafficReport


async def serve_commands(
    report: Callable[[], TrafficReport], finish: Callable[[float], Awaitable[None]]
) -> None:
    """Say ``ready``, then answer each question with a report until the input ends.

    ``report`` is answered at once, ``finish SECONDS`` when all is finished or the time is over. After
    ``forget``, the longest gaps are those from then on.
    """
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    while line := await reader.readline():
        word, _, seconds = line.decode().partition(" ")
        if word == "finish":
            await finish(float(seconds))
        if word == "forget\n":
            for connection in report().connections:
                connection.longest_gap = 0.0
        print(report().to_json(), flush=True)


def raise_descriptor_limit() -> None:
    """Allow as many open connections as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
