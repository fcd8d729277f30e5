# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command at every size, ours and the C tool's in turn, and the limits beside them."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.command_jobs import list_as_json, list_table, run_commands
from bench.kernel_limits import bare_dump, flush_table, load_table, room_for
from bench.results import LIMIT, OURS
from bench.run import LARGE, Run, say, short

_STARTS = 5


def measure_commands(run: Run) -> None:
    run.results.add(LIMIT, {"interpreter": _interpreter()})
    for size in run.sizes:
        with run.attempt(f"commands, table of {short(size)}"), room_for(size + 32_768):
            _measure_limits(run, size)
            if size > LARGE:
                _measure_listing(run, size)
            else:
                _measure_all(run, size)
            flush_table(run.namespace)


def _measure_limits(run: Run, size: int) -> None:
    """The table is as full afterwards."""
    for number in range(run.rounds_at(size)):
        say(f"limits, table of {short(size)}, round {number + 1}")
        flush_table(run.namespace)
        inserted = load_table(run.namespace, size)
        dumped = bare_dump(run.namespace)
        for name, (wall, processor) in (("insert", inserted), ("dump", dumped)):
            each = {f"{name} wall": wall / size * 1e6, name: processor / size * 1e6}
            run.results.add(LIMIT, each, size)


def _measure_listing(run: Run, size: int) -> None:
    for kind in run.turns(f"-L, table of {short(size)}", run.rounds_at(size)):
        with run.attempt(f"-L, table of {short(size)}, {kind}"):
            run.results.add(kind, list_table(kind, run.namespace, size), size)


def _measure_all(run: Run, size: int) -> None:
    saved = run.bed.directory / "saved"
    refused: set[str] = set()
    for kind in run.turns(f"commands, table of {short(size)}", run.rounds_at(size)):
        refusals: set[str] = set()
        with run.attempt(f"commands, table of {short(size)}, {kind}"):
            figures = run_commands(kind, run.namespace, size, saved, refusals)
            run.results.add(kind, {"-C wall": figures.pop("-C wall")})
            run.results.add(kind, figures, size)
            if kind == OURS:
                run.results.add(kind, list_as_json(run.namespace, size), size)
        refused |= {f"table of {short(size)}: {refusal}" for refusal in refusals}
    run.results.refusals += sorted(refused)


def _interpreter() -> float:
    """Milliseconds that Python takes to start and do nothing, the least of some."""
    times = []
    for _ in range(_STARTS):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", ""], check=True)
        times.append((time.perf_counter() - begin) * 1e3)
    return min(times)
