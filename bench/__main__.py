# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the benchmarks, print the table, write the page. Exit status 0 when all could be measured."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.command_jobs import list_as_json, run_commands
from bench.jobs import Figures, machine_load, replicate_events, replicate_table, run_client
from bench.kernel_limits import NoRoomError, bare_dump, flush_table, load_table, room_for
from bench.node import KINDS, OURS, Site
from bench.report import COMMAND_ROWS, DAEMON_ROWS, Circumstances, Results, page, table
from testbed import (
    CommandFailedError,
    DaemonDiedError,
    PrivilegeError,
    Testbed,
    WaitTimeoutError,
    require_root,
    veth,
)

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
_ADDRESSES = ("10.254.0.1", "10.254.0.2")
_FAILED, _CANNOT_RUN, _INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        require_root()
        results, limits, circumstances = _measure(options)
    except (PrivilegeError, NoRoomError) as error:
        print(f"bench: cannot run here: {error}", file=sys.stderr)
        return _CANNOT_RUN
    except (CommandFailedError, DaemonDiedError, WaitTimeoutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    print(table(COMMAND_ROWS, results, limits), table(DAEMON_ROWS, results, limits), sep="\n", end="")
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(page(results, limits, circumstances))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description="Our conntrack and conntrackd and the C ones, measured in turn."
    )
    parser.add_argument(
        "--quick", action="store_true", help="small and rough, under a minute; writes no page"
    )
    parser.add_argument("--flows", type=int, help="flows in the daemons' full table (500000)")
    parser.add_argument("--command-flows", type=int, help="flows in the commands' full table (1000000)")
    parser.add_argument("--rounds", type=int, help="runs of each job (3)")
    parser.add_argument("--seconds", type=float, help="length of an event stream (5)")
    parser.add_argument("--rate", type=int, default=50_000, help="events a second (%(default)s)")
    parser.add_argument("--output", type=Path, help="where the page goes (docs/benchmarks.md)")
    options = parser.parse_args(arguments)
    usual = (20_000, 20_000, 1, 2.0, None) if options.quick else (500_000, 1_000_000, 3, 5.0, _PAGE)
    for name, value in zip(("flows", "command_flows", "rounds", "seconds", "output"), usual, strict=True):
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _measure(options: argparse.Namespace) -> tuple[Results, Figures, Circumstances]:
    results: Results = {kind: [{} for _ in range(options.rounds)] for kind in KINDS}
    limits: Figures = {"interpreter": _interpreter()}
    # Both nodes may hold the table, and what the events make comes on top.
    with room_for(max(2 * options.flows, options.command_flows) + 32_768) as buckets, Testbed() as bed:
        failures = _measure_commands(bed, options, results)
        limits |= _measure_daemons(bed, options, results)
    circumstances = Circumstances(
        options.flows,
        options.command_flows,
        options.rounds,
        options.rate,
        options.seconds,
        buckets,
        machine_load(),
        failures,
    )
    return results, limits, circumstances


def _measure_commands(bed: Testbed, options: argparse.Namespace, results: Results) -> frozenset[str]:
    flows = options.command_flows
    failures: set[str] = set()
    namespace = bed.namespace("commands")
    for number in range(options.rounds):
        for kind in KINDS:
            _say(f"commands, run {number + 1}, {kind}")
            results[kind][number] |= run_commands(kind, namespace, flows, bed.directory / "saved", failures)
            if kind == OURS:
                results[kind][number] |= list_as_json(namespace, flows)
    flush_table(namespace)
    return frozenset(failures)


def _measure_daemons(bed: Testbed, options: argparse.Namespace, results: Results) -> Figures:
    sites = _sites(bed)
    for number in range(options.rounds):
        for kind in KINDS:
            _say(f"events, run {number + 1}, {kind}")
            figures = replicate_events(kind, sites, options.flows, options.rate, options.seconds)
            figures |= run_client(kind, sites[0], 10)
            results[kind][number] |= figures
    _say(f"loading {options.flows} flows")
    wall, processor = load_table(sites[0].namespace, options.flows)
    limits = {"insert wall": wall / options.flows * 1e6, "insert": processor / options.flows * 1e6}
    limits["dump"] = bare_dump(sites[0].namespace) / options.flows * 1e6
    for number in range(options.rounds):
        for kind in KINDS:
            _say(f"table, run {number + 1}, {kind}")
            figures = results[kind][number]
            figures |= replicate_table(kind, sites, options.flows, figures)
    return limits


def _interpreter() -> float:
    """Milliseconds of CPU time, near enough the wall's, that Python takes to start and do nothing."""
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", ""], check=True)
        times.append((time.perf_counter() - begin) * 1e3)
    return min(times)


def _sites(bed: Testbed) -> tuple[Site, Site]:
    one, two = bed.namespace("one"), bed.namespace("two")
    own, peer = _ADDRESSES
    veth(one, "link", two, "link", first_addresses=[f"{own}/24"], second_addresses=[f"{peer}/24"])
    return Site(one, own, peer), Site(two, peer, own)


if __name__ == "__main__":
    sys.exit(main())
