# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of expectations of one network namespace."""

import errno
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core.expectation_codec import decode, encode, receive_expectations, table_request
from pyconntrack.core.kernel_codec import DONE, ERROR, INTERRUPTED
from pyconntrack.core.netlink_receiver import NetlinkReceiver
from pyconntrack.kernel.closing import Closing
from pyconntrack.kernel.errors import ConntrackError, conntrack_error
from pyconntrack.kernel.socket import DEFAULT_BUFFER, ConntrackSocket

if TYPE_CHECKING:
    from pyconntrack.kernel.expectation_events import ExpectationEvents
    from pyconntrack.model.expectation import Expectation
    from pyconntrack.model.tuple import Tuple

# linux/netfilter/nfnetlink_conntrack.h, linux/netlink.h
NEW, GET, DELETE, GET_STATS_CPU = 0, 1, 2, 3
NLM_F_ACK = 0x004
NLM_F_EXCL = 0x200
NLM_F_DUMP = 0x300
NLM_F_CREATE = 0x400
HEADER_SIZE = 20  # nlmsghdr and nfgenmsg

DATAGRAM_SIZE = 32768
DATAGRAMS = 8
DUMP_ATTEMPTS = 5

# What an errno means in this table (net/netfilter/nf_conntrack_netlink.c, nf_conntrack_expect.c).
MEANINGS = {
    errno.ENOENT: "no such expectation, or no such flow as its master",
    errno.EEXIST: "this is expected already",
    errno.EBUSY: "an expectation of another kind expects the same",
    errno.EOPNOTSUPP: "its master has no helper, or the kernel has not the one that is named",
    errno.EMFILE: "the master's helper, or the table, expects as many as it may",
    errno.EINVAL: "an attribute is missing or not valid",
}


class ExpectationExistsError(ConntrackError):
    """It is expected already (EEXIST)."""


class ExpectationNotFoundError(ConntrackError):
    """No such expectation, or no such master (ENOENT)."""


KINDS = {errno.EEXIST: ExpectationExistsError, errno.ENOENT: ExpectationNotFoundError}


def expectation_error(number: int) -> ConntrackError:
    """The exception for an errno that came of a request about an expectation."""
    if number not in MEANINGS:
        return conntrack_error(number)
    return KINDS.get(number, ConntrackError)(number, f"{os.strerror(number)}: {MEANINGS[number]}")


class ExpectationStatistics(NamedTuple):
    """What one processor counted since the start of the network namespace (struct ip_conntrack_stat)."""

    cpu: int
    new: int = 0
    create: int = 0
    delete: int = 0


