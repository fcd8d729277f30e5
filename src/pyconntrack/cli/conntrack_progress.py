# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a long load is, for whoever looks at a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

_WIDTH = 40
# Nobody wants to see a bar for what is over at once.
_PATIENCE = 0.5
_INTERVAL = 0.1


class Progress:
    """A bar on standard error while that is a terminal, gone at the end; nothing else. A context manager.

    `total` in bytes; 0 where it is not known.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._next = time.monotonic() + _PATIENCE
        self._shown = False
        self._works = total > 0 and sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def show(self, done: int) -> None:
        """`done` bytes are read."""
        if not self._works or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _INTERVAL
        part = min(done / self._total, 1.0)
        bar = "#" * int(part * _WIDTH)
        sys.stderr.write(f"\r[{bar:<{_WIDTH}}] {part:4.0%}")
        sys.stderr.flush()
        self._shown = True

    def clear(self) -> None:
        """Take the bar away, so that something may be said."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False
