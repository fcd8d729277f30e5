# SPDX-License-Identifier: GPL-2.0-or-later
"""The measured jobs. Each runs once for one kind of daemon and returns its figures by name.

Times are microseconds of CPU time for each event or flow, where the name says nothing else;
memory is in bytes.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time

from bench.kernel_limits import flush_table
from bench.node import Node, Site

Figures = dict[str, float]

_WARM_UP = 0.5


def replicate_events(kind: str, sites: tuple[Site, Site], flows: int, rate: int, seconds: float) -> Figures:
    """Short connections at one node, followed by the other; and what the daemons hold before any flow."""
    with Node(kind, sites[0], flows) as sender, Node(kind, sites[1], flows) as receiver:
        started = {"memory empty": sender.private_memory(), "start": sender.processor_seconds()}
        _make_events(sites[0], rate, _WARM_UP)
        _settle(sites[0], sender, receiver)
        before = sender.processor_seconds(), receiver.processor_seconds()
        made, took = _make_events(sites[0], rate, seconds)
        _settle(sites[0], sender, receiver)
        return {
            "event sender": (sender.processor_seconds() - before[0]) / made * 1e6,
            "event receiver": (receiver.processor_seconds() - before[1]) / made * 1e6,
            "event rate": made / took,
        } | started


def _make_events(site: Site, rate: int, seconds: float) -> tuple[int, float]:
    """Returns how many events there were, and in which time."""
    command = [sys.executable, "-m", "bench.short_connections", str(rate), str(seconds)]
    made = json.loads(site.namespace.run(command, timeout=60 + 2 * seconds).stdout)
    return made["events"], made["seconds"]


def _settle(site: Site, sender: Node, receiver: Node) -> None:
    """Let the connections that still live end, and wait until the other node knows."""
    flush_table(site.namespace)
    sender.wait_for("internal", 0)
    receiver.wait_for("external", 0)
    sender.rest()
    receiver.rest()


def replicate_table(kind: str, sites: tuple[Site, Site], flows: int, empty: Figures) -> Figures:
    """A full table: into the internal cache, to the peer in bulk, into the peer's kernel.

    `empty` has what a start with an empty table takes, as replicate_events gives it.
    """
    figures: Figures = {}
    with Node(kind, sites[1], flows) as receiver:
        receiver_empty = receiver.private_memory()
        with Node(kind, sites[0], flows) as sender:
            sender.wait_for("internal", flows)
            sender.rest()
            figures["population"] = (sender.processor_seconds() - empty["start"]) / flows * 1e6
            figures["internal memory"] = (sender.private_memory() - empty["memory empty"]) / flows
            figures |= _bulk(sender, receiver, flows)
            figures["external memory"] = (receiver.private_memory() - receiver_empty) / flows
            figures |= _commit(receiver, flows)
    flush_table(sites[1].namespace)
    return figures


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


def run_client(kind: str, site: Site, times: int) -> Figures:
    """`conntrackd -s`: the client's own milliseconds, of the wall clock the median, of the CPU the mean."""
    walls = []
    with Node(kind, site, 1024) as node:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(times):
            begin = time.perf_counter()
            node.command("-s")
            walls.append(time.perf_counter() - begin)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"client wall": sorted(walls)[times // 2] * 1e3, "client": used / times * 1e3}


def machine_load() -> float:
    """What else runs: the load average of the last minute."""
    return os.getloadavg()[0]
