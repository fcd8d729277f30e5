# SPDX-License-Identifier: GPL-2.0-or-later
"""Events that the kernel dropped for want of room: what to tell of it, and more room."""

from __future__ import annotations

from pyconntrack.config import General
from pyconntrack.daemon.reporter import Reporter
from pyconntrack.kernel.socket import ConntrackSocket

# Seconds from one line of the log about lost events to the next one.
_SILENCE = 60.0


class EventLosses:
    """Counts them, and tells of them once a minute, while they happen all the time."""

    def __init__(self, general: General, reporter: Reporter) -> None:
        self.count = 0
        """How often it happened."""
        self._general = general
        self._reporter = reporter
        self._told = -_SILENCE
        self._end_to_tell = False
        self._at_largest_buffer = False

    def happened(self, socket: ConntrackSocket, now: float) -> None:
        """Events of this socket were lost. `now` is in seconds of the event loop's clock."""
        self.count += 1
        self._grow_buffer(socket)
        if now >= self._told + _SILENCE:
            self._told = now
            self._tell(self._general.netlink_overrun_resync)

    def _tell(self, delay: int | None) -> None:
        self._end_to_tell = delay is not None
        then = "NetlinkOverrunResync is off, so the cache stays as it is until -R"
        if delay is not None:
            then = f"resync with the kernel table in {delay} s"
        self._reporter.warning(
            f"netlink events were lost, {then}; a larger NetlinkBufferSize avoids this"
            + (f" ({self.count} times since the start)" if self.count > 1 else "")
        )

    def made_good(self, flows: int, ended: int) -> None:
        """The table was read since: tell that once, if the loss was told."""
        if self._end_to_tell:
            self._end_to_tell = False
            self._reporter.notice(
                f"resync with the kernel table done: {flows} flows, {ended} had ended unheard"
            )

    def _grow_buffer(self, socket: ConntrackSocket) -> None:
        limit = self._general.netlink_buffer_size_max_growth
        if limit is None or self._at_largest_buffer:
            return
        if socket.grow_receive_buffer(limit):
            self._reporter.notice(
                f"netlink event socket buffer size has been doubled to {socket.receive_buffer} bytes"
            )
        else:
            self._at_largest_buffer = True
            self._reporter.warning(
                "netlink event socket buffer size cannot be doubled further since it will exceed "
                f"NetlinkBufferSizeMaxGrowth ({limit} bytes)"
            )
