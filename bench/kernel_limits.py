# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's side: room for the flows, and what the kernel alone needs for the same work."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from bench.flows import established
from pyconntrack.core.requests import RequestBatch, table_request
from pyconntrack.kernel.dump import NLM_F_DUMP
from pyconntrack.kernel.socket import ConntrackSocket
from pyconntrack.kernel.table import GET, NEW, NLM_F_CREATE, NLM_F_EXCL, ConntrackTable
from testbed import Namespace

_SETTINGS = Path("/proc/sys/net/netfilter")
_DUMP_BUFFER = 65536
_NLMSG_DONE = 3


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


def load_table(namespace: Namespace, count: int) -> tuple[float, float]:
    """Create `count` established connections by bare batched requests.

    Returns wall and CPU seconds of the requests alone. Raises NoRoomError.
    """
    wall = processor = 0.0
    requests = RequestBatch()
    with ConntrackSocket(namespace=namespace.name, receive_buffer=requests.receive_buffer) as kernel:
        for batch in established(count):
            start = 0
            while start < len(batch):
                wall_before, processor_before = time.perf_counter(), time.thread_time()
                requests.clear()
                start = requests.add_flows(batch, start, NEW, NLM_F_CREATE | NLM_F_EXCL)
                requests.send(kernel.fileno())
                failed = requests.collect(kernel.fileno())
                wall += time.perf_counter() - wall_before
                processor += time.thread_time() - processor_before
                if failed:
                    raise NoRoomError(f"the kernel refused {len(failed)} flows, errno {failed[0][1]}")
    return wall, processor


def bare_dump(namespace: Namespace) -> float:
    """Dump the table and discard it unread. Returns CPU seconds."""
    buffer = bytearray(_DUMP_BUFFER)
    with ConntrackSocket(namespace=namespace.name) as kernel:
        before = time.thread_time()
        kernel.socket.send(table_request(GET, NLM_F_DUMP, kernel.next_sequence()))
        while True:
            kernel.socket.recv_into(buffer)
            if struct.unpack_from("=H", buffer, 4)[0] == _NLMSG_DONE:
                return time.thread_time() - before


def flush_table(namespace: Namespace) -> None:
    with ConntrackTable(namespace.name) as table:
        table.flush()
