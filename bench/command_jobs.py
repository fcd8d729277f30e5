# SPDX-License-Identifier: GPL-2.0-or-later
"""`conntrack` under measurement, ours and the C one: what each command takes for a full table.

Figures are of whole processes. Times are microseconds for each flow, memory is in MB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.kernel_limits import flush_table, load_table
from bench.results import OURS, THEIRS, Figures
from testbed import CommandFailedError, Namespace

_COMMANDS = {OURS: [str(Path(sys.executable).parent / "conntrack")], THEIRS: ["/usr/sbin/conntrack"]}
_POLL_SECONDS = 0.005
_STARTS = 20
# Both know whom they mean by it: all flows that bench.flows makes.
_ALL = ["-s", "10.0.0.0/8"]


@dataclass(frozen=True)
class Usage:
    """What a process took: seconds of the wall clock and of CPU time, and bytes of memory at most."""

    wall: float
    user: float
    system: float
    peak: int


def run_conntrack(kind: str, namespace: Namespace, *words: str, output: Path | None = None) -> Usage:
    """Run it to its end, its output to a file or away. Raises CommandFailedError."""
    command = [*_COMMANDS[kind], *words]
    with (output or Path(os.devnull)).open("wb") as sink, namespace.entered():
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.PIPE)
    # Asked for while it runs: what the kernel tells of a dead child includes this process, before exec.
    peak = 0
    while True:
        dead, status, usage = os.wait4(process.pid, os.WNOHANG)
        if dead:
            break
        peak = max(peak, _peak_memory(process.pid))
        time.sleep(_POLL_SECONDS)
    wall = time.perf_counter() - begin
    assert process.stderr is not None
    process.returncode = os.waitstatus_to_exitcode(status)
    with process.stderr as errors:
        said = errors.read().decode()
    if process.returncode:
        raise CommandFailedError(subprocess.CompletedProcess(command, process.returncode, "", said))
    return Usage(wall, usage.ru_utime, usage.ru_stime, peak)


def _peak_memory(process: int) -> int:
    """The most that has been resident, in bytes (VmHWM, proc(5)); 0 of a process that ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except ProcessLookupError:
        return 0
    line = status.partition("VmHWM:")[2]
    return int(line.split()[0]) * 1024 if line else 0


def run_commands(kind: str, namespace: Namespace, flows: int, saved: Path, failures: set[str]) -> Figures:
    """Every command on a table of `flows` flows, which is as full afterwards. `saved` is written and read.

    What the C tool cannot do has no figure; what it says of it goes to `failures`.
    """
    figures = _start_up(kind, namespace)
    flush_table(namespace)
    load_table(namespace, flows)
    figures |= list_table(kind, namespace, flows)
    for form in ("xml", "save"):
        figures |= _figures(f"-L -o {form}", run_conntrack(kind, namespace, "-L", "-o", form), flows)
    # Apart, so that each form is measured without a file system behind it.
    run_conntrack(kind, namespace, "-L", "-o", "save", output=saved)
    try:
        figures |= _figures("-U", run_conntrack(kind, namespace, "-U", *_ALL, "-m", "7"), flows)
    except CommandFailedError as error:
        if kind == OURS:
            raise
        failures.add(str(error))
    figures |= _figures("-D", run_conntrack(kind, namespace, "-D", *_ALL), flows)
    figures |= _figures("-R", run_conntrack(kind, namespace, "-R", str(saved)), flows)
    return figures


def list_table(kind: str, namespace: Namespace, flows: int) -> Figures:
    """The table as people read it."""
    return _figures("-L", run_conntrack(kind, namespace, "-L"), flows)


def list_as_json(namespace: Namespace, flows: int) -> Figures:
    """What only ours can."""
    return _figures("-L -o json", run_conntrack(OURS, namespace, "-L", "-o", "json"), flows)


def _figures(name: str, usage: Usage, flows: int) -> Figures:
    return {
        f"{name} wall": usage.wall / flows * 1e6,
        f"{name} user": usage.user / flows * 1e6,
        f"{name} memory": usage.peak / 1e6,
    }


def _start_up(kind: str, namespace: Namespace) -> Figures:
    """`-C` on an empty table: milliseconds of the wall clock, the median."""
    flush_table(namespace)
    walls = []
    with namespace.entered():
        for _ in range(_STARTS):
            begin = time.perf_counter()
            subprocess.run([*_COMMANDS[kind], "-C"], check=True, stdout=subprocess.DEVNULL)
            walls.append(time.perf_counter() - begin)
    return {"-C wall": sorted(walls)[_STARTS // 2] * 1e3}
