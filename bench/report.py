# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures as a Markdown page."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.jobs import Figures
from bench.node import OURS, THEIRS

Results = dict[str, list[Figures]]


@dataclass(frozen=True)
class Row:
    """A line of the table.

    `budget` is in parts of the C daemon's figure, if `absolute` in the row's unit; None where there is none.
    """

    title: str
    figure: str
    unit: str
    budget: float | None
    absolute: bool = False
    limit: str = ""


DAEMON_ROWS = (
    Row("replicated event, sender", "event sender", "µs CPU", 0.5),
    Row("replicated event, receiver", "event receiver", "µs CPU", 0.5),
    Row("flow from the kernel's table into the internal cache", "population", "µs CPU", 0.7, limit="dump"),
    Row("bulk (`-B`), flow, sender", "bulk sender", "µs CPU", 0.7),
    Row("bulk (`-B`), flow, receiver", "bulk receiver", "µs CPU", 0.7),
    Row("bulk (`-B`), flow, until the peer has it", "bulk wall", "µs wall", None),
    Row("commit (`-c`), flow", "commit", "µs CPU", 4.5, absolute=True, limit="insert"),
    Row("commit (`-c`), flow", "commit wall", "µs wall", 4.5, absolute=True, limit="insert wall"),
    Row("commit and the events of it, flow", "commit followed", "µs CPU", 0.7),
    Row("memory per flow, internal cache", "internal memory", "bytes", 160, absolute=True),
    Row("memory per flow, external cache", "external memory", "bytes", 160, absolute=True),
    Row("client command `-s`", "client", "ms CPU", 50, absolute=True, limit="interpreter"),
    Row("client command `-s`", "client wall", "ms wall", 50, absolute=True),
)

COMMAND_ROWS = (
    Row("`-L`, flow", "-L wall", "µs wall", 1 / 2.2, limit="dump"),
    Row("`-L`, flow", "-L user", "µs CPU of its own", 1 / 6),
    Row("`-L`, all", "-L memory", "MB resident", 60, absolute=True),
    Row("`-L -o xml`, flow", "-L -o xml wall", "µs wall", 1 / 3, limit="dump"),
    Row("`-L -o xml`, all", "-L -o xml memory", "MB resident", 60, absolute=True),
    Row("`-L -o save`, flow", "-L -o save wall", "µs wall", 1 / 3, limit="dump"),
    Row("`-L -o save`, all", "-L -o save memory", "MB resident", 60, absolute=True),
    Row("`-L -o json`, flow", "-L -o json wall", "µs wall", None, limit="dump"),
    Row("`-R`, flow", "-R wall", "µs wall", 1 / 2.5, limit="insert wall"),
    Row("`-R`, all", "-R memory", "MB resident", 60, absolute=True),
    Row("`-U`, flow of all by a filter", "-U wall", "µs wall", 1 / 1.5),
    Row("`-U`, all", "-U memory", "MB resident", 60, absolute=True),
    Row("`-D`, flow of all by a filter", "-D wall", "µs wall", 1 / 1.5),
    Row("`-D`, all", "-D memory", "MB resident", 60, absolute=True),
    Row("`-C` of an empty table", "-C wall", "ms wall", 50, absolute=True, limit="interpreter"),
)


_PAGE = """\
# Benchmarks

Made by `make bench`, every figure by one run of it. Medians of {rounds} rounds, ours and C in turn, with half
the distance between the lowest and the highest.

{machine}
## conntrack

The commands on a table of {command_flows:,} established IPv4 TCP connections; what they print goes to
/dev/null, what `-R` reads was written by `-L -o save`.

{commands}
- None: what the C tool cannot do.{failures}
- Resident: the most that the process held in memory at any time (VmHWM).
- The limit: the kernel's dump, received and discarded; its inserts, batched, by a bare loop; the Python
  interpreter, started to do nothing.

## conntrackd

Two daemons of a kind replicate in mode FTFW over UDP between two network namespaces of one machine.

{daemons}
- Event: short TCP connections made through ctnetlink, seven events each (new, five updates, destroy), for
  {seconds:g} s at {rates} events a second. CPU time of the whole daemon, user and system, divided by
  the number of events.
- Flow: {flows:,} established IPv4 TCP connections. A sender's time includes the network stack of both ends,
  since a veth pair delivers in the sender's time. Ours sends what it finds in the kernel's table at its start
  to the peers at once, and that is in its figure for the internal cache; the C daemon does not.
- Memory: growth of the daemon's private memory (RssAnon), divided by the number of flows.
- Commit: ours follows the events of its own commit, and tells its peer, while it commits; the C daemon does
  that afterwards, which only the third row of it counts. The wall clock has the wait for a processor in it,
  which other processes share.
- The limit: as above.
"""


