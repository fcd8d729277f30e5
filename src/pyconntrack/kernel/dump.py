# SPDX-License-Identifier: GPL-2.0-or-later
"""The table read as a whole, in batches."""

from __future__ import annotations

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.kernel_codec import DONE, INTERRUPTED, dumped_flows, receive_flows
from pyconntrack.core.netlink_receiver import NetlinkReceiver
from pyconntrack.kernel.errors import conntrack_error
from pyconntrack.kernel.selection import match_of

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from pyconntrack.kernel.selection import Selection
    from pyconntrack.kernel.socket import ConntrackSocket

# IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_GET_CTRZERO; the lists of flows that left the table, or are not in it yet.
GET, GET_AND_ZERO = 1, 3
LISTS = {"table": GET, "dying": 6, "unconfirmed": 7}
NLM_F_DUMP = 0x300
# What the kernel fills at once in a dump: 32 KiB less its bookkeeping, whatever more is offered.
DATAGRAM_SIZE = 32768
DATAGRAMS = 8
BATCH_FLOWS = 4096
# One is read while the other is filled; and what one usually holds.
BUFFERS_AHEAD = 2
FILLED_FLOWS = DATAGRAMS * DATAGRAM_SIZE // 200
PAUSE = 0.01
BUCKETS_SYSCTL = "/proc/sys/net/netfilter/nf_conntrack_buckets"


def hash_buckets() -> int:
    """Buckets of the kernel's table, which all network namespaces share; 0 where the kernel does not say.

    Where the number changes while a dump runs, flows come twice or not at all, and no flag of the dump tells.
    """
    try:
        with open(BUCKETS_SYSCTL, "rb") as file:  # noqa: PTH123 - pathlib takes time to load
            return int(file.read())
    except (OSError, ValueError):
        return 0


class Dump:
    """A dump under way on a socket that does nothing else meanwhile."""

    def __init__(
        self,
        socket: ConntrackSocket,
        selected: Selection | None = None,
        *,
        zero_counters: bool = False,
        of: Literal["table", "dying", "unconfirmed"] = "table",
    ) -> None:
        """Send the request.

        `zero_counters` sets counters to 0 as the kernel reads them: of all flows that it cannot tell from the
        selected ones. Raises ConntrackError, ValueError.
        """
        self.interrupted = False
        """The table was rebuilt meanwhile: some flows may be missing or come twice."""
        self.malformed = 0
        """Messages that could not be read."""
        self.done = False
        self._socket = socket
        self._match = match_of(selected)
        self._selects = not self._match.is_empty
        self._receiver = NetlinkReceiver(socket.fileno(), DATAGRAMS, DATAGRAM_SIZE)
        self._buckets = hash_buckets()
        try:
            command = GET_AND_ZERO if zero_counters and of == "table" else LISTS[of]
            socket.socket.send(self._match.request(command, NLM_F_DUMP, socket.next_sequence()))
        except OSError as error:
            raise conntrack_error(error.errno or 0) from error

    def read(self, batch: FlowBatch, limit: int) -> bool:
        """Append flows until the batch holds `limit` or a few more; False when the dump is complete.

        Raises ConntrackError.
        """
        while not self.done and len(batch) < limit:
            start = len(batch)
            if not self._take(batch, start, receive_flows(self._receiver, batch, limit, False)):
                self._socket.wait()
        return not self.done

    def __iter__(self) -> Iterator[FlowBatch]:
        """New batches of some thousands of flows each."""
        more = True
        while more:
            batch = FlowBatch(BATCH_FLOWS + 1024)
            more = self.read(batch, BATCH_FLOWS)
            if len(batch):
                yield batch

    def read_ahead(self) -> Iterator[FlowBatch]:
        """The same, and while one batch is worked on, a thread lets the kernel fill buffers for the next one.

        It pays where the work leaves the GIL alone. A short dump is done without a thread.
        """
        first = FlowBatch(FILLED_FLOWS)
        self.read(first, BATCH_FLOWS)
        if len(first):
            yield first
        if not self.done:
            yield from self._read_with_thread()

    def _read_with_thread(self) -> Iterator[FlowBatch]:
        import sys
        from queue import SimpleQueue
        from threading import Thread

        empty: SimpleQueue[NetlinkReceiver | None] = SimpleQueue()
        filled: SimpleQueue[NetlinkReceiver] = SimpleQueue()

        def fill() -> None:
            while (receiver := empty.get()) is not None:
                receiver.fill()
                filled.put(receiver)

        # A dump that somebody holds but does not read on must not keep the process from its end.
        thread = Thread(target=fill, name="dump", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The process may have no more threads.
            yield from self
            return
        try:
            for _ in range(BUFFERS_AHEAD):
                empty.put(NetlinkReceiver(self._socket.fileno(), DATAGRAMS, DATAGRAM_SIZE))
            while not self.done:
                receiver, batch = filled.get(), FlowBatch(FILLED_FLOWS)
                if not self._take(batch, 0, dumped_flows(receiver, batch)):
                    # Not for long: the thread may have what is waited for.
                    self._socket.wait(PAUSE)
                empty.put(receiver)
                if len(batch):
                    yield batch
        finally:
            empty.put(None)
            # At the end of the process it has ended, or never will.
            if not sys.is_finalizing():
                thread.join()

    def _take(self, batch: FlowBatch, start: int, received: tuple[int, int, int]) -> bool:
        """Select from what was received behind `start`; False where nothing was, and the dump goes on."""
        found, number, malformed = received
        came = len(batch) > start
        if self._selects:
            self._match.select(batch, start)
        self.malformed += malformed
        self.interrupted = self.interrupted or bool(found & INTERRUPTED)
        if number:
            self.done = True
            raise conntrack_error(number)
        if found & DONE:
            self.done = True
            self.interrupted = self.interrupted or hash_buckets() != self._buckets
        return came or self.done
