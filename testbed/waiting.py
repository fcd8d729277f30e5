# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a condition, never for a guessed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1


class WaitTimeoutError(AssertionError):
    """The condition did not come true in time. An ``AssertionError``, so that a test fails with its text."""


def wait_until(
    condition: Callable[[], _T],
    deadline: float,
    what: str,
    detail: Callable[[], str] | None = None,
) -> _T:
    """Call ``condition`` until it returns something true, and return that.

    ``deadline`` is in seconds from now; ``what`` names, in a few words, the thing waited for.
    ``detail`` is called once, on failure, for what explains it (a log, a statistic). An exception
    of the condition passes through. Raises :class:`WaitTimeoutError` with ``what``, the time waited,
    the last value seen and the detail.
    """
    start = time.monotonic()
    pause = _FIRST_PAUSE
    while True:
        # Read before the condition, so that it is asked at least once after the deadline's last pause.
        late = time.monotonic() - start >= deadline
        value = condition()
        if value:
            return value
        if late:
            break
        time.sleep(min(pause, max(0.0, start + deadline - time.monotonic())))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    waited = time.monotonic() - start
    text = f"waited {waited:.1f} s for: {what}; last value: {value!r}"
    if detail is not None:
        text = f"{text}\n{detail()}"
    raise WaitTimeoutError(text)
