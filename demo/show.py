# SPDX-License-Identifier: GPL-2.0-or-later
"""What the demonstration prints: one line per step with its time, and the summary."""

from __future__ import annotations

import time

from demo.outcome import Outcome

_LABEL, _COLUMN = 34, 18
_BROKEN_LINES = 5


class Show:
    """Lines with the seconds since the part began."""

    def __init__(self, title: str) -> None:
        self._start = time.monotonic()
        print(f"\n{title}\n", flush=True)

    def step(self, text: str) -> None:
        print(f"{time.monotonic() - self._start:7.2f} s  {text}", flush=True)

    def detail(self, text: str) -> None:
        print(f"           {text}", flush=True)


def print_summary(with_daemon: Outcome, without: Outcome) -> None:
    """Both outcomes side by side, and what broke."""
    both = (with_daemon, without)
    rows = [
        ("", ["with conntrackd", "without"]),
        ("connections that lived", [f"{each.lived} of {each.connections}" for each in both]),
        ("bytes checked, both ways", [f"{each.bytes_checked:,}" for each in both]),
        ("new connections before the failure", [str(each.short_before) for each in both]),
        ("new connections after it", [str(each.short_after) for each in both]),
        ("new connections it interrupted", [str(each.short_interrupted) for each in both]),
        ("longest stall", [_stall(each) for each in both]),
        ("commit", [_seconds(each.commit_seconds) for each in both]),
    ]
    print("\nSummary\n")
    for label, columns in rows:
        print(f"  {label:<{_LABEL}}" + "".join(f"{column:>{_COLUMN}}" for column in columns))
    _print_broken(with_daemon.broken)
    print(flush=True)


def _print_broken(lines: list[str]) -> None:
    for line in lines[:_BROKEN_LINES]:
        print(f"  with conntrackd, {line}")
    if len(lines) > _BROKEN_LINES:
        print(f"  and {len(lines) - _BROKEN_LINES} more")


def _stall(outcome: Outcome) -> str:
    return "without end" if outcome.lived == 0 else f"{outcome.longest_stall:.2f} s"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s"
