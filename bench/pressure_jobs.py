# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemons at their limits: the highest rate of events, and a million flows at once."""

from __future__ import annotations

import re
import time

from bench.event_jobs import make_events, settle
from bench.kernel_limits import created, flush_table, insert, room_for
from bench.node import Node
from bench.results import LIMIT, Figures
from bench.run import Run, say
from pyconntrack.kernel.socket import ConntrackSocket
from testbed import WaitTimeoutError

_MIB = 2**20
_FLOWS = 100_000
_FIRST_RATE = 60_000.0
_STEP = 1.4
_TOO_HIGH = 1_000_000
_NEAR = 0.93
_LESS = 0.9
"""So much of a rate that did not last is tried next."""
_TRIES = 6
_LASTING = 7.5
"""Times the length of a short stream."""
_HELD = 0.97
"""The part of the rate that the generator makes of it, if it can."""

_BURST = 1_000_000
_BURST_PATIENCE = 30.0
_TUPLE = re.compile(rb"src=(\S+) dst=(\S+) sport=(\d+)")


def measure_pressure(run: Run) -> None:
    made = make_events(run.sites[0], _TOO_HIGH, run.seconds / 2)
    flush_table(run.sites[0].namespace)
    run.results.add(LIMIT, {"highest rate": made.events / made.seconds})
    for kind in run.turns("highest rate of events", 1):
        with run.attempt(f"highest rate of events, {kind}"):
            run.results.add(kind, {"highest rate": _highest_rate(run, kind)})


def _highest_rate(run: Run, kind: str) -> float:
    """Events a second that a pair of daemons follows for long, without an overrun. Raises TimeoutError."""

    def passes(rate: float) -> float:
        had = _bears(run, kind, rate, run.seconds / 2)
        # A machine that stands still for a moment is no fault of the daemons.
        return had if had >= _HELD * rate else max(had, _bears(run, kind, rate, run.seconds / 2))

    bears, fails = 0.0, _FIRST_RATE
    while had := passes(fails):
        if had < _HELD * fails:
            # No more can be made beside them.
            bears = fails = had
            break
        bears, fails = fails, fails * _STEP
    while bears < _NEAR * fails:
        middle = (bears * fails) ** 0.5 if bears else fails / _STEP
        bears, fails = (middle, fails) if passes(middle) else (bears, middle)
    for _ in range(_TRIES):
        if lasted := _bears(run, kind, bears, _LASTING * run.seconds):
            return lasted
        bears *= _LESS
    raise TimeoutError(f"no rate down to {bears:,.0f} events a second lasted")


def _bears(run: Run, kind: str, rate: float, seconds: float) -> float:
    """The rate that there was, which may be less than what was wanted; 0 if the daemons did not follow."""
    # What passes with half the room for a moment will mostly pass with all of it for long.
    room = (8 if seconds > run.seconds else 4) * _MIB
    with (
        Node(kind, run.sites[0], _FLOWS, netlink_buffers=(room, room)) as sender,
        Node(kind, run.sites[1], _FLOWS) as receiver,
    ):
        made = make_events(run.sites[0], int(rate), seconds)
        overruns = sender.overruns()
        try:
            settle(run.sites[0], sender, receiver)
        except WaitTimeoutError:
            overruns += 1
    had = made.events / made.seconds
    say(f"{kind}: {had:,.0f} of {rate:,.0f} events a second for {seconds:g} s, {overruns} overruns")
    return 0.0 if overruns else had


def measure_burst(run: Run) -> None:
    with room_for(_BURST + 32_768):
        for kind in run.turns("a million new flows", 1):
            with run.attempt(f"a million new flows, {kind}"):
                run.results.add(kind, _burst(run, kind))
            flush_table(run.sites[0].namespace)


def _burst(run: Run, kind: str) -> Figures:
    made = created(range(_BURST))
    with (
        Node(kind, run.sites[0], _BURST, netlink_buffers=(2 * _MIB, 64 * _MIB)) as sender,
        Node(kind, run.sites[1], _BURST) as receiver,
        ConntrackSocket(namespace=run.sites[0].namespace.name, receive_buffer=_MIB) as kernel,
    ):
        begin = time.perf_counter()
        insert(kernel.socket, made)
        end = time.perf_counter()
        figures = {"burst insert": end - begin}
        try:
            receiver.wait_for("external", _BURST, _BURST_PATIENCE)
            figures["burst"] = time.perf_counter() - end
        except WaitTimeoutError:
            say(f"{kind}: {receiver.entries('external')} of {_BURST} flows after {_BURST_PATIENCE:g} s")
        figures["burst overruns"] = sender.overruns()
        figures["burst missing"] = _BURST - len(set(_TUPLE.findall(receiver.command("-e").encode())))
        return figures
