# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's log: a file, syslog, and in the foreground the terminal. Lines as the C daemon's.

Logging never fails the daemon and never blocks it: what cannot be written is counted, and told when writing
works again. The client commands write their errors in the same form, so this imports little.
"""

from __future__ import annotations

import os
import socket
import sys
import time

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Final, TextIO

ERROR: Final = 3
WARNING: Final = 4
NOTICE: Final = 5
INFO: Final = 6
"""Severities, numbered as by syslog(3)."""

LABELS: Final = {ERROR: "ERROR", WARNING: "warning", NOTICE: "notice", INFO: "info"}

IDENTITY: Final = "conntrack-tools"
"""Under which syslog knows the daemon."""

FACILITIES: Final = {"daemon": 3} | {f"local{number}": 16 + number for number in range(8)}

SYSLOG_SOCKET: Final = "/dev/log"


class LogError(Exception):
    """The log file cannot be opened; the message names it and the reason."""


def format_line(severity: int, message: str) -> str:
    """`[Sun Nov 22 01:04:08 2026] (pid=6027) [notice] message`, without a newline."""
    return f"[{time.ctime()}] (pid={os.getpid()}) [{LABELS[severity]}] {one_line(message)}"


def one_line(message: str) -> str:
    """The message with nothing in it that would look like another line of the log."""
    return "".join(" " if character < " " or character == "\x7f" else character for character in message)


def is_journal(stream: TextIO) -> bool:
    """Whether systemd's journal reads what is written there: JOURNAL_STREAM of systemd.exec(5).

    Raises OSError, ValueError or AttributeError where it is closed.
    """
    known = os.environ.get("JOURNAL_STREAM")
    if known is None:
        return False
    status = os.fstat(stream.fileno())
    return known == f"{status.st_dev}:{status.st_ino}"


def print_line(severity: int, message: str) -> None:
    """A line to the terminal: errors and warnings to stderr, the rest to stdout. A closed one is no error.

    The journal has time and process id of its own, and takes the severity as sd-daemon(3) writes it.
    """
    stream = sys.stderr if severity <= WARNING else sys.stdout
    try:
        journal = is_journal(stream)
        line = f"<{severity}>{one_line(message)}" if journal else format_line(severity, message)
        print(line, file=stream, flush=True)
    except (OSError, ValueError, AttributeError):
        return


class FileSink:
    """A file that is appended to, each line in one write."""

    def __init__(self, path: str) -> None:
        """Raises LogError."""
        self.path = path
        self._descriptor = self._open()
        self._lost = 0
        # The last line ends in the middle: the disk filled up in it.
        self._cut = False

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        try:
            return os.open(self.path, flags, 0o600)
        except OSError as error:
            raise LogError(f"can't open logfile `{self.path}': {error.strerror}") from error

    def write(self, line: str) -> str:
        """Why the line could not be written, where it is the first one; else nothing."""
        if self._lost:
            note = format_line(WARNING, f"{self._lost} lines could not be written to this log")
            if self._try(note):
                self._lost += 1
                return ""
            self._lost = 0
        reason = self._try(line)
        if reason:
            self._lost += 1
        return reason

    def _try(self, line: str) -> str:
        data = b"\n" * self._cut + _encoded(line) + b"\n"
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            return error.strerror or str(error)
        finally:
            if written:
                self._cut = not data[:written].endswith(b"\n")
        return ""

    def reopen(self) -> None:
        """Go on in a new file of the same name, after the old one was moved away. Raises LogError, and keeps
        the old one then."""
        fresh = self._open()
        os.close(self._descriptor)
        self._descriptor = fresh
        self._cut = False

    def close(self) -> None:
        os.close(self._descriptor)


def _encoded(line: str) -> bytes:
    """What came as bytes that are no UTF-8 goes out as it came."""
    try:
        return line.encode("utf-8", "surrogateescape")
    except UnicodeError:
        return line.encode("utf-8", "replace")


class SyslogSink:
    """The system's logger, by datagrams to its socket: unlike with syslog(3), if it hangs we do not."""

    def __init__(self, facility: str, address: str = SYSLOG_SOCKET) -> None:
        self._facility = FACILITIES[facility]
        self._address = address
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )

    def write(self, severity: int, message: str) -> None:
        now = time.localtime()
        # RFC 3164 wants English month names and the day padded by a blank, as ctime(3) has them.
        stamp = time.asctime(now)[4:19]
        head = f"<{self._facility << 3 | severity}>{stamp} {IDENTITY}[{os.getpid()}]: "
        try:
            self._socket.sendto((head + message).encode("utf-8", "replace"), self._address)
        except OSError:
            return

    def close(self) -> None:
        self._socket.close()


class Log:
    """What the daemon has to say, to all places where it says it."""

    def __init__(self, *, file: str | None = None, syslog: str | None = None, console: bool = True) -> None:
        """`file` is a path, `syslog` a facility, each None for none. Raises LogError."""
        self._file = FileSink(file) if file is not None else None
        self._syslog = SyslogSink(syslog) if syslog is not None else None
        self.console = console
        """Whether the lines go to the terminal, too."""

    def error(self, text: str) -> None:
        self.write(ERROR, text)

    def warning(self, text: str) -> None:
        self.write(WARNING, text)

    def notice(self, text: str) -> None:
        self.write(NOTICE, text)

    def info(self, text: str) -> None:
        self.write(INFO, text)

    def write(self, severity: int, message: str) -> None:
        """One line, whatever the message holds. Raises nothing."""
        if self._file is not None:
            reason = self._file.write(format_line(severity, message))
            if reason:
                self._write_elsewhere(ERROR, f"can't write to logfile `{self._file.path}': {reason}")
        self._write_elsewhere(severity, message)

    def _write_elsewhere(self, severity: int, message: str) -> None:
        if self._syslog is not None:
            self._syslog.write(severity, one_line(message))
        if self.console:
            print_line(severity, message)

    def reopen(self) -> None:
        """For log rotation: go on in a new file. Raises nothing; what fails is told in the old file."""
        if self._file is None:
            return
        try:
            self._file.reopen()
        except LogError as error:
            self.error(str(error))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._syslog is not None:
            self._syslog.close()
            self._syslog = None
