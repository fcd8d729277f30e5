# SPDX-License-Identifier: GPL-2.0-or-later
"""The process as a whole: into the background, how it is scheduled."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn, Protocol

READY = b"\0"


class Start(Protocol):
    """Whoever waits for the daemon to start is told how that went, by one call of either."""

    def ready(self) -> None:
        """The daemon works."""

    def failed(self, message: str) -> None:
        """It does not, and will end; `message` is a line, or a few, for the terminal."""


class Foreground:
    """Nobody waits: the terminal sees the log itself."""

    def ready(self) -> None:
        return

    def failed(self, message: str) -> None:
        return


class Background:
    """The process that was started from the terminal waits at the other end of a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def ready(self) -> None:
        self._tell(READY)

    def failed(self, message: str) -> None:
        self._tell(message.encode("utf-8", "replace"))

    def _tell(self, data: bytes) -> None:
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):  # nobody waits any more
            os.write(self._descriptor, data)
        os.close(self._descriptor)
        self._descriptor = -1


def daemonize() -> Background:
    """Go on in a child without a terminal, in its own session, in the root directory; only the child returns.

    The parent waits until the child is ready and exits with 0, or prints why it is not and exits with 1. Call
    this before anything that does not survive a fork: an event loop, threads. Raises OSError.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        os.close(writing)
        _wait(reading, child)
    os.close(reading)
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if null > 2:
        os.close(null)
    return Background(writing)


def _wait(reading: int, child: int) -> NoReturn:
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    if told == READY:
        os._exit(0)
    if not told:
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        told = f"conntrackd ended with {code} before it was ready".encode()
    sys.stderr.buffer.write(told.rstrip(b"\n") + b"\n")
    sys.stderr.flush()
    os._exit(1)


def set_scheduler(kind: str, priority: int) -> None:
    """Real-time scheduling, see sched(7); `kind` is RR or FIFO. Raises OSError, ValueError."""
    policies = {"RR": os.SCHED_RR, "FIFO": os.SCHED_FIFO}
    if kind not in policies:
        raise ValueError(f"no such scheduler: {kind}")
    os.sched_setscheduler(0, policies[kind], os.sched_param(priority))


def set_nice(value: int) -> None:
    """The nice value of this process, −20 to 19. Raises OSError."""
    os.setpriority(os.PRIO_PROCESS, 0, value)
