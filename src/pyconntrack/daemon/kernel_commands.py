# SPDX-License-Identifier: GPL-2.0-or-later
"""What clients ask of the kernel's table of flows, whatever the daemon's mode: `-F` and `-R`."""

from __future__ import annotations

import asyncio

from pyconntrack.daemon.control import CommandError
from pyconntrack.daemon.follower import KernelFollower
from pyconntrack.daemon.reporter import Reporter
from pyconntrack.kernel.errors import ConntrackError
from pyconntrack.kernel.table import ConntrackTable


class KernelCommands:
    """Carried out on behalf of a client; each raises CommandError."""

    def __init__(self, follower: KernelFollower, reporter: Reporter) -> None:
        self._follower = follower
        self._reporter = reporter
        self.flushes = 0
        """How often the kernel's table was emptied."""

    async def flush(self) -> None:
        """`-F ct`."""
        self._reporter.notice("flushing kernel conntrack table")
        try:
            await self.flush_now()
        except ConntrackError as error:
            raise CommandError(f"can't flush the kernel table: {error}") from error

    async def flush_now(self) -> None:
        """One request, but the kernel takes a second for a million flows: in a thread.

        Raises ConntrackError.
        """
        self.flushes += 1
        await asyncio.get_running_loop().run_in_executor(None, _flush_table)

    async def resync(self) -> None:
        """`-R ct`."""
        self._reporter.notice("resync with master conntrack table")
        try:
            await self._follower.resync()
        except OSError as error:
            raise CommandError(f"resync with the kernel table failed: {error}") from error


def _flush_table() -> None:
    with ConntrackTable() as kernel:
        kernel.flush()
