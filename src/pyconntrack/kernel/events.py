# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens in the table, as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.kernel_codec import receive_flows
from pyconntrack.kernel.selection import match_of
from pyconntrack.kernel.socket import (
    DEFAULT_BUFFER,
    GROUP_DESTROY,
    GROUP_NEW,
    GROUP_UPDATE,
    ConntrackSocket,
)
from pyconntrack.kernel.stream import BATCH_EVENTS, Stream

if TYPE_CHECKING:
    from pyconntrack.kernel.selection import Selection
    from pyconntrack.model.flow import Flow


class EventStream(Stream[FlowBatch, "Flow"]):
    """Events of flows. An event is a Flow whose `event` says what happened."""

    def __init__(
        self,
        *,
        new: bool = True,
        update: bool = True,
        destroy: bool = True,
        namespace: str | None = None,
        receive_buffer: int = DEFAULT_BUFFER,
        reliable: bool = False,
        selected: Selection | None = None,
    ) -> None:
        """Subscribe, to all events or to those of the flows selected: the rest are received, and dropped.

        `receive_buffer` in bytes; `reliable` as for ConntrackSocket.set_reliable. Raises ConntrackError.
        """
        groups = new * GROUP_NEW | update * GROUP_UPDATE | destroy * GROUP_DESTROY
        if not groups:
            raise ValueError("a stream of no events")
        socket = ConntrackSocket(
            groups, namespace=namespace, receive_buffer=receive_buffer, reliable=reliable
        )
        super().__init__(socket, FlowBatch(BATCH_EVENTS))
        self._match = None if selected is None else match_of(selected)

    def _receive(self, batch: FlowBatch, limit: int) -> tuple[int, int, int]:
        before = len(batch)
        received = receive_flows(self._receiver, batch, limit, True)
        if self._match is not None:
            self._match.select(batch, before)
        return received

    def _event(self, batch: FlowBatch, index: int) -> Flow:
        from pyconntrack.model.flow import Flow

        return Flow.from_batch(batch, index)
