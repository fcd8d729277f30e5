# SPDX-License-Identifier: GPL-2.0-or-later
"""A timer that is waited for like a socket: timerfd_create(2), which Python has from 3.13 on only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time

_libc = ctypes.CDLL(None, use_errno=True)


class _Setting(ctypes.Structure):
    """struct itimerspec: interval, then time to the first expiry"""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Timer:
    """Its descriptor is readable from the end of the time on until it is set anew, or stopped."""

    def __init__(self) -> None:
        """Not running. Raises OSError."""
        self._descriptor: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "cannot make a timer")

    def fileno(self) -> int:
        return self._descriptor

    def start(self, seconds: float) -> None:
        """Let it end in so many seconds, and not when it would have."""
        nanoseconds = max(1, int(seconds * 1e9))
        self._set(_Setting(0, 0, *divmod(nanoseconds, 10**9)))

    def stop(self) -> None:
        """Let it not end."""
        self._set(_Setting())

    def close(self) -> None:
        """Harmless a second time."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1

    def _set(self, setting: _Setting) -> None:
        if _libc.timerfd_settime(self._descriptor, 0, ctypes.byref(setting), None) < 0:
            raise OSError(ctypes.get_errno(), "cannot set a timer")
