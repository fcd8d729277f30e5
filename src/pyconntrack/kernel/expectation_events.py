# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens in the table of expectations, as it happens."""

from typing import TYPE_CHECKING

from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core.expectation_codec import receive_expectations
from pyconntrack.kernel.socket import (
    DEFAULT_BUFFER,
    GROUP_EXPECTATION_DESTROY,
    GROUP_EXPECTATION_NEW,
    GROUP_EXPECTATION_UPDATE,
    ConntrackSocket,
)
from pyconntrack.kernel.stream import Stream

if TYPE_CHECKING:
    from pyconntrack.model.expectation import Expectation


class ExpectationEvents(Stream[ExpectationBatch, "Expectation"]):
    """Events of expectations. An event is an Expectation whose `event` says what happened.

    With net.netfilter.nf_conntrack_events at 2, as by default, the kernel tells only of expectations whose
    master began while something listened; no kernel tells of updates yet.
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
        groups = (
            new * GROUP_EXPECTATION_NEW
            | update * GROUP_EXPECTATION_UPDATE
            | destroy * GROUP_EXPECTATION_DESTROY
        )
        if not groups:
            raise ValueError("a stream of no events")
        socket = ConntrackSocket(
            groups, namespace=namespace, receive_buffer=receive_buffer, reliable=reliable
        )
        super().__init__(socket, ExpectationBatch())

    def _receive(self, batch: ExpectationBatch, limit: int) -> tuple[int, int, int]:
        return receive_expectations(self._receiver, batch, limit, True)

    def _event(self, batch: ExpectationBatch, index: int) -> "Expectation":
        from pyconntrack.model.expectation import Expectation

        return Expectation.from_batch(batch, index)
