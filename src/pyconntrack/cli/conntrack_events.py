# SPDX-License-Identifier: GPL-2.0-or-later
"""`conntrack -E`: what happens, until a signal ends it."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyconntrack.cli.conntrack_messages import say, tell
from pyconntrack.cli.conntrack_output import ExpectationOutput, FlowOutput
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.command_line import (
    EVENTS_DESTROY,
    EVENTS_NEW,
    EVENTS_UPDATE,
    TABLE_EXPECT,
    CommandLine,
)
from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.kernel.errors import MessagesLostError
from pyconntrack.kernel.events import EventStream
from pyconntrack.kernel.expectation_events import ExpectationEvents
from pyconntrack.kernel.socket import DEFAULT_BUFFER
from pyconntrack.kernel.stream import B, E, Stream

if TYPE_CHECKING:
    from types import FrameType

    from pyconntrack.cli.conntrack_output import Output

# Seconds after a printing in which events may gather: one that comes alone is printed at once, and many cost
# a wake-up for each such span and not for each event.
_GATHERING = 0.001
# Of an option of a socket, which is an int.
_MOST_BYTES = 2**31 - 1
_OVERRUN = """\
WARNING: We have hit ENOBUFS! We are losing events.
This message means that the current netlink socket buffer size is too small.
Please, check --buffer-size in conntrack(8) manpage.
"""


def follow(line: CommandLine) -> int:
    """`-E`: print events until SIGINT or SIGTERM."""
    if line.table == TABLE_EXPECT:
        told = ExpectationOutput(line, events=True, framed=True)
        with _stopped() as stop, ExpectationEvents() as expectations:
            _print(expectations, ExpectationBatch(), told, stop)
        say(f"{told.count} expectation events have been shown.")
        return 0
    output = FlowOutput(line, events=True, framed=True)
    with _stopped() as stop, _stream_of_flows(line) as events:
        _tell_buffer(line, events)
        _print(events, FlowBatch(), output, stop)
    say(f"{output.count} flow events have been shown.")
    return 0


def _print(events: Stream[B, E], batch: B, output: Output[B], stop: int) -> None:
    while _wait(events, stop):
        try:
            events.read(batch)
        except MessagesLostError:
            tell(_OVERRUN)
        output.write(batch)
        sys.stdout.flush()
        batch.clear()
        time.sleep(_GATHERING)
    output.end()


def _stream_of_flows(line: CommandLine) -> EventStream:
    wanted = line.events or EVENTS_NEW | EVENTS_UPDATE | EVENTS_DESTROY
    return EventStream(
        new=bool(wanted & EVENTS_NEW),
        update=bool(wanted & EVENTS_UPDATE),
        destroy=bool(wanted & EVENTS_DESTROY),
        receive_buffer=DEFAULT_BUFFER if line.buffer_size is None else min(line.buffer_size, _MOST_BYTES),
        selected=line.match,
    )


def _tell_buffer(line: CommandLine, events: EventStream) -> None:
    """What came of `-b`, in the kernel's measure, which is twice what was asked for."""
    if line.buffer_size is not None:
        size = 2 * events.socket.receive_buffer
        tell(f"NOTICE: Netlink socket buffer size has been set to {size} bytes.\n")


def _wait(events: Stream[B, E], stop: int) -> bool:
    """Wait for events; False where a signal asked for the end."""
    ready, _, _ = select.select([events.fileno(), stop], [], [])
    return stop not in ready


@contextmanager
def _stopped() -> Iterator[int]:
    """A descriptor that becomes readable on SIGINT or SIGTERM; no event is interrupted in its printing."""
    reader, writer = os.pipe()

    def ask(_number: int, _frame: FrameType | None) -> None:
        os.set_blocking(writer, False)
        os.write(writer, b"\0")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
