# SPDX-License-Identifier: GPL-2.0-or-later
"""Run many seeds of the simulation: python -m tests.replication.simulate --seeds 1000"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator

from tests.replication.simulation import Result, Simulation

VARIANTS = {"ftfw": (True, False), "notrack": (True,), "alarm": (True,)}
NODES = (2, 3, 4)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.replication.simulate", description=__doc__)
    parser.add_argument(
        "--seeds", type=int, default=100, metavar="N", help="how many seeds of each kind to run"
    )
    parser.add_argument("--first", type=int, default=0, metavar="S", help="the first of them")
    parser.add_argument("--seed", type=int, metavar="S", help="run this one only")
    parser.add_argument("--nodes", type=int, choices=(2, 3, 4), help="all where it is left out")
    parser.add_argument(
        "--crowd", type=int, default=0, metavar="N", help="give the first node so many flows, and cut it off"
    )
    parser.add_argument("--mode", choices=tuple(VARIANTS), help="all where it is left out")
    parser.add_argument("--no-digests", action="store_true", help="only runs where no node says its digest")
    parser.add_argument("--verbose", action="store_true", help="trace every step")
    parser.add_argument(
        "--keep-going", action="store_true", help="count failures instead of stopping at the first"
    )
    return parser.parse_args()


def runs(arguments: argparse.Namespace) -> Iterator[Simulation]:
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    if arguments.seed is not None:
        seeds = range(arguments.seed, arguments.seed + 1)
    trace = print if arguments.verbose else None
    sizes = (arguments.nodes,) if arguments.nodes else NODES
    for seed, nodes in itertools.product(seeds, sizes):
        for mode in (arguments.mode,) if arguments.mode else VARIANTS:
            for digests in VARIANTS[mode]:
                # What another node has acknowledged nobody sends again to one that was not heard for long.
                if not (arguments.no_digests and digests) and (digests or nodes == 2):
                    if arguments.seed is not None and arguments.mode and digests == arguments.no_digests:
                        continue
                    yield Simulation(seed, mode, digests, trace, nodes=nodes, crowd=arguments.crowd)


def report(results: list[Result], seconds: float) -> None:
    print(f"{len(results)} runs in {seconds:.1f} s")
    for mode, nodes in itertools.product(VARIANTS, NODES):
        times = sorted(
            result.seconds_to_converge for result in results if (result.mode, result.nodes) == (mode, nodes)
        )
        if times:
            middle, last = times[len(times) // 2], times[-1]
            print(f"{mode}, {nodes} nodes: equal after {middle:.1f} s (median), {last:.1f} s (longest)")
    for name in ("datagrams", "flows", "resyncs", "overruns", "restarts"):
        print(f"{name}: {sum(getattr(result, name) for result in results)}")


def main() -> int:
    arguments = parse_arguments()
    results, failed = [], []
    begin = time.monotonic()
    for simulation in runs(arguments):
        try:
            results.append(simulation.run())
        except Exception as error:
            failed.append(simulation.seed)
            print(f"{simulation.command}: {error!r:.300}")
            if not arguments.keep_going:
                raise
    report(results, time.monotonic() - begin)
    if failed:
        print(f"failed: {len(failed)} runs, seeds {failed[:20]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
