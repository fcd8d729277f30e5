# SPDX-License-Identifier: GPL-2.0-or-later
"""Short connections at one node, followed by the other: what an event costs, and when the other one knows."""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import dataclass

from bench.kernel_limits import flush_table
from bench.node import Node, Site
from bench.probes import ProbeClock, ProbesLostError
from bench.results import Figures
from bench.run import Run

_FLOWS = 500_000
_WARM_UP = 0.5
_PROBES = 400
"""A second."""
_CLIENTS = 10


@dataclass(frozen=True)
class Made:
    """What the generator says of its events."""

    events: int
    """At the rate."""
    beside: int
    """Before and after it."""
    refused: int
    seconds: float
    processor: float
    probes: list[int]


def make_events(site: Site, rate: int, seconds: float, probes: int = 0) -> Made:
    command = [sys.executable, "-m", "bench.short_connections", str(rate), str(seconds), str(probes)]
    return Made(**json.loads(site.namespace.run(command, timeout=60 + 10 * seconds).stdout))


def measure_events(run: Run) -> None:
    clock = ProbeClock(run.bed.directory)
    for rate in run.rates:
        for kind in run.turns(f"{rate:,} events a second"):
            what = f"{rate:,} events a second, {kind}"
            with run.attempt(what):
                figures, probes = replicate_events(kind, run.sites, clock, rate, run.seconds)
                run.results.add(kind, figures, rate)
                try:
                    run.results.add(kind, clock.delays(probes), rate)
                except ProbesLostError as error:
                    run.fail(f"{what}: {error}")


def replicate_events(
    kind: str, sites: tuple[Site, Site], clock: ProbeClock, rate: int, seconds: float
) -> tuple[Figures, list[int]]:
    """CPU time in microseconds for each event; and when the probes began."""
    clock.reset()
    with (
        Node(kind, sites[0], _FLOWS) as sender,
        Node(kind, sites[1], _FLOWS, environment=clock.environment) as receiver,
    ):
        make_events(sites[0], rate, _WARM_UP)
        settle(sites[0], sender, receiver)
        before = sender.processor_seconds(), receiver.processor_seconds()
        made = make_events(sites[0], rate, seconds, _PROBES)
        settle(sites[0], sender, receiver)
        each = 1e6 / (made.events + made.beside)
        figures = {
            "event sender": (sender.processor_seconds() - before[0]) * each,
            "event receiver": (receiver.processor_seconds() - before[1]) * each,
            "event rate": made.events / made.seconds,
            "event generator": made.processor / made.events * 1e6,
        }
        for end in ("sender", "receiver"):
            figures[f"share {end}"] = figures[f"event {end}"] * figures["event rate"] / 1e4
        return figures, made.probes


def settle(site: Site, sender: Node, receiver: Node) -> None:
    """Let the connections that still live end, and wait until the other node knows."""
    flush_table(site.namespace)
    sender.wait_for("internal", 0)
    receiver.wait_for("external", 0)
    sender.rest()
    receiver.rest()


def measure_client(run: Run) -> None:
    """`conntrackd -s`: the client's own milliseconds, of the wall clock the median, of the CPU the mean."""
    for kind in run.turns("client commands"):
        with run.attempt(f"client commands, {kind}"):
            run.results.add(kind, _run_client(kind, run.sites[0]))


def _run_client(kind: str, site: Site) -> Figures:
    walls = []
    with Node(kind, site, 1024) as node:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(_CLIENTS):
            begin = time.perf_counter()
            node.command("-s")
            walls.append(time.perf_counter() - begin)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"client wall": sorted(walls)[_CLIENTS // 2] * 1e3, "client": used / _CLIENTS * 1e3}
