# SPDX-License-Identifier: GPL-2.0-or-later
"""What the service manager hears of the daemon: that it is ready, how it is, that it is alive, that it stops.

The protocol is that of sd_notify(3): datagrams of lines NAME=value to the socket that NOTIFY_SOCKET names.
With no such socket, nothing is sent and nothing is scheduled. Nothing here blocks or fails the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping

from pyconntrack.daemon.log import one_line
from pyconntrack.daemon.process import Start
from pyconntrack.daemon.reporter import Reporter

# Seconds between two looks whether the status is another one.
_STATUS_SECONDS = 5.0
# Seconds until what the socket had no room for is sent again.
_RETRY_SECONDS = 0.1


class ServiceManager:
    """The other end of the notify socket: systemd, or who else understands it."""

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        """`address` is a path, or a name in the abstract namespace after `@`, empty for nobody; `watchdog` is
        in seconds, None for none."""
        self.address = address
        self.watchdog = watchdog
        """Within how many seconds it wants to hear that the daemon lives."""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> ServiceManager:
        """As NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID say.

        To be called before the daemon goes into the background: the process id of the watchdog is that of the
        process that the service manager started.
        """
        return cls(environment.get("NOTIFY_SOCKET", ""), _watchdog(environment))

    def __bool__(self) -> bool:
        return bool(self.address)

    def tell(self, *assignments: str) -> None:
        """Send lines NAME=value, in one datagram. Raises OSError; BlockingIOError where there is no room."""
        if not self.address:
            return
        abstract = self.address.startswith("@")
        if not abstract and not self.address.startswith("/"):
            raise OSError(0, "neither a path nor a name after @")
        address = "\0" + self.address[1:] if abstract else self.address
        flags = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        with socket.socket(socket.AF_UNIX, flags) as sender:
            sender.sendto("\n".join(assignments).encode("utf-8", "replace"), os.fsencode(address))


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """As sd_watchdog_enabled(3), in seconds; None where there is none, or it is another process's."""
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", "0"))
        process = int(environment.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    if microseconds <= 0 or process != os.getpid():
        return None
    return microseconds / 1_000_000


def status_line(text: str) -> str:
    """`text` as the daemon's status, a line of the protocol."""
    return f"STATUS={one_line(text)}"


class AnnouncedStart:
    """A start that the service manager hears of, too, where it fails. Implements `process.Start`."""

    def __init__(self, start: Start, manager: ServiceManager) -> None:
        self._start = start
        self._manager = manager

    def ready(self) -> None:
        self._start.ready()

    def failed(self, message: str) -> None:
        with contextlib.suppress(OSError):  # the message is in the log, and on the terminal if there is one
            self._manager.tell(status_line(message))
        self._start.failed(message)


class Heartbeat:
    """From readiness to the end, by timers of the event loop, so that the watchdog hears whether that lives.

    To be used within a running event loop.
    """

    def __init__(self, manager: ServiceManager, status: Callable[[], str], reporter: Reporter) -> None:
        """`status` gives one line about the daemon as it is now."""
        self._manager = manager
        self._status = status
        self._reporter = reporter
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._unsent: list[str] = []
        self._told = ""
        self._interval = 0.0
        self._failing = False

    def ready(self) -> None:
        """The daemon works, and this is its process."""
        if not self._manager:
            return
        self._told = self._status()
        self._tell("READY=1", f"MAINPID={os.getpid()}", status_line(self._told))
        self._later("status", _STATUS_SECONDS, self._refresh)
        if self._manager.watchdog is not None:
            self._interval = self._manager.watchdog / 2
            self._beat()

    def stopping(self) -> None:
        """The daemon begins to stop; nothing is told after this."""
        if not self._manager:
            return
        self._tell("STOPPING=1", status_line("stopping"))
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _beat(self) -> None:
        self._tell("WATCHDOG=1")
        self._later("watchdog", self._interval, self._beat)

    def _refresh(self) -> None:
        status = self._status()
        if status != self._told:
            self._told = status
            self._tell(status_line(status))
        self._later("status", _STATUS_SECONDS, self._refresh)

    def _later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = self._loop.call_later(seconds, call)

    def _tell(self, *assignments: str) -> None:
        """Send it with what could not be sent before. The newest value of a name counts."""
        names = {assignment.partition("=")[0] for assignment in assignments}
        kept = [line for line in self._unsent if line.partition("=")[0] not in names]
        self._unsent = [*kept, *assignments]
        self._send()

    def _send(self) -> None:
        try:
            self._manager.tell(*self._unsent)
        except BlockingIOError:
            self._later("retry", _RETRY_SECONDS, self._send)
            return
        except OSError as error:
            if not self._failing:
                self._reporter.warning(
                    f"can't tell the service manager at `{self._manager.address}': {error.strerror or error}"
                )
            self._failing = True
        else:
            self._failing = False
        self._unsent = []
