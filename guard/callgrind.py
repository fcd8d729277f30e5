# SPDX-License-Identifier: GPL-2.0-or-later
"""callgrind: what a process costs in instructions, by the object files that carry them out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_CORE = "/pyconntrack/core/"
_PYTHON = ("libpython", "/python3")
_DESCRIPTION = "desc: Trigger: Client Request: "

# valgrind(1) and callgrind.h: the requests are instructions that do nothing elsewhere.
_SWITCH = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
void end(const char *name) { CALLGRIND_DUMP_STATS_AT(name); CALLGRIND_STOP_INSTRUMENTATION; }
"""


@dataclass
class Cost:
    """What one job took: instructions of the core itself, and how often the core called Python."""

    instructions: int = 0
    python_calls: int = 0


def count_jobs(directory: Path) -> dict[str, Cost]:
    """The cost of each job of :mod:`guard.jobs`. Raises ``subprocess.CalledProcessError``."""
    switch = directory / "switch.so"
    compiler = ["gcc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(switch)]
    subprocess.run(compiler, input=_SWITCH, text=True, check=True)
    written = directory / "jobs"
    _run(["--instr-atstart=no"], written, [sys.executable, "-m", "guard.run", str(switch)])
    parts = sorted(directory.glob("jobs.*"), key=lambda path: int(path.suffix[1:]))
    return dict(read_part(part) for part in parts)


def count_process(command: Sequence[str], directory: Path) -> int:
    """All instructions of a process, from its start to its end, whoever carries them out."""
    written = directory / "process"
    _run([], written, command)
    for line in written.read_text().splitlines():
        if line.startswith("totals: "):
            return int(line.split()[1])
    raise ValueError(f"{written} has no totals")


def _run(options: Sequence[str], written: Path, command: Sequence[str]) -> None:
    callgrind = ["valgrind", "-q", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    subprocess.run(
        [*callgrind, f"--callgrind-out-file={written}", *options, *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def read_part(path: Path) -> tuple[str, Cost]:
    """The name of a job, and its cost, out of callgrind's format (valgrind's manual, chapter on it)."""
    name, cost = "", Cost()
    in_core = False
    called = ""
    lines = iter(path.read_text().splitlines())
    for line in lines:
        if line.startswith(_DESCRIPTION):
            name = line.removeprefix(_DESCRIPTION)
        elif line.startswith("ob="):
            in_core = _CORE in line
        elif line.startswith("cob="):
            called = line
        elif line.startswith("calls="):
            if in_core and _CORE not in called and any(part in called for part in _PYTHON):
                cost.python_calls += int(line[6:].split()[0])
            called = ""
            # What the callee cost stands there.
            next(lines)
        elif in_core and line[:1].isdigit():
            cost.instructions += int(line.split()[1])
    return name, cost