class ExpectationTable(Closing):
    """The table: iterate it, read, create and delete expectations, follow events. A context manager.

    `namespace` as for ConntrackSocket. An instance serves one thread at a time. Everything raises
    ConntrackError where the kernel refuses; reading, too, needs CAP_NET_ADMIN. Which helpers there are is the
    kernel's build; a flow gets one by a rule (nft's `ct helper`, iptables' CT --helper).
    """

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace = namespace
        self._socket = ConntrackSocket(namespace=namespace)

    def close(self) -> None:
        """Close the socket. Harmless a second time."""
        self._socket.close()

    # Reading.

    def __iter__(self) -> Iterator["Expectation"]:
        return self.dump()

    def __len__(self) -> int:
        return self.count()

    def count(self, *, family: int = 0) -> int:
        """How many there are, of all families or of one. The kernel keeps no count: this reads them all."""
        return len(self.dump_batch(family=family))

    def dump(
        self, *, family: int = 0, master: "Tuple | None" = None, zone: int | None = None
    ) -> Iterator["Expectation"]:
        """Every expectation, of a family, or of one master, named by its original tuple and its zone.

        Raises ExpectationNotFoundError where there is no such master.
        """
        from pyconntrack.model.expectation import Expectation

        batch = self.dump_batch(family=family, master=master, zone=zone)
        for index in range(len(batch)):
            yield Expectation.from_batch(batch, index)

    def dump_batch(
        self, *, family: int = 0, master: "Tuple | None" = None, zone: int | None = None
    ) -> ExpectationBatch:
        """The same in one batch. Begins anew where the table changed under the dump, some times."""
        of = ExpectationBatch()
        if master is not None:
            family = master.family
            of.pack({"master": master.values()} | ({} if zone is None else {"zone": zone}))
        for _ in range(DUMP_ATTEMPTS):
            batch = ExpectationBatch()
            if not self._dump(batch, family, of) & INTERRUPTED:
                return batch
        raise conntrack_error(errno.EINTR)

    def get(self, expectation: "Tuple | Expectation", *, zone: int | None = None) -> "Expectation":
        """The expectation of this tuple; of an Expectation with an `id`, only if the kernel's has it, too.

        Raises ExpectationNotFoundError.
        """
        from dataclasses import replace

        from pyconntrack.model.expectation import Expectation
        from pyconntrack.model.names import Event

        found = self.get_batch(named(expectation, zone))
        return replace(Expectation.from_batch(found, 0), event=Event.NONE)

    def get_batch(self, wanted: ExpectationBatch, index: int = 0) -> ExpectationBatch:
        """The expectation that one of a batch names, in a batch of its own. Raises as get does."""
        found = ExpectationBatch()
        for answer in self._execute(wanted, index, GET, NLM_F_ACK):
            decode(answer, found)
        if not len(found):
            raise expectation_error(errno.ENOENT)
        return found

    def processor_statistics(self) -> list[ExpectationStatistics]:
        """What each processor counted."""
        from pyconntrack.kernel.counts import numbers

        sequence = self._socket.next_sequence()
        answers = self._socket.request(table_request(GET_STATS_CPU, NLM_F_DUMP, sequence), sequence)
        statistics = []
        for message in answers:
            counts = numbers(message[HEADER_SIZE:])
            cpu = int.from_bytes(message[18:20], "big")
            statistics.append(ExpectationStatistics(cpu, *(counts.get(kind, 0) for kind in (1, 2, 3))))
        return statistics

    # Changing.

    def create(self, expectation: "Expectation") -> None:
        """Create an expectation. It needs `expected`, `mask` and `master`; the master needs a helper.

        How long it is expected is said by the helper's policy, not by `timeout`; of the mask, the kernel
        keeps the source's part. Raises ExpectationExistsError, and ExpectationNotFoundError where there is no
        such master.
        """
        batch = ExpectationBatch()
        expectation.add_to(batch)
        self._execute(batch, 0, NEW, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK)

    def delete(self, expectation: "Tuple | Expectation", *, zone: int | None = None) -> None:
        """Delete an expectation; an Expectation with an `id` only if the kernel's has it, too.

        Raises ExpectationNotFoundError, and ValueError where `expected` is missing.
        """
        self._execute(named(expectation, zone), 0, DELETE, NLM_F_ACK)

    def flush(self, *, helper: str | None = None) -> None:
        """Delete all expectations of all families, or those of a helper."""
        of = ExpectationBatch()
        if helper is not None:
            of.pack({"helper": helper})
        sequence = self._socket.next_sequence()
        self._socket.request(table_request(DELETE, NLM_F_ACK, sequence, 0, of), sequence)

    def create_batch(self, batch: ExpectationBatch) -> list[tuple[int, int]]:
        """Create the expectations of a batch. The index and errno of those that were refused."""
        return self._execute_all(batch, NEW, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK)

    def delete_batch(self, batch: ExpectationBatch) -> list[tuple[int, int]]:
        """Delete the expectations of a batch. The index and errno of those that were refused."""
        return self._execute_all(batch, DELETE, NLM_F_ACK)

    # Following.

    def events(
        self,
        *,
        new: bool = True,
        update: bool = True,
        destroy: bool = True,
        receive_buffer: int = DEFAULT_BUFFER,
        reliable: bool = False,
    ) -> "ExpectationEvents":
        """Subscribe to what happens from now on. Close it, or use it as a context manager."""
        from pyconntrack.kernel.expectation_events import ExpectationEvents

        return ExpectationEvents(
            new=new,
            update=update,
            destroy=destroy,
            namespace=self.namespace,
            receive_buffer=receive_buffer,
            reliable=reliable,
        )

    events_async = events
    """The same stream: `async for event in table.events_async()`."""

    # Requests.

    def _dump(self, batch: ExpectationBatch, family: int, of: ExpectationBatch) -> int:
        """Append the whole table to a batch; what was met on the way."""
        with ConntrackSocket(namespace=self.namespace) as socket:
            receiver = NetlinkReceiver(socket.fileno(), DATAGRAMS, DATAGRAM_SIZE)
            # Of a master without a helper, older kernels tell nothing, not even an end: the acknowledgement
            # is one. A dump that runs has none.
            flags = NLM_F_DUMP | (NLM_F_ACK if len(of) else 0)
            try:
                socket.socket.send(table_request(GET, flags, socket.next_sequence(), family, of))
            except OSError as error:
                raise conntrack_error(error.errno or 0) from error
            met = 0
            while not met & (DONE | ERROR):
                found, number, _ = receive_expectations(receiver, batch, len(batch) + 65536, False)
                met |= found
                if number:
                    raise expectation_error(number)
                if not met & (DONE | ERROR):
                    socket.wait()
            return met

    def _execute(self, batch: ExpectationBatch, index: int, command: int, flags: int) -> list[bytes]:
        """One request for the expectation at `index`; the messages that answer it."""
        sequence = self._socket.next_sequence()
        try:
            return self._socket.request(encode(batch, index, command, flags, sequence), sequence)
        except ConntrackError as error:
            raise expectation_error(error.errno or 0) from error

    def _execute_all(self, batch: ExpectationBatch, command: int, flags: int) -> list[tuple[int, int]]:
        """One after the other: there are few. The index and errno of those that failed."""
        failed: list[tuple[int, int]] = []
        for index in range(len(batch)):
            try:
                self._execute(batch, index, command, flags)
            except ConntrackError as error:
                if error.errno == errno.EPERM:
                    raise
                failed.append((index, error.errno or 0))
        return failed


def named(expectation: "Tuple | Expectation", zone: int | None) -> ExpectationBatch:
    """A batch of one expectation by its name alone."""
    from pyconntrack.model.expectation import Expectation

    if not isinstance(expectation, Expectation):
        expectation = Expectation(expected=expectation)
    batch = ExpectationBatch()
    Expectation(
        expected=expectation.expected,
        zone=expectation.zone if zone is None else zone,
        id=expectation.id,
    ).add_to(batch)
    return batch
