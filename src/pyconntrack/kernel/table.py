# SPDX-License-Identifier: GPL-2.0-or-later
"""The connection tracking table of one network namespace."""

from __future__ import annotations

import errno

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.kernel_codec import decode, encode, prepare_creates, prepare_updates
from pyconntrack.kernel.closing import Closing
from pyconntrack.kernel.dump import Dump
from pyconntrack.kernel.errors import FlowExistsError, conntrack_error
from pyconntrack.kernel.selection import match_of
from pyconntrack.kernel.socket import DEFAULT_BUFFER, ConntrackSocket

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from pyconntrack.core.changes import FlowChange
    from pyconntrack.core.requests import RequestBatch
    from pyconntrack.kernel.changing import Step
    from pyconntrack.kernel.events import EventStream
    from pyconntrack.kernel.filter import TupleFilter
    from pyconntrack.kernel.selection import Selection
    from pyconntrack.kernel.statistics import ProcessorStatistics, TableStatistics
    from pyconntrack.model.flow import Flow
    from pyconntrack.model.tuple import Tuple

# linux/netfilter/nfnetlink_conntrack.h, linux/netlink.h
NEW, GET, DELETE = 0, 1, 2
NLM_F_ACK = 0x004
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400

# Bytes of requests in one datagram: beyond this, the cost per request falls no further.
REQUEST_BYTES = 65536
DUMP_ATTEMPTS = 5
# The release whose flush looks at CTA_FILTER, the last condition that came (nf_conntrack_netlink.c).
FLUSH_BY_FILTER = (6, 11)


