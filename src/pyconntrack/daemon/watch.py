# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks once a second at what only counts up elsewhere, and says in the log what goes wrong.

What goes wrong many times is told at once when it begins, and while it goes on, again after a minute, after
two more, and so on up to an hour, each time with how often. What lasts is told when it begins and when it
ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from pyconntrack.daemon.reporter import Reporter

LOOK_SECONDS = 1.0
SILENCE = 60.0
LONGEST_SILENCE = 3600.0
# A look that is so much late: the process was stopped, or had no processor. Either way much was missed.
STANDSTILL = 4.0
# By so much the clock is not set without notice; NTP turns it by less.
CLOCK_JUMP = 2.0
# A cache that has refused nothing for so long, and is not at its limit, has room.
QUIET = 10.0


class Check(Protocol):
    """Something to look at; `now` is the time in seconds of a clock that does not go back."""

    def look(self, now: float, reporter: Reporter) -> None: ...


class Recurring:
    """What happens again and again: `count` is how often it has, `describe` says so many of it in one line.

    A `reason` that was not told yet is told at once. Fewer than `least` are not worth a word, and counted
    on. A count that went back, as that of a link that was made anew, is where it goes on from.
    """

    def __init__(
        self,
        count: Callable[[], int],
        describe: Callable[[int], str],
        reason: Callable[[], int] = lambda: 0,
        least: int = 1,
    ) -> None:
        self._least = least
        self._count = count
        self._describe = describe
        self._reason = reason
        self._reasons: set[int] = set()
        self._told = self._seen = count()
        self._changed = self._next = float("-inf")
        self._silence = SILENCE

    def look(self, now: float, reporter: Reporter) -> None:
        count = self._count()
        if count != self._seen:
            self._seen = count
            self._changed = now
        elif now - self._changed >= SILENCE:
            # It is over, and what comes next is told at once.
            self._silence = SILENCE
            self._next = now
            self._reasons.clear()
        self._told = min(self._told, count)
        if count >= self._told + self._least and (now >= self._next or self._reason() not in self._reasons):
            self._tell(count, now, reporter)

    def _tell(self, count: int, now: float, reporter: Reporter) -> None:
        reporter.warning(self._describe(count - self._told))
        self._told = count
        if now >= self._next:
            self._next = now + self._silence
            self._silence = min(2 * self._silence, LONGEST_SILENCE)
        self._reasons.add(self._reason())


class Fullness:
    """A cache that refuses entries for want of room, and that has room again.

    `entries` and `refused` count both; `full` and `roomy` are what to say, the second with how often it
    refused. `restore` fetches what was refused.
    """

    def __init__(
        self,
        limit: int,
        entries: Callable[[], int],
        refused: Callable[[], int],
        *,
        full: str,
        roomy: Callable[[int], str],
        restore: Callable[[], None],
    ) -> None:
        self._limit = limit
        # Where one more fits, the next one does not: who says that there is room means a part of it.
        self._room_below = limit - max(1, limit // 20)
        self._entries = entries
        self._refused = refused
        self._full = full
        self._roomy = roomy
        self._restore = restore
        self._before = self._seen = refused()
        self._since: int | None = None
        self._quiet_since = self._next = float("-inf")

    def look(self, now: float, reporter: Reporter) -> None:
        refused = self._refused()
        if refused != self._seen:
            self._seen = refused
            self._quiet_since = now
        if self._since is None:
            if refused > self._before and now >= self._next:
                self._since = self._before
                self._next = now + SILENCE
                reporter.warning(self._full)
        elif self._has_room(now):
            reporter.notice(self._roomy(refused - self._since))
            self._since = None
            self._before = refused
            self._restore()

    def _has_room(self, now: float) -> bool:
        entries = self._entries()
        quiet = now - self._quiet_since >= QUIET
        return entries <= self._room_below or (quiet and entries < self._limit)


class Clocks:
    """The system's clock, which may be set, beside one that is not; and whether this process runs at all."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()
        self._last: float | None = None

    def look(self, now: float, reporter: Reporter) -> None:
        offset = self._wall() - self._steady()
        jump, self._offset = offset - self._offset, offset
        if abs(jump) >= CLOCK_JUMP:
            direction = "back" if jump < 0 else "forward"
            reporter.warning(
                f"the system's clock was set {direction} by {abs(jump):.0f} s; "
                "only the time stamps of this log follow it"
            )
        late = 0.0 if self._last is None else now - self._last - LOOK_SECONDS
        self._last = now
        if late >= STANDSTILL:
            reporter.warning(f"this daemon stood still for {late:.0f} s: it was stopped, or had no processor")


class Watch:
    """Looks at all checks while it runs."""

    def __init__(self, reporter: Reporter, checks: Iterable[Check]) -> None:
        self._reporter = reporter
        self._checks = list(checks)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._look()

    def stop(self) -> None:
        """Harmless a second time, and before start()."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        now = self._loop.time()
        for check in self._checks:
            check.look(now, self._reporter)
