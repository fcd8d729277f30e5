# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the kernel's events as many short connections make them. A process of its own, inside a namespace.

`python -m bench.short_connections RATE SECONDS [PROBES]` makes RATE events a second and prints, as JSON, how
many it made in which time, and what that took itself. Each connection is born, answered, established, closed
from both ends, and removed; some thousands live at any time. It goes before all that is no interrupt, as the
packets of connections do.

PROBES flows a second stay beside them, from 10.99.0.0/16, as many as they are numbered; the JSON tells when
each was created, in nanoseconds of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator

import numpy

from bench.flows import ASSURED, CONFIRMED, SEEN_REPLY, Bytes, requests, template
from bench.kernel_limits import count_refused, created
from pyconntrack.kernel.socket import ConntrackSocket
from pyconntrack.kernel.table import DELETE, NEW, NLM_F_CREATE, NLM_F_EXCL

# State, status bits, and how many connections later it comes; at 7,000 a second, 1000 are 0.14 seconds.
_LIFE = (
    (1, CONFIRMED, 0),  # SYN_SENT
    (2, CONFIRMED | SEEN_REPLY, 150),  # SYN_RECV
    (3, CONFIRMED | SEEN_REPLY | ASSURED, 300),  # ESTABLISHED
    (4, CONFIRMED | SEEN_REPLY | ASSURED, 1800),  # FIN_WAIT
    (6, CONFIRMED | SEEN_REPLY | ASSURED, 1950),  # LAST_ACK
    (7, CONFIRMED | SEEN_REPLY | ASSURED, 2100),  # TIME_WAIT
)
_REMOVED_AFTER = 3600
_TUPLES = 8192
_CONNECTIONS_AT_ONCE = 2
_AT_HIGH_RATES = 8
_HIGH_RATE = 100_000
_TIMEOUT = 120
_ANSWERS_EVERY = 500
_NETWORK, PROBE_NETWORK = 2, 99
MOST_PROBES = 65536


def _round() -> Bytes:
    """One round through all tuples, in the steady state: in a row, a birth and the later steps of others."""
    steps = []
    for state, status, delay in _LIFE:
        flags = 0 if delay else NLM_F_CREATE | NLM_F_EXCL
        steps.append((template(NEW, flags, state=state, status=status, timeout=_TIMEOUT), delay))
    steps.append((template(DELETE, 0, state=0, status=0, timeout=0), _REMOVED_AFTER))
    rows = [numpy.roll(requests(model, range(_TUPLES), _NETWORK), delay, axis=0) for model, delay in steps]
    return numpy.hstack(rows)


def _alive_already() -> Iterator[Bytes]:
    """Requests for the connections that were born before the round begins, in the states of their ages."""
    ends = [*(delay for _, _, delay in _LIFE[1:]), _REMOVED_AFTER]
    for (state, status, begin), end in zip(_LIFE, ends, strict=True):
        model = template(NEW, NLM_F_CREATE | NLM_F_EXCL, state=state, status=status, timeout=_TIMEOUT)
        yield requests(model, range(_TUPLES - end, _TUPLES - begin), _NETWORK)


def _go_first() -> None:
    # A user namespace's root may not.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(60))


def main(rate: int, seconds: float, probes: int) -> None:
    """Make the events and print what was made."""
    rows = _round()
    marked = created(range(min(MOST_PROBES, int(probes * seconds))), PROBE_NETWORK)
    at_once = _CONNECTIONS_AT_ONCE if rate <= _HIGH_RATE else _AT_HIGH_RATES
    requests_each = at_once * (len(_LIFE) + 1)
    pause = requests_each / rate
    sent = refused = 0
    stamps: list[int] = []
    with ConntrackSocket(receive_buffer=16 * 2**20) as kernel:
        for rows_before in _alive_already():
            for row in rows_before:
                kernel.socket.send(row.data)
        _go_first()
        begin = due = time.perf_counter()
        processor = time.process_time()
        while due - begin < seconds:
            first = sent * at_once % _TUPLES
            kernel.socket.send(rows[first : first + at_once].data)
            sent += 1
            if len(stamps) < min(len(marked), (due - begin) * probes):
                stamps.append(time.monotonic_ns())
                kernel.socket.send(marked[len(stamps) - 1].data)
            if sent % _ANSWERS_EVERY == 0:
                refused += count_refused(kernel.socket)
            due += pause
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
        took = time.perf_counter() - begin
        refused += count_refused(kernel.socket)
        processor = time.process_time() - processor
    made = {
        "events": sent * requests_each - refused,
        # The connections that were there at the beginning, and the ends of those that are left.
        "beside": 2 * (_REMOVED_AFTER + len(stamps)),
        "refused": refused,
        "seconds": took,
        "processor": processor,
        "probes": stamps,
    }
    print(json.dumps(made))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
