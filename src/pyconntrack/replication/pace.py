# SPDX-License-Identifier: GPL-2.0-or-later
"""Doing a lot evenly: how many messages may go out now, and how far a walk round a table should have come.

Times are in seconds of any clock that does not go back.
"""

from __future__ import annotations

import math

# Messages a second, and how many may go at once after a pause.
BULK_RATE = 200_000
BURST = 2_000
# A hand does not move more often than after so many seconds.
STEP = 0.05


class Pace:
    """At most BULK_RATE messages a second, for modes in which nothing tells how fast the peers take them."""

    def __init__(self, now: float) -> None:
        self._credit = float(BURST)
        self._credited = now

    def allowance(self, now: float) -> int:
        """How many messages may go out now."""
        self._credit = min(BURST, self._credit + (now - self._credited) * BULK_RATE)
        self._credited = now
        return int(self._credit)

    def spend(self, messages: int) -> None:
        """So many went out."""
        self._credit -= messages

    @property
    def next_burst(self) -> float:
        """When there is room for half a burst."""
        return self._credited + BURST / 2 / BULK_RATE


class Hand:
    """A hand that goes round the slots of a table in `period` seconds, a few slots at a time.

    So each entry has its turn once in a period without a timer of its own. `place` is the slot to go on with.
    """

    def __init__(self, period: float, now: float) -> None:
        self.period = period
        self.place = 0
        self._owed = 0.0
        self._moved = now

    def due(self, slots: int, now: float) -> int:
        """How many slots, of `slots` in all, the hand should move on now; a whole round at the most."""
        passed = now - self._moved
        if passed >= STEP:
            self._moved = now
            self._owed += passed * slots / self.period
        self._owed = min(self._owed, slots)
        return int(self._owed)

    def hurry(self, slots: int) -> None:
        """Go once round from here without a pause."""
        self._owed = float(slots)

    def move(self, count: int, slots: int) -> tuple[int, int]:
        """Move by up to `count` slots, not beyond the last one, behind which is the first.

        Returns where the hand was, and by how many slots it moved.
        """
        first = self.place if self.place < slots else 0
        count = min(count, slots - first)
        self.place = first + count
        self._owed = max(0.0, self._owed - count)
        return first, count

    def deadline(self, slots: int) -> float:
        """When the hand has to move next; long ago where it is behind."""
        if self._owed >= 1.0:
            return -math.inf
        if not slots:
            return math.inf
        return self._moved + max(STEP, (1.0 - self._owed) * self.period / slots)
