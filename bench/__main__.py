# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the benchmarks, print the tables, write the page. Exit status 0 when all could be measured."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.command_runs import measure_commands
from bench.event_jobs import measure_client, measure_events
from bench.fail_over import measure_fail_over
from bench.machine import load, machine
from bench.memory_jobs import measure_memory
from bench.page import growth, page, short_table, table, with_table
from bench.pressure_jobs import measure_burst, measure_pressure
from bench.results import Results
from bench.rows import GROUPS
from bench.run import Run, say, short
from bench.table_jobs import measure_tables
from testbed import PrivilegeError, Testbed, require_root

_DOCS = Path(__file__).resolve().parents[1] / "docs"
_README = _DOCS.parent / "README.md"
_SIZES = (10_000, 100_000, 1_000_000, 4_000_000)
_RATES = (10_000, 50_000, 100_000)
_FAILED, _CANNOT_RUN, _INTERRUPTED = 1, 2, 130

JOBS: dict[str, Callable[[Run], None]] = {
    "commands": measure_commands,
    "tables": measure_tables,
    "events": measure_events,
    "client": measure_client,
    "pressure": measure_pressure,
    "burst": measure_burst,
    "memory": measure_memory,
    "fail-over": measure_fail_over,
}
"""In the order in which they run."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        results = _results(options)
    except (PrivilegeError, OSError, ValueError) as error:
        print(f"bench: cannot run here: {error}", file=sys.stderr)
        return _CANNOT_RUN
    except KeyboardInterrupt:
        return _INTERRUPTED
    _print(results)
    if options.output is not None:
        write(results, options.output)
    return _FAILED if results.failures else 0


def _results(options: argparse.Namespace) -> Results:
    if options.earlier is not None:
        return Results.load(options.earlier)
    require_root()
    return _measure(options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Our conntrack and conntrackd and the C ones, measured in turn. A whole run writes "
        "docs/benchmarks.* and the README's figures.",
    )
    parser.add_argument(
        "--only", metavar="JOB,...", type=_jobs, default=list(JOBS), help=f"of: {', '.join(JOBS)}"
    )
    parser.add_argument(
        "--sizes", metavar="FLOWS,...", type=_sizes, help="flows in a table (all of 10k,100k,1M,4M)"
    )
    parser.add_argument(
        "--rates", metavar="EVENTS,...", type=_sizes, default=list(_RATES), help="events a second"
    )
    parser.add_argument("--rounds", type=int, help="runs of each short job (3); of long ones fewer")
    parser.add_argument("--seconds", type=float, help="length of a short event stream (4)")
    parser.add_argument("--quick", action="store_true", help="small and rough: 20k, 1 round, 1 second")
    parser.add_argument("--output", type=Path, help="where the page goes, if it is not a whole run")
    parser.add_argument(
        "--earlier",
        type=Path,
        metavar="FILE",
        help="write the page of the figures of a run, in build/benchmarks.json",
    )
    options = parser.parse_args(arguments)
    usual = ([20_000], 1, 1.0) if options.quick else (list(_SIZES), 3, 4.0)
    for name, value in zip(("sizes", "rounds", "seconds"), usual, strict=True):
        if getattr(options, name) is None:
            setattr(options, name, value)
    whole = options.only == list(JOBS) and options.sizes == list(_SIZES) and options.rates == list(_RATES)
    if whole and options.output is None:
        options.output = _DOCS
    return options


def _jobs(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in JOBS:
            raise argparse.ArgumentTypeError(f"no job {name}; there are {', '.join(JOBS)}")
    return names


def _sizes(text: str) -> list[int]:
    units = {"k": 1_000, "M": 1_000_000}
    try:
        return sorted(int(part.rstrip("kM")) * units.get(part[-1:], 1) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: wanted are numbers such as 10000, 10k, 1M") from None


def _measure(options: argparse.Namespace) -> Results:
    begin = time.monotonic()
    results = Results(circumstances=[*machine(), load()])
    with Testbed() as bed:
        run = Run(bed, options.sizes, options.rates, options.rounds, options.seconds, results)
        for name in options.only:
            started = time.monotonic()
            with run.attempt(name):
                JOBS[name](run)
            say(f"{name} took {time.monotonic() - started:.0f} s")
            if options.output is not None:
                # After each job, since all of them take long: for --earlier, if the run ends before its time.
                results.save(_saved(options.output))
    results.circumstances.append(
        f"tables of {', '.join(map(short, options.sizes))} flows; rounds: {options.rounds}; "
        f"{(time.monotonic() - begin) / 60:.1f} minutes in all"
    )
    say(results.circumstances[-1])
    return results


def _saved(output: Path) -> Path:
    """Where the bare figures go: beside the page, but not into the project's documents."""
    directory = _DOCS.parent / "build" if output.resolve() == _DOCS else output
    return directory / "benchmarks.json"


def _print(results: Results) -> None:
    for group in GROUPS:
        for part in (table(group.rows, results), growth(group, results)):
            if part:
                print(part.rstrip(), end="\n\n")
    for line in (*results.refusals, *results.failures):
        print(f"failed: {line}")


def write(results: Results, directory: Path) -> None:
    """The page and the picture; and the README's main lines, where the page is the project's."""
    # Only a page needs matplotlib.
    from bench.plot import draw

    draw(results, directory / "benchmarks.svg")
    (directory / "benchmarks.md").write_text(page(results))
    if directory.resolve() == _DOCS:
        _README.write_text(with_table(_README.read_text(), short_table(results)))


if __name__ == "__main__":
    sys.exit(main())
