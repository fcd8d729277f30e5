# SPDX-License-Identifier: GPL-2.0-or-later
"""A full table and two daemons: into the internal cache, to the peer in bulk, into the peer's kernel.

Times are microseconds for each flow, of CPU time where the name says nothing else; memory is in bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.kernel_limits import bare_dump, flush_table, load_table, room_for
from bench.node import Node, Site
from bench.results import LIMIT, Figures
from bench.run import LARGE, Run, say, short


def measure_tables(run: Run) -> None:
    for size in run.sizes:
        with run.attempt(f"a table of {short(size)}"), room_for(2 * size + 32_768):
            _measure_table(run, size)
            flush_table(run.sites[0].namespace)


def _measure_table(run: Run, size: int) -> None:
    say(f"loading {short(size)} flows")
    namespace = run.sites[0].namespace
    wall, processor = load_table(namespace, size)
    limits = {"insert wall": wall / size * 1e6, "insert": processor / size * 1e6}
    wall, processor = bare_dump(namespace)
    run.results.add(LIMIT, limits | {"dump wall": wall / size * 1e6, "dump": processor / size * 1e6}, size)
    for kind in run.turns(f"daemons, table of {short(size)}", run.rounds_at(size)):
        with run.attempt(f"daemons, table of {short(size)}, {kind}"):
            for figures in replicate_table(kind, run.sites, size):
                run.results.add(kind, figures, size)
        flush_table(run.sites[1].namespace)


def replicate_table(kind: str, sites: tuple[Site, Site], flows: int) -> Iterator[Figures]:
    """Step by step, so that what could be measured is told if a later step fails."""
    with Node(kind, sites[1], flows) as receiver:
        empty, started = receiver.private_memory(), receiver.processor_seconds()
        with Node(kind, sites[0], flows) as sender:
            sender.wait_for("internal", flows)
            sender.rest()
            yield {
                # What the start took besides is that of the other one, whose table is empty.
                "population": (sender.processor_seconds() - started) / flows * 1e6,
                "internal memory": (sender.private_memory() - empty) / flows,
            }
            if flows <= LARGE:
                yield _bulk(sender, receiver, flows)
                yield {"external memory": (receiver.private_memory() - empty) / flows}
                yield _commit(receiver, flows) | {"daemon memory": receiver.private_memory() / 1e6}


def _bulk(sender: Node, receiver: Node, flows: int) -> Figures:
    # Ours sends what it finds at its start at once.
    receiver.command("-f", "external")
    receiver.wait_for("external", 0)
    receiver.rest()
    before = sender.processor_seconds(), receiver.processor_seconds()
    begin = time.perf_counter()
    sender.command("-B")
    receiver.wait_for("external", flows)
    took = time.perf_counter() - begin
    sender.rest()
    receiver.rest()
    return {
        "bulk sender": (sender.processor_seconds() - before[0]) / flows * 1e6,
        "bulk receiver": (receiver.processor_seconds() - before[1]) / flows * 1e6,
        "bulk wall": took / flows * 1e6,
    }


def _commit(receiver: Node, flows: int) -> Figures:
    before = receiver.processor_seconds()
    begin = time.perf_counter()
    receiver.command("-c")
    took = time.perf_counter() - begin
    processor = receiver.processor_seconds() - before
    receiver.wait_for("internal", flows)
    receiver.rest()
    return {
        "commit wall": took / flows * 1e6,
        "commit": processor / flows * 1e6,
        "commit followed": (receiver.processor_seconds() - before) / flows * 1e6,
    }
