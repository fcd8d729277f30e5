# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's side: room for the flows, and what the kernel alone needs for the same work."""

from __future__ import annotations

import _socket
import contextlib
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from bench.flows import ASSURED, CONFIRMED, ESTABLISHED, SEEN_REPLY, Bytes, requests, template
from pyconntrack.core.netlink import acknowledgement, messages
from pyconntrack.core.requests import table_request
from pyconntrack.kernel.dump import NLM_F_DUMP
from pyconntrack.kernel.socket import HEADER_SIZE, NLMSG_DONE, NLMSG_ERROR, ConntrackSocket
from pyconntrack.kernel.table import GET, NEW, NLM_F_CREATE, NLM_F_EXCL, ConntrackTable
from testbed import Namespace

_SETTINGS = Path("/proc/sys/net/netfilter")
_RECEIVED = 65536
SENT = 256
"""Requests in a datagram."""
_MADE = 16 * SENT
"""Requests made at a time."""
_LONG = 100_000


class NoRoomError(RuntimeError):
    """The kernel's table is too small for the benchmark, and may not be changed from here."""


@contextlib.contextmanager
def room_for(flows: int) -> Iterator[int]:
    """Let the kernel hold `flows` flows, in as many hash buckets; yields the buckets.

    Both settings are of the whole machine, not of a namespace. They are restored afterwards, unless somebody
    else changed them meanwhile. Raises NoRoomError.
    """
    buckets = 1 << max(0, flows - 1).bit_length()
    with contextlib.ExitStack() as restored:
        try:
            restored.enter_context(_at_least("nf_conntrack_buckets", buckets))
            restored.enter_context(_at_least("nf_conntrack_max", flows))
        except OSError as error:
            raise NoRoomError(f"{flows} flows do not fit, and the setting is refused: {error}") from error
        yield _read("nf_conntrack_buckets")


def _read(name: str) -> int:
    return int((_SETTINGS / name).read_text())


@contextlib.contextmanager
def _at_least(name: str, value: int) -> Iterator[None]:
    before = _read(name)
    if before >= value:
        yield
        return
    path = _SETTINGS / name
    path.write_text(f"{value}\n")
    # The kernel may round up.
    changed = _read(name)
    try:
        yield
    finally:
        if _read(name) == changed:
            path.write_text(f"{before}\n")


def created(numbers: range, network: int = 1) -> Bytes:
    """Requests that create established connections, a row of bytes each."""
    model = template(
        NEW,
        NLM_F_CREATE | NLM_F_EXCL,
        state=ESTABLISHED,
        status=SEEN_REPLY | ASSURED | CONFIRMED,
        timeout=_LONG,
    )
    return requests(model, numbers, network)


def load_table(namespace: Namespace, count: int, network: int = 1) -> tuple[float, float]:
    """Create `count` established connections by bare batched requests.

    Returns wall and CPU seconds of the requests alone. Raises NoRoomError.
    """
    wall = processor = 0.0
    with ConntrackSocket(namespace=namespace.name, receive_buffer=2**20) as kernel:
        for first in range(0, count, _MADE):
            made = created(range(first, min(count, first + _MADE)), network)
            wall_before, processor_before = time.perf_counter(), time.thread_time()
            insert(kernel.socket, made)
            wall += time.perf_counter() - wall_before
            processor += time.thread_time() - processor_before
    return wall, processor


def insert(kernel: _socket.socket, made: Bytes) -> None:
    """Send the requests, many to a datagram. Raises NoRoomError."""
    for begin in range(0, len(made), SENT):
        kernel.send(made[begin : begin + SENT].data)
    refused = count_refused(kernel)
    if refused:
        raise NoRoomError(f"the kernel refused {refused} of {len(made)} flows")


def count_refused(answers: _socket.socket) -> int:
    """How many requests the kernel has refused since the last time, of those that want no answer else."""
    refused = 0
    while True:
        try:
            answer = answers.recv(_RECEIVED, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return refused
        for kind, flags, _, message in messages(answer):
            if kind == NLMSG_ERROR and acknowledgement(message[HEADER_SIZE:], flags)[0]:
                refused += 1


def bare_dump(namespace: Namespace) -> tuple[float, float]:
    """Dump the table and discard it unread. Returns wall and CPU seconds."""
    buffer = bytearray(_RECEIVED)
    with ConntrackSocket(namespace=namespace.name) as kernel:
        wall, processor = time.perf_counter(), time.thread_time()
        kernel.socket.send(table_request(GET, NLM_F_DUMP, kernel.next_sequence()))
        while True:
            kernel.socket.recv_into(buffer)
            if struct.unpack_from("=H", buffer, 4)[0] == NLMSG_DONE:
                return time.perf_counter() - wall, time.thread_time() - processor


def flush_table(namespace: Namespace) -> None:
    with ConntrackTable(namespace.name) as table:
        table.flush()
