# SPDX-License-Identifier: GPL-2.0-or-later
"""The log of the flows that ended: to a file, to syslog, in batches as they come from the core.

A full disk or a logger that hangs neither ends nor blocks the daemon. What cannot be written at once waits,
up to a limit; what is lost beyond it is counted. The general log hears of trouble once, and of its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pyconntrack.config import Stats
from pyconntrack.daemon.line_outlets import FileOutlet, Outlet, SyslogOutlet
from pyconntrack.daemon.reporter import Reporter

# Bytes that wait where they cannot be written: some ten thousand lines.
_WAITING_MAX = 4 << 20
# Seconds until it is tried again, where there is an error, and where the other end is only busy.
_AFTER_ERROR = 1.0
_AFTER_BUSY = 0.02


class _Way:
    """To one outlet: what waits for it, and what it lost."""

    def __init__(self, outlet: Outlet, reporter: Reporter) -> None:
        self.outlet = outlet
        self._reporter = reporter
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        self._retry: asyncio.TimerHandle | None = None
        self._failing = False
        self._lost = 0

    def write(self, lines: bytes) -> None:
        if self._retry is not None:
            self._keep(lines)
        else:
            self._put(lines)

    def _keep(self, lines: bytes) -> None:
        room = _WAITING_MAX - len(self._waiting)
        kept = len(lines) if len(lines) <= room else lines.rfind(b"\n", 0, max(room, 0)) + 1
        self._waiting += lines[:kept]
        if kept == len(lines):
            return
        if self._lost == 0 and not self._failing:
            self._reporter.warning(f"{self.outlet.name} is too slow: lines about ended flows are lost")
        self._lost += lines.count(b"\n", kept)

    def _put(self, lines: bytes) -> None:
        settled, failure = self.outlet.put(lines)
        if failure is not None and not self._failing:
            self._failing = True
            self._reporter.error(f"can't write to {self.outlet.name}: {failure.strerror}")
        if settled < len(lines):
            self._keep(lines[settled:])
            self._retry = self._loop.call_later(
                _AFTER_ERROR if failure is not None else _AFTER_BUSY, self._try_again
            )
        elif self._failing or self._lost:
            self._tell_recovered()

    def _try_again(self) -> None:
        lines = bytes(self._waiting)
        self._waiting.clear()
        self._retry = None
        self._put(lines)

    def _tell_recovered(self) -> None:
        lost = f"{self._lost} lines were lost" if self._lost else "nothing was lost"
        self._reporter.notice(f"{self.outlet.name} can be written again, {lost}")
        self._failing = False
        self._lost = 0

    def reopen(self) -> None:
        try:
            self.outlet.reopen()
        except OSError as error:
            self._reporter.error(f"can't open {self.outlet.name}: {error.strerror}")
        if self._retry is not None:
            self._retry.cancel()
            self._try_again()

    def close(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
            settled, _ = self.outlet.put(bytes(self._waiting))
            self._lost += self._waiting.count(b"\n", settled)
            if self._lost:
                self._reporter.warning(f"{self._lost} lines about ended flows could not be written")
        self.outlet.close()


class StatisticsLog:
    """Lines about ended flows, to all places where they go."""

    def __init__(self, outlets: Sequence[Outlet], reporter: Reporter) -> None:
        """To be called with a running event loop. The outlets are its own from now on."""
        self._ways = [_Way(outlet, reporter) for outlet in outlets]

    def __bool__(self) -> bool:
        """Whether the lines go anywhere."""
        return bool(self._ways)

    def write(self, lines: bytes) -> None:
        """Whole lines, as `StatisticsCache.take_lines` hands them over."""
        for way in self._ways:
            way.write(lines)

    def reopen(self) -> None:
        """For log rotation: go on in a new file. Raises nothing."""
        for way in self._ways:
            way.reopen()

    def close(self) -> None:
        for way in self._ways:
            way.close()
        self._ways = []


def outlets_of(stats: Stats, syslog: str | None) -> list[Outlet]:
    """Where section Stats wants its lines. `syslog` is the facility of section General, which then holds for
    both, as in the C daemon. Raises OSError, of the file."""
    outlets: list[Outlet] = []
    if stats.log_file is not None:
        outlets.append(FileOutlet(str(stats.log_file)))
    if stats.syslog is not None:
        outlets.append(SyslogOutlet(syslog if syslog is not None else stats.syslog))
    return outlets
