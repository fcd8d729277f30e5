# SPDX-License-Identifier: GPL-2.0-or-later
"""Events of the kernel, waited for and awaited: what the streams of flows and of expectations share."""

import errno
from typing import Generic, Protocol, Self, TypeVar

from pyconntrack.core.netlink_receiver import NetlinkReceiver
from pyconntrack.kernel.closing import Closing
from pyconntrack.kernel.errors import conntrack_error
from pyconntrack.kernel.socket import ConntrackSocket

BATCH_EVENTS = 4096


class Batch(Protocol):
    """Records that events are received into."""

    def __len__(self) -> int: ...
    def clear(self) -> None: ...


B = TypeVar("B", bound=Batch)
E = TypeVar("E")


class Stream(Closing, Generic[B, E]):
    """Events from the moment of its making: `for event in stream`, `async for event in stream`, or read() for
    batches.

    Where the buffer overran, iterating raises MessagesLostError once, and goes on with what follows: read the
    table again to know what is true. A context manager.
    """

    def __init__(self, socket: ConntrackSocket, batch: B) -> None:
        """Take over a subscribed socket; `batch` is what iterating receives into."""
        self.socket = socket
        self.malformed = 0
        """Messages that could not be read."""
        self._receiver = NetlinkReceiver(socket.fileno())
        self._batch = batch
        self._next = 0
        self._lost = False

    def _receive(self, batch: B, limit: int) -> tuple[int, int, int]:
        """Append what waits, until the batch holds `limit`: what was found, errno, malformed messages."""
        raise NotImplementedError

    def _event(self, batch: B, index: int) -> E:
        """What a person holds of the record at `index`."""
        raise NotImplementedError

    def close(self) -> None:
        """End the subscription. Harmless a second time."""
        self.socket.close()

    def fileno(self) -> int:
        """The descriptor, readable when events wait."""
        return self.socket.fileno()

    def read(self, batch: B, limit: int = BATCH_EVENTS) -> int:
        """Append the events that wait, `limit` and a few more at most; how many. Does not wait.

        Raises MessagesLostError where some were lost, behind those that came before. ConntrackError.
        """
        if self._lost:
            self._lost = False
            raise conntrack_error(errno.ENOBUFS)
        before = len(batch)
        _, number, malformed = self._receive(batch, before + limit)
        self.malformed += malformed
        if number == errno.ENOBUFS and len(batch) > before:
            self._lost = True
        elif number:
            raise conntrack_error(number)
        return len(batch) - before

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> E:
        """The next event, waited for. Raises MessagesLostError, ConntrackError."""
        while not self._refill():
            self.socket.wait()
        return self._take()

    def get(self, timeout: float) -> E | None:
        """The next event, waited for `timeout` seconds at most; None where none came.

        Raises as iterating does.
        """
        from time import monotonic

        end = monotonic() + timeout
        while not self._refill():
            left = end - monotonic()
            if left <= 0 or not self.socket.wait(left):
                return None
        return self._take()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        """The next event, while the running event loop does other things.

        Raises MessagesLostError, ConntrackError.
        """
        while not self._refill():
            await self._readable()
        return self._take()

    def _refill(self) -> bool:
        """True where an event is at hand."""
        if self._next >= len(self._batch):
            self._batch.clear()
            self._next = 0
            return self.read(self._batch) > 0
        return True

    def _take(self) -> E:
        event = self._event(self._batch, self._next)
        self._next += 1
        return event

    async def _readable(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        descriptor = self.fileno()

        def wake() -> None:
            if not readable.done():
                readable.set_result(None)

        loop.add_reader(descriptor, wake)
        try:
            await readable
        finally:
            loop.remove_reader(descriptor)
