# SPDX-License-Identifier: GPL-2.0-or-later
"""The bar of a long load."""

from __future__ import annotations

import io
import sys
import time

import pytest

from pyconntrack.cli.conntrack_progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that passes, in its only item."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_sees_a_bar_that_grows_and_goes(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(1000) as progress:
        progress.show(100)
        assert terminal.getvalue() == ""
        clock[0] += 1
        progress.show(250)
        progress.show(251)
        clock[0] += 1
        progress.show(1000)
    assert terminal.getvalue() == f"\r[{'#' * 10:<40}]  25%\r[{'#' * 40}] 100%\r\x1b[K"


@pytest.mark.parametrize("total", [0, 1000])
def test_nobody_else_sees_anything(total: int, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO() if total else Terminal()
    monkeypatch.setattr(sys, "stderr", file)
    with Progress(total) as progress:
        clock[0] += 5
        progress.show(500)
    assert file.getvalue() == ""
