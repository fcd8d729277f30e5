# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the command conntrackd, and note how long its event loop was held at a time.

`measured_daemon.py FILE ARGUMENTS...`: at the end, FILE has a line of JSON for each kind of callback: its
name, the longest CPU time and the longest time of one run, both in seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from pyconntrack.cli.conntrackd import main

longest: dict[str, tuple[float, float]] = {}
run_unmeasured = asyncio.Handle._run


def run_measured(handle: Any) -> None:
    begin, begin_cpu = time.monotonic(), time.thread_time()
    name = callback_name(handle._callback)
    try:
        run_unmeasured(handle)
    finally:
        cpu, elapsed = time.thread_time() - begin_cpu, time.monotonic() - begin
        before = longest.get(name, (0.0, 0.0))
        longest[name] = (max(before[0], cpu), max(before[1], elapsed))


def callback_name(callback: Any) -> str:
    """A task's step goes by the name of its coroutine."""
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return f"task {getattr(task.get_coro(), '__qualname__', '?')}"
    return str(getattr(callback, "__qualname__", callback))


if __name__ == "__main__":
    vars(asyncio)["Handle"]._run = run_measured
    status = main(sys.argv[2:])
    if longest:
        lines = [json.dumps([name, *times]) for name, times in longest.items()]
        Path(sys.argv[1]).write_text("\n".join(lines) + "\n")
    sys.exit(status)