class ConntrackTable(Closing):
    """The table: iterate it, read, create, change and delete flows, follow events. A context manager.

    `namespace` as for ConntrackSocket. An instance serves one thread at a time. Everything raises
    ConntrackError where the kernel refuses; reading, too, needs CAP_NET_ADMIN.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace = namespace
        self._socket = ConntrackSocket(namespace=namespace)
        self._requests: RequestBatch | None = None
        self._questions: RequestBatch | None = None

    def close(self) -> None:
        """Close the socket. Harmless a second time."""
        self._socket.close()

    # Reading.

    def __iter__(self) -> Iterator[Flow]:
        return self.dump()

    def __len__(self) -> int:
        return self.statistics().entries

    def dump(
        self,
        *,
        family: int = 0,
        mark: int | None = None,
        mark_mask: int = 0xFFFFFFFF,
        status: int | None = None,
        status_mask: int | None = None,
        zone: int | None = None,
        original: TupleFilter | None = None,
        reply: TupleFilter | None = None,
        zero_counters: bool = False,
        selected: Selection | None = None,
    ) -> Iterator[Flow]:
        """Every flow that fits, as the kernel comes to it. The conditions are those of TableFilter.

        A whole one may be given as `selected` instead; ValueError where there are both. While the table
        changes under the dump, a flow may come twice or be left out. `zero_counters` sets counters to 0 as
        they are read. The table may be changed while the dump runs.
        """
        from pyconntrack.kernel.filter import TableFilter
        from pyconntrack.model.flow import Flow

        conditions = TableFilter(family, mark, mark_mask, status, status_mask, zone, original, reply)
        if selected is None:
            selected = conditions
        elif conditions != TableFilter():
            raise ValueError("`selected` is a whole filter: put the other conditions into it")
        for batch in self.dump_batches(selected, zero_counters=zero_counters):
            for index in range(len(batch)):
                yield Flow.from_batch(batch, index)

    def dump_batches(
        self,
        selected: Selection | None = None,
        *,
        zero_counters: bool = False,
        of: Literal["table", "dying", "unconfirmed"] = "table",
        ahead: bool = False,
    ) -> Iterator[FlowBatch]:
        """The same in batches of some thousands of flows: the way for many.

        `of` is also the list of flows that ended and whose event was not delivered yet (to listeners that
        asked for reliable delivery), or of those that are not in the table yet. A socket of its own lets
        others work meanwhile. With `ahead`, a thread has the kernel prepare the next batch while one is
        worked on, which pays where the work leaves the GIL alone.
        """
        with ConntrackSocket(namespace=self.namespace) as socket:
            dump = Dump(socket, selected, zero_counters=zero_counters, of=of)
            yield from dump.read_ahead() if ahead else dump

    def dump_batch(self, selected: Selection | None = None, *, zero_counters: bool = False) -> FlowBatch:
        """The same in one batch: numpy.asarray(table.dump_batch()) is an array of all flows, without a copy.

        Begins anew where the kernel rebuilt the table meanwhile, some times; then it raises ConntrackError
        with EINTR.
        """
        for _ in range(DUMP_ATTEMPTS):
            batch = FlowBatch()
            with ConntrackSocket(namespace=self.namespace) as socket:
                dump = Dump(socket, selected, zero_counters=zero_counters)
                while dump.read(batch, len(batch) + 65536):
                    pass
                if not dump.interrupted:
                    return batch
        raise conntrack_error(errno.EINTR)

    def get(self, flow: Tuple | Flow, *, zone: int | None = None) -> Flow:
        """The flow with this original tuple, or of a Flow without one, this reply tuple.

        Raises FlowNotFoundError.
        """
        from dataclasses import replace

        from pyconntrack.model.flow import Flow
        from pyconntrack.model.names import Event

        found = FlowBatch()
        for answer in self._execute(self._named(flow, zone), GET, NLM_F_ACK):
            decode(answer, found)
        if not len(found):
            raise conntrack_error(errno.ENOENT)
        return replace(Flow.from_batch(found, 0), event=Event.NONE, origin=None)

    def statistics(self) -> TableStatistics:
        """How many flows there are and how many there may be."""
        from pyconntrack.kernel.statistics import table_statistics

        return table_statistics(self._socket)

    def processor_statistics(self) -> list[ProcessorStatistics]:
        """What each processor counted."""
        from pyconntrack.kernel.statistics import processor_statistics

        return processor_statistics(self._socket)

    # Changing.

    def create(self, flow: Flow) -> None:
        """Create a flow. It needs `original` and `timeout`; `reply` is its inverse if not given.

        Where `status` and `reply` show NAT, as in a flow that was read from a table, or `source_nat` or
        `destination_nat` is given, the kernel is asked to set up this translation. Status bits that are the
        kernel's own are left to it. Raises FlowExistsError.
        """
        batch = self._packed(flow)
        prepare_creates(batch)
        self._execute(batch, NEW, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK)

    def add(self, flow: Flow) -> bool:
        """Create a flow as create does where there is none of its tuples; False where there is one."""
        try:
            self.create(flow)
        except FlowExistsError:
            return False
        return True

    def update(self, flow: Flow) -> None:
        """Change what is given of a flow that exists; named by its original tuple, or by its reply.

        Raises FlowNotFoundError.

        NAT and the master of a flow cannot be changed, status bits cannot be unset: they are left out, or
        refused by the kernel.
        """
        batch = self._packed(flow)
        prepare_updates(batch)
        self._execute(batch, NEW, NLM_F_ACK)

    def delete(self, flow: Tuple | Flow, *, zone: int | None = None) -> None:
        """Delete a flow; a Flow with an `id` only if the kernel's has it, too. Raises FlowNotFoundError."""
        self._execute(self._named(flow, zone), DELETE, NLM_F_ACK)

    def flush(self, selected: Selection | None = None) -> None:
        """Delete all flows that fit: of all families and zones without a filter.

        In one request where the kernel decides all of it, else one by one, as delete_selected does. Flows
        that are offloaded to hardware or a flow table stay.
        """
        match = match_of(selected)
        if not match.is_empty and not (match.is_complete_in_kernel and flushes_by_filter()):
            from pyconntrack.kernel.changing import count_done

            count_done(self.delete_steps(match), ignored=errno.EBUSY)
            return
        sequence = self._socket.next_sequence()
        self._socket.request(match.request(DELETE, NLM_F_ACK, sequence), sequence)

    def delete_selected(self, selected: Selection | None) -> int:
        """Delete all flows that fit; how many. None is every flow there is.

        Goes on where one is refused, and raises ConntrackError at the end. What ended meanwhile does not
        count.
        """
        from pyconntrack.kernel.changing import count_done

        return count_done(self.delete_steps(selected))

    def update_selected(self, selected: Selection | None, change: FlowChange | Flow) -> int:
        """Change all flows that fit; how many. Those that are as wanted already are left alone.

        `change` is a Flow of what is to be set: `status` bits, `timeout`, `mark`, which is XORed to what the
        old one has outside of `mark_mask` where that is given, `labels`, which are added, a protocol's state.
        Its tuples, zones, id and NAT do not count. Goes on where a flow is refused, and raises ConntrackError
        at the end.
        """
        from pyconntrack.kernel.changing import count_done

        return count_done(self.update_steps(selected, change))

    def delete_steps(self, selected: Selection | None) -> Iterator[Step]:
        """The same batch by batch, with the flows that were deleted or refused. Raises ConntrackError."""
        from pyconntrack.kernel.changing import delete_steps

        with ConntrackSocket(namespace=self.namespace) as socket:
            yield from delete_steps(socket, selected, self._execute_all)

    def update_steps(self, selected: Selection | None, change: FlowChange | Flow) -> Iterator[Step]:
        """The same batch by batch, with the flows as they were before; see reread. Raises ConntrackError."""
        from pyconntrack.kernel.changing import update_steps

        with ConntrackSocket(namespace=self.namespace) as socket:
            change = self._change(change)
            yield from update_steps(socket, selected, change, self._execute_all, self.reread)

    def reread(self, batch: FlowBatch) -> FlowBatch:
        """The flows of a batch as they are now, in their order, without those that ended.

        Raises ConntrackError.
        """
        from pyconntrack.kernel.changing import QUESTION_BYTES, reread

        if self._questions is None:
            from pyconntrack.core.requests import RequestBatch

            self._questions = RequestBatch(QUESTION_BYTES)
        return reread(self._socket, batch, self._questions)

    def create_batch(self, batch: FlowBatch, *, as_is: bool = False) -> list[tuple[int, int]]:
        """Create the flows of a batch, changing it as create does, or exactly as they are.

        The index and errno of those that were refused.
        """
        if not as_is:
            prepare_creates(batch)
        return self._execute_all(batch, NEW, NLM_F_CREATE | NLM_F_EXCL)

    def update_batch(self, batch: FlowBatch) -> list[tuple[int, int]]:
        """Change the flows of a batch, changing it as update does.

        The index and errno of those that were refused.
        """
        prepare_updates(batch)
        return self._execute_all(batch, NEW, 0)

    def delete_batch(self, batch: FlowBatch) -> list[tuple[int, int]]:
        """Delete the flows of a batch, those with an id only if it is the same.

        The index and errno of those refused.
        """
        return self._execute_all(batch, DELETE, 0)

    # Following.

    def events(
        self,
        *,
        new: bool = True,
        update: bool = True,
        destroy: bool = True,
        receive_buffer: int = DEFAULT_BUFFER,
        reliable: bool = False,
        selected: Selection | None = None,
    ) -> EventStream:
        """Subscribe to what happens from now on, to all flows or to those selected.

        Close it, or use it as a context manager.
        """
        from pyconntrack.kernel.events import EventStream

        return EventStream(
            new=new,
            update=update,
            destroy=destroy,
            namespace=self.namespace,
            receive_buffer=receive_buffer,
            reliable=reliable,
            selected=selected,
        )

    events_async = events
    """The same stream: `async for event in table.events_async()`."""

    # Requests.

    def _change(self, change: FlowChange | Flow) -> FlowChange:
        from pyconntrack.core.changes import FlowChange

        if isinstance(change, FlowChange):
            return change
        return FlowChange.of_template(self._packed(change), change.labels or b"")

    @staticmethod
    def _packed(flow: Flow) -> FlowBatch:
        batch = FlowBatch()
        flow.add_to(batch)
        return batch

    def _named(self, flow: Tuple | Flow, zone: int | None) -> FlowBatch:
        from pyconntrack.model.flow import Flow

        return self._packed(flow if isinstance(flow, Flow) and zone is None else named(flow, zone))

    def _execute(self, batch: FlowBatch, command: int, flags: int) -> list[bytes]:
        """One request for the one flow of a batch; the messages that answer it."""
        sequence = self._socket.next_sequence()
        return self._socket.request(encode(batch, 0, command, flags, sequence), sequence)

    def _execute_all(self, batch: FlowBatch, command: int, flags: int) -> list[tuple[int, int]]:
        """A request for each flow of a batch, as many to a datagram as fit.

        The index and errno of those that failed.
        """
        requests = self._request_batch()
        failed: list[tuple[int, int]] = []
        start = 0
        while start < len(batch):
            requests.clear(self._socket.next_sequence(requests.most))
            end = requests.add_flows(batch, start, command, flags)
            outcomes = self._socket.execute(requests)
            failed.extend((start + position, number) for position, number in outcomes)
            start = end
        return failed

    def _request_batch(self) -> RequestBatch:
        if self._requests is None:
            from pyconntrack.core.requests import RequestBatch

            self._requests = RequestBatch(REQUEST_BYTES)
            self._socket.set_receive_buffer(self._requests.receive_buffer)
        return self._requests


def flushes_by_filter() -> bool:
    """Whether the kernel selects by all that a flush may carry (Linux 6.11).

    An older one ignores what it does not know, and would delete more than was asked for.
    """
    import os

    numbers = os.uname().release.split("-")[0].split(".")[:2]
    return all(number.isdigit() for number in numbers) and tuple(map(int, numbers)) >= FLUSH_BY_FILTER


def named(flow: Tuple | Flow, zone: int | None) -> Flow:
    """A flow by its name alone."""
    from pyconntrack.model.flow import Flow

    if isinstance(flow, Flow):
        return Flow(original=flow.original, reply=flow.reply, zone=zone, id=flow.id)
    return Flow(original=flow, zone=zone)
