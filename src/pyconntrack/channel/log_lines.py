# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines for the log on what may happen any number of times: who connects, or flaps, in a loop fills no disk.

Twenty may be told in a row, and one more every five seconds. Of those beyond that the last one is kept until
it may be told, so that the log ends with how things are.
"""

from __future__ import annotations

import time

from pyconntrack.channel.channel import News

IN_A_ROW = 20
SECONDS_PER_LINE = 5.0


class LogLines:
    """What is to be told; its length is how many lines wait to be taken."""

    def __init__(self) -> None:
        self._waiting: list[News] = []
        self._held: News | None = None
        self._left_out = 0
        self._allowed = float(IN_A_ROW)
        self._counted_at = time.monotonic()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def holds(self) -> bool:
        """Whether a line is kept back, which take() will give in time."""
        return self._held is not None

    def tell(self, text: str, trouble: bool = False) -> None:
        """Add a line, or keep it in mind where there were too many."""
        self._left_out += self._held is not None
        self._held = News(text, trouble)
        self._release()

    def take(self) -> list[News]:
        """The lines to be told now, in order."""
        if self._held is not None:
            self._release()
        told, self._waiting = self._waiting, []
        return told

    def _release(self) -> None:
        now = time.monotonic()
        self._allowed = min(IN_A_ROW, self._allowed + (now - self._counted_at) / SECONDS_PER_LINE)
        self._counted_at = now
        if self._held is None or self._allowed < 1:
            return
        self._allowed -= 1
        text = self._held.text + (
            f" ({self._left_out} lines before this one left out)" if self._left_out else ""
        )
        self._waiting.append(self._held._replace(text=text))
        self._held, self._left_out = None, 0
