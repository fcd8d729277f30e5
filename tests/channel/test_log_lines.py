# SPDX-License-Identifier: GPL-2.0-or-later
"""How many lines for the log are told of what happens over and over."""

from __future__ import annotations

import pytest

from pyconntrack.channel import log_lines
from pyconntrack.channel.log_lines import IN_A_ROW, SECONDS_PER_LINE, LogLines


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(log_lines, "time", made)
    return made


def test_few_lines_are_told_as_they_are(clock: Clock) -> None:
    lines = LogLines()
    lines.tell("up")
    lines.tell("down", True)
    assert len(lines) == 2
    assert lines.take() == [("up", False), ("down", True)]
    assert (lines.take(), len(lines)) == ([], 0)


def test_of_too_many_the_last_one_is_told_in_time(clock: Clock) -> None:
    lines = LogLines()
    for number in range(1000):
        lines.tell(f"change {number}", number % 2 == 1)
    assert [text for text, _ in lines.take()] == [f"change {number}" for number in range(IN_A_ROW)]
    assert lines.take() == []
    clock.now += SECONDS_PER_LINE
    assert lines.take() == [(f"change 999 ({999 - IN_A_ROW} lines before this one left out)", True)]
    clock.now += 1000 * SECONDS_PER_LINE
    for number in range(IN_A_ROW):
        lines.tell(f"later {number}")
    assert [text for text, _ in lines.take()] == [f"later {number}" for number in range(IN_A_ROW)]
