# SPDX-License-Identifier: GPL-2.0-or-later
"""Failures in a callback or a task that nobody foresaw: into the log, or a daemon's would go to /dev/null."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

from pyconntrack.daemon.reporter import Reporter

# Seconds for which the same failure is not told again: what another host sends may be its cause.
_SILENCE = 60.0
_TOLD_MAX = 100


class FailureReport:
    """An exception handler of an event loop, see asyncio's set_exception_handler()."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._told: dict[str, float] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        text = _describe(context)
        now = loop.time()
        if now - self._told.get(text, -_SILENCE) < _SILENCE:
            return
        if len(self._told) >= _TOLD_MAX:
            self._told.clear()
        self._told[text] = now
        self._reporter.error(f"internal error, please report it: {text}")


def _describe(context: dict[str, Any]) -> str:
    """`TypeError: text (file.py:12 in function)`, or what the loop says where there is no exception."""
    exception = context.get("exception")
    if exception is None:
        return str(context.get("message"))
    frames = traceback.extract_tb(exception.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name})" if frames else ""
    return f"{type(exception).__name__}: {exception}{place}"
