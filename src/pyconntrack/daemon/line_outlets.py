# SPDX-License-Identifier: GPL-2.0-or-later
"""Where many lines at a time go: a file, or the system's logger. Neither blocks."""

from __future__ import annotations

import os
import socket
import time
from typing import Protocol

from pyconntrack.core.statistics_cache import STAMP_LENGTH
from pyconntrack.core.syslog_lines import send_lines
from pyconntrack.daemon.log import FACILITIES, IDENTITY, INFO, SYSLOG_SOCKET


class Outlet(Protocol):
    """Takes whole lines, each with a time stamp of STAMP_LENGTH bytes at its beginning."""

    name: str
    """For a message about it."""

    def put(self, lines: bytes) -> tuple[int, OSError | None]:
        """Put out what can be. How many bytes, whole lines, are settled, and why the rest is not; no reason
        where the other end is only busy."""

    def reopen(self) -> None:
        """Go on in a new file, where it is one. Raises OSError, and keeps the old one then."""

    def close(self) -> None: ...


class FileOutlet:
    """A file that lines are appended to. A line that was cut short goes on where it was cut."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self.name = f"logfile `{path}'"
        self._path = path
        self._descriptor = self._open()
        # Bytes of the next line to come that the file has already.
        self._begun = 0

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        return os.open(self._path, flags, 0o600)

    def put(self, lines: bytes) -> tuple[int, OSError | None]:
        done = self._begun
        failure = None
        while done < len(lines) and failure is None:
            try:
                done += os.write(self._descriptor, memoryview(lines)[done:])
            except BlockingIOError:  # a pipe whose reader is slow
                break
            except OSError as error:
                failure = error
        settled = lines.rfind(b"\n", 0, done) + 1
        self._begun = done - settled
        return settled, failure

    def reopen(self) -> None:
        fresh = self._open()
        os.close(self._descriptor)
        self._descriptor = fresh
        self._begun = 0

    def close(self) -> None:
        os.close(self._descriptor)


class SyslogOutlet:
    """The system's logger, a datagram per line at severity info; it sets its own time stamp."""

    def __init__(self, facility: str, address: str = SYSLOG_SOCKET) -> None:
        self.name = "syslog"
        self._priority = FACILITIES[facility] << 3 | INFO
        self._address = os.fsencode(address)
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )

    def put(self, lines: bytes) -> tuple[int, OSError | None]:
        stamp = time.asctime()[4:19]
        head = f"<{self._priority}>{stamp} {IDENTITY}[{os.getpid()}]: ".encode()
        try:
            sent = send_lines(self._socket.fileno(), self._address, head, lines, 0, STAMP_LENGTH)
        except OSError as error:
            return 0, error
        return sent, None

    def reopen(self) -> None:
        return

    def close(self) -> None:
        self._socket.close()
