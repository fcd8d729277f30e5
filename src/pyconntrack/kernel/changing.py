# SPDX-License-Identifier: GPL-2.0-or-later
"""What is selected, changed or deleted: dump, select, send, a batch at a time."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.changes import FlowChange, set_aside
from pyconntrack.core.netlink_receiver import NetlinkReceiver
from pyconntrack.core.requests import RequestBatch, collect_flows
from pyconntrack.kernel.dump import Dump
from pyconntrack.kernel.errors import conntrack_error
from pyconntrack.kernel.selection import match_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyconntrack.kernel.selection import Selection
    from pyconntrack.kernel.socket import ConntrackSocket

# linux/netfilter/nfnetlink_conntrack.h
NEW, GET, DELETE = 0, 1, 2
# Bytes of requests whose answers are flows, and the buffer that these take: a page each, and bookkeeping.
QUESTION_BYTES = 16384
ANSWER_BUFFER = 1024 * 1024


class Step(NamedTuple):
    """What became of one batch of the flows that were selected."""

    flows: FlowBatch
    """Those that were changed or deleted, as they were found before."""
    refused: FlowBatch
    """Those that the kernel did not change or delete."""
    errors: list[int]
    """Why: an errno for each that was refused. ENOENT: it had ended meanwhile."""


Send = Callable[[FlowBatch, int, int], list[tuple[int, int]]]
"""A request for each flow of a batch: batch, command, flags. The index and errno of those that failed."""

Read = Callable[[FlowBatch], FlowBatch]
"""The flows of a batch as they are now, without those that ended."""


def delete_steps(socket: ConntrackSocket, selected: Selection | None, send: Send) -> Iterator[Step]:
    """Delete what is selected, as it comes out of a dump on `socket`. Raises ConntrackError."""
    for batch in Dump(socket, selected):
        yield done(batch, send(batch, DELETE, 0))


def update_steps(
    socket: ConntrackSocket, selected: Selection | None, change: FlowChange, send: Send, read: Read
) -> Iterator[Step]:
    """Change what is selected; flows that would stay as they are are left out. Raises ConntrackError."""
    match, requests = match_of(selected), FlowBatch()
    for batch in Dump(socket, match):
        change.prepare(batch, requests)
        if not len(batch):
            continue
        step = done(batch, send(requests, NEW, 0))
        if errno.EBUSY in step.errors:
            # A request has the whole status: without a bit that the kernel set meanwhile, it is refused.
            busy = taken_out(step, errno.EBUSY)
            now = read(busy)
            match.select(now)
            change.prepare(now, requests)
            add_to(step, done(now, send(requests, NEW, 0)))
        yield step


def taken_out(step: Step, number: int) -> FlowBatch:
    """Take the flows that were refused with this errno out of a step."""
    taken = FlowBatch()
    set_aside(step.refused, [index for index, error in enumerate(step.errors) if error == number], taken)
    step.errors[:] = [error for error in step.errors if error != number]
    return taken


def add_to(step: Step, other: Step) -> None:
    """Add what another step did."""
    step.flows.extend(other.flows)
    step.refused.extend(other.refused)
    step.errors.extend(other.errors)


def done(batch: FlowBatch, failed: list[tuple[int, int]]) -> Step:
    """The step with what was refused set aside."""
    refused = FlowBatch()
    set_aside(batch, [index for index, _ in failed], refused)
    return Step(batch, refused, [number for _, number in failed])


def count_done(steps: Iterator[Step], ignored: int = 0) -> int:
    """Take all steps; how many flows were done.

    Raises ConntrackError at the end where flows were refused for another reason than `ignored` or ENOENT.
    """
    count, reason = 0, 0
    for step in steps:
        count += len(step.flows)
        for number in step.errors:
            if number not in (errno.ENOENT, ignored):
                reason = reason or number
    if reason:
        raise conntrack_error(reason)
    return count


def reread(socket: ConntrackSocket, batch: FlowBatch, requests: RequestBatch) -> FlowBatch:
    """The flows of a batch as they are now, without those that ended. Raises ConntrackError.

    `requests`, of QUESTION_BYTES, is what they are asked by.
    """
    socket.set_receive_buffer(ANSWER_BUFFER)
    receiver = NetlinkReceiver(socket.fileno())
    found = FlowBatch(len(batch))
    start = 0
    while start < len(batch):
        requests.clear(socket.next_sequence(requests.most))
        start = requests.add_flows(batch, start, GET, 0)
        try:
            requests.send(socket.fileno())
            failed = collect_flows(requests, receiver, found)
        except OSError as error:
            raise conntrack_error(error.errno or 0) from error
        for _, number in failed:
            if number != errno.ENOENT:
                raise conntrack_error(number)
    return found
