# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemons' memory does when flows come and go for long, and when a table is filled again."""

from __future__ import annotations

import time
from pathlib import Path

import numpy

from bench.flows import Bytes, requests, template
from bench.kernel_limits import SENT, created, flush_table, insert, load_table, room_for
from bench.node import Node
from bench.results import OURS, THEIRS, Figures
from bench.run import Run, say
from pyconntrack.kernel.socket import ConntrackSocket
from pyconntrack.kernel.table import DELETE
from testbed import Namespace

_TABLE = 100_000
_TUPLES = 2**18
_LONG_RUN = {OURS: 100, THEIRS: 30}
"""Times the table. The C daemon would take some minutes more."""
_BEFORE = 10
"""So many of these times are before the first look."""
_AHEAD = 8 * 2**20
"""Bytes that may wait for the daemon."""
_REFILLED = 300_000


class Churn:
    """Flows through a full table: for each that is made an old one goes. As fast as the listener takes it."""

    def __init__(self, namespace: Namespace, table: int = _TABLE) -> None:
        self.table = table
        self._namespace = namespace
        self._position = 0
        ends = requests(template(DELETE, 0, state=0, status=0, timeout=0), range(_TUPLES), 1)
        births = created(range(_TUPLES))
        self._first: Bytes = births[_TUPLES - table :]
        self._rows: Bytes = numpy.hstack([births, numpy.roll(ends, table, axis=0)])

    def fill(self) -> None:
        with ConntrackSocket(namespace=self._namespace.name) as kernel:
            insert(kernel.socket, self._first)

    def exchange(self, count: int) -> None:
        """Replace so many flows, rounded up to whole datagrams."""
        with self._namespace.entered(), ConntrackSocket() as kernel:
            for _ in range(0, count, SENT):
                while _waiting() > _AHEAD:
                    time.sleep(0.001)
                kernel.socket.send(self._rows[self._position : self._position + SENT].data)
                self._position = (self._position + SENT) % _TUPLES


def _waiting() -> int:
    """Bytes of the kernel's events that wait for anybody in this thread's namespace."""
    lines = Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:]
    return max((int(line.split()[4]) for line in lines), default=0)


def measure_memory(run: Run) -> None:
    with room_for(_REFILLED + 32_768):
        for kind in run.turns("a table filled again", 1):
            with run.attempt(f"a table filled again, {kind}"):
                run.results.add(kind, _refill(run, kind))
    churn = Churn(run.sites[0].namespace)
    for kind in run.turns("a long run", 1):
        with run.attempt(f"a long run, {kind}"):
            run.results.add(kind, long_run(run, kind, churn, _LONG_RUN[kind]))


def _refill(run: Run, kind: str) -> Figures:
    """Growth by the second time, in bytes for each flow, of both caches together."""
    namespace = run.sites[0].namespace
    held = []
    with Node(kind, run.sites[0], _REFILLED) as sender, Node(kind, run.sites[1], _REFILLED) as receiver:
        for _ in range(2):
            load_table(namespace, _REFILLED)
            sender.wait_for("internal", _REFILLED)
            receiver.wait_for("external", _REFILLED)
            held.append(sender.private_memory() + receiver.private_memory())
            flush_table(namespace)
            sender.wait_for("internal", 0)
            receiver.wait_for("external", 0)
    return {"refilled": (held[1] - held[0]) / _REFILLED}


def long_run(run: Run, kind: str, churn: Churn, times: int) -> Figures:
    """Growth in MB, of both daemons, while flows went `times` times through the table."""
    table = churn.table
    with Node(kind, run.sites[0], table) as sender, Node(kind, run.sites[1], table) as receiver:
        churn.fill()
        churn.exchange(_BEFORE * table)
        before = sender.private_memory(), receiver.private_memory()
        begin = time.perf_counter()
        churn.exchange((times - _BEFORE) * table)
        rate = (times - _BEFORE) * table / (time.perf_counter() - begin)
        say(f"{kind}: {rate:,.0f} flows a second, {sender.overruns()} overruns")
        sender.wait_for("internal", table)
        receiver.wait_for("external", table)
        figures = {
            "long run sender": (sender.private_memory() - before[0]) / 1e6,
            "long run receiver": (receiver.private_memory() - before[1]) / 1e6,
        }
    flush_table(run.sites[0].namespace)
    return figures
