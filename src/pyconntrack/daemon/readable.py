# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a descriptor, as a coroutine."""

from __future__ import annotations

import asyncio
import contextlib


async def readable(descriptor: int) -> None:
    """Wait until something can be received from a descriptor."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        with contextlib.suppress(asyncio.InvalidStateError):
            ready.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
