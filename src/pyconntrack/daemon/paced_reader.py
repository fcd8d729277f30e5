# SPDX-License-Identifier: GPL-2.0-or-later
"""Waits for what arrives at a descriptor: at once while little does, in few large pieces while much does.

To wake up, and to send what follows from it, costs many times what one event or message costs. So what
arrives first is taken at once; but then the descriptor is looked at once in a pause, and only when a look
finds nothing is it waited for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class PacedReader:
    """Calls `take` while there is something at `descriptor`. `take` returns how much there was.

    From `most` on there may be more; then the next look is in the event loop's next turn. Otherwise it is
    after a `pause`, in seconds, or a quarter of it where `much` came since the one before, twice `most`
    unless it says otherwise: whoever sends that much may wait for an answer. When nothing came since, the
    descriptor is waited for, and at once where `take` returned None: what comes next is urgent.
    """

    def __init__(
        self,
        descriptor: int,
        take: Callable[[], int | None],
        most: int,
        pause: float,
        much: int | None = None,
    ) -> None:
        """To be called with a running event loop; reading begins now."""
        self._descriptor = descriptor
        self._take = take
        self._most = most
        self._pause = pause
        self._much = 2 * most if much is None else much
        self._loop = asyncio.get_running_loop()
        self._next_look: asyncio.Handle | None = None
        self._since_pause = 0
        self._loop.add_reader(descriptor, self._arrived)

    def stop(self) -> None:
        """Look no more. To be called before the descriptor is closed; harmless a second time."""
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        self._loop.remove_reader(self._descriptor)

    def look_early(self) -> bool:
        """Look now where a look is due after a pause, which then begins anew. Whether one was.

        For whoever is awake anyway: a look costs little beside waking up for it.
        """
        if not isinstance(self._next_look, asyncio.TimerHandle):
            return False
        self._next_look.cancel()
        self._look(early=True)
        return True

    def _arrived(self) -> None:
        self._loop.remove_reader(self._descriptor)
        self._look()

    def _look(self, early: bool = False) -> None:
        self._next_look = None
        # Where the look fails, there will be another one all the same: else nobody would ever look again.
        taken: int | None = 1
        try:
            taken = self._take()
        finally:
            self._go_on(taken, early)

    def _go_on(self, taken: int | None, early: bool) -> None:
        if taken is None:
            self._since_pause = 0
            self._wait()
            return
        self._since_pause += taken
        if taken >= self._most:
            self._next_look = self._loop.call_soon(self._look)
        elif self._since_pause or early:
            pause = self._pause / 4 if self._since_pause >= self._much else self._pause
            self._since_pause = 0
            self._next_look = self._loop.call_later(pause, self._look)
        else:
            self._wait()

    def _wait(self) -> None:
        self._loop.add_reader(self._descriptor, self._arrived)
