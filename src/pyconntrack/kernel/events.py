# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens in the table, as it happens."""

import errno
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.kernel_codec import receive_flows
from pyconntrack.core.netlink_receiver import NetlinkReceiver
from pyconntrack.kernel.errors import conntrack_error
from pyconntrack.kernel.socket import GROUP_DESTROY, GROUP_NEW, GROUP_UPDATE, ConntrackSocket

if TYPE_CHECKING:
    from pyconntrack.model.flow import Flow

BATCH_FLOWS = 4096
DEFAULT_BUFFER = 2 * 1024 * 1024


class EventStream:
    """Events from the moment of its making: `for event in stream`, `async for event in stream`, or read() for
    batches.

    An event is a Flow whose `event` says what happened. Where the buffer overran, iterating raises
    MessagesLostError once, and goes on with what follows: read the table again to know what is true. A
    context manager.
    """

    def __init__(
        self,
        *,
        new: bool = True,
        update: bool = True,
        destroy: bool = True,
        namespace: str | None = None,
        receive_buffer: int = DEFAULT_BUFFER,
        reliable: bool = False,
    ) -> None:
        """Subscribe.

        `receive_buffer` in bytes; `reliable` as for ConntrackSocket.set_reliable. Raises ConntrackError.
        """
        groups = new * GROUP_NEW | update * GROUP_UPDATE | destroy * GROUP_DESTROY
        if not groups:
            raise ValueError("a stream of no events")
        self.socket = ConntrackSocket(
            groups, namespace=namespace, receive_buffer=receive_buffer, reliable=reliable
        )
        self.malformed = 0
        """Messages that could not be read."""
        self._receiver = NetlinkReceiver(self.socket.fileno())
        self._batch = FlowBatch(BATCH_FLOWS)
        self._next = 0
        self._lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the subscription. Harmless a second time."""
        self.socket.close()

    def fileno(self) -> int:
        """The descriptor, readable when events wait."""
        return self.socket.fileno()

    def read(self, batch: FlowBatch, limit: int = BATCH_FLOWS) -> int:
        """Append the events that wait, `limit` flows and a few more at most; how many. Does not wait.

        Raises MessagesLostError where some were lost, behind those that came before. ConntrackError.
        """
        if self._lost:
            self._lost = False
            raise conntrack_error(errno.ENOBUFS)
        before = len(batch)
        _, number, malformed = receive_flows(self._receiver, batch, before + limit, True)
        self.malformed += malformed
        if number == errno.ENOBUFS and len(batch) > before:
            self._lost = True
        elif number:
            raise conntrack_error(number)
        return len(batch) - before

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> "Flow":
        """The next event, waited for. Raises MessagesLostError, ConntrackError."""
        while not self._refill():
            self.socket.wait()
        return self._take()

    def get(self, timeout: float) -> "Flow | None":
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

    async def __anext__(self) -> "Flow":
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

    def _take(self) -> "Flow":
        from pyconntrack.model.flow import Flow

        flow = Flow.from_batch(self._batch, self._next)
        self._next += 1
        return flow

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