@dataclass(frozen=True)
class Circumstances:
    """What the figures were measured under."""

    flows: int
    command_flows: int
    rounds: int
    rate: int
    seconds: float
    buckets: int
    load: float
    failures: frozenset[str]
    """What the C tool said where it failed."""


def median(results: list[Figures], figure: str) -> float:
    return statistics.median(result[figure] for result in results)


def spread(results: list[Figures], figure: str) -> float:
    """How far the runs lie apart, in parts of their median."""
    values = [result[figure] for result in results]
    middle = statistics.median(values)
    # A time below the clock's tick is 0.
    return (max(values) - min(values)) / middle if middle else 0.0


def table(rows: Sequence[Row], results: Results, limits: Figures) -> str:
    """The Markdown table, with a header."""
    lines = [
        "| per | unit | pyconntrack | C | ratio | wanted | reached | the limit |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    lines += [_line(row, results, limits) for row in rows]
    return "\n".join(lines) + "\n"


def _line(row: Row, results: Results, limits: Figures) -> str:
    digits = 0 if row.unit == "bytes" else 2
    ours = median(results[OURS], row.figure)
    cells = [row.title, row.unit, f"{ours:.{digits}f} ± {spread(results[OURS], row.figure) * 50:.0f} %"]
    wanted = reached = ratio = ""
    theirs_text = "none"
    if row.figure in results[THEIRS][0]:
        theirs = median(results[THEIRS], row.figure)
        theirs_text = f"{theirs:.{digits}f} ± {spread(results[THEIRS], row.figure) * 50:.0f} %"
        ratio = f"{ours / theirs:.2f}" if theirs else ""
        if row.budget is not None:
            budget = row.budget if row.absolute else row.budget * theirs
            wanted, reached = f"{budget:.{digits}f}", "yes" if ours <= budget else "no"
    limit = f"{limits[row.limit]:.2f}" if row.limit else ""
    return f"| {' | '.join([*cells, theirs_text, ratio, wanted, reached, limit])} |"


def page(results: Results, limits: Figures, circumstances: Circumstances) -> str:
    """The whole page."""
    rates = [f"{median(results[kind], 'event rate'):,.0f} ({kind})" for kind in results]
    return _PAGE.format(
        rounds=circumstances.rounds,
        machine=_machine(circumstances),
        commands=table(COMMAND_ROWS, results, limits),
        daemons=table(DAEMON_ROWS, results, limits),
        seconds=circumstances.seconds,
        rates=" and ".join(rates),
        flows=circumstances.flows,
        command_flows=circumstances.command_flows,
        failures="".join(f" `{text}`." for text in sorted(circumstances.failures)),
    )


def _machine(circumstances: Circumstances) -> str:
    return (
        f"- {_processor()}, {os.cpu_count()} cores; Linux {platform.release()}\n"
        f"- {circumstances.buckets:,} hash buckets in the kernel's table\n"
        f"- Python {platform.python_version()}, {_c_version()}\n"
        f"- load average of the machine at the end: {circumstances.load:.1f}\n"
    )


def _processor() -> str:
    match = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.machine()


def _c_version() -> str:
    said = subprocess.run(["/usr/sbin/conntrackd", "-v"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"v([\d.]+\d)", said)
    return f"conntrackd {match[1]}" if match else "conntrackd of unknown version"
