# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the kernel's events as many short connections make them. A process of its own, inside a namespace.

`python -m bench.short_connections RATE SECONDS` makes RATE events a second and prints, as JSON, how many it
made in which time. Each connection is born, answered, established, closed from both ends, and removed; some
thousands live at any time.
"""

from __future__ import annotations

import json
import socket
import sys
import time

from bench.flows import ASSURED, CONFIRMED, SEEN_REPLY, add_flow
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.kernel_codec import encode, prepare_creates
from pyconntrack.core.netlink import acknowledgement, messages
from pyconntrack.kernel.socket import HEADER_SIZE, NLMSG_ERROR, ConntrackSocket
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
_TIMEOUT = 120
_ANSWERS_EVERY = 500


def _encoded_steps() -> list[list[bytes]]:
    """For each step of a life, the request of each tuple."""
    steps = []
    for state, status, _ in _LIFE:
        batch = FlowBatch(_TUPLES)
        for number in range(_TUPLES):
            add_flow(batch, number, 2, state=state, status=status, timeout=_TIMEOUT)
        prepare_creates(batch)
        flags = NLM_F_CREATE | NLM_F_EXCL if state == 1 else 0
        steps.append([encode(batch, number, NEW, flags, 1) for number in range(_TUPLES)])
    steps.append([encode(batch, number, DELETE, 0, 1) for number in range(_TUPLES)])
    return steps


def _datagrams() -> list[bytes]:
    """One round through all tuples in the steady state: beside each birth, the later steps of others."""
    steps = _encoded_steps()
    delays = [*(delay for _, _, delay in _LIFE), _REMOVED_AFTER]
    rounds = []
    for first in range(0, _TUPLES, _CONNECTIONS_AT_ONCE):
        numbers = range(first, first + _CONNECTIONS_AT_ONCE)
        rounds.append(
            b"".join(
                step[(number - delay) % _TUPLES]
                for step, delay in zip(steps, delays, strict=True)
                for number in numbers
            )
        )
    return rounds


def _count_refused(answers: socket.socket) -> int:
    refused = 0
    while True:
        try:
            answer = answers.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return refused
        for kind, flags, _, message in messages(answer):
            if kind == NLMSG_ERROR and acknowledgement(message[HEADER_SIZE:], flags)[0]:
                refused += 1


def main(rate: int, seconds: float) -> None:
    """Make the events and print what was made."""
    datagrams = _datagrams()
    requests_each = _CONNECTIONS_AT_ONCE * (len(_LIFE) + 1)
    pause = requests_each / rate
    sent = refused = 0
    with ConntrackSocket(receive_buffer=16 * 2**20) as kernel:
        begin = due = time.perf_counter()
        end = begin + seconds
        while due < end:
            kernel.socket.send(datagrams[sent % len(datagrams)])
            sent += 1
            if sent % _ANSWERS_EVERY == 0:
                refused += _count_refused(kernel.socket)
            due += pause
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
        took = time.perf_counter() - begin
        refused += _count_refused(kernel.socket)
    print(json.dumps({"events": sent * requests_each - refused, "refused": refused, "seconds": took}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
