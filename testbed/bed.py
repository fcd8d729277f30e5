# SPDX-License-Identifier: GPL-2.0-or-later
"""The test bed: owner of all namespaces, processes and files of one experiment."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from testbed.namespace import Namespace, sweep

_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_HELD_SIGNALS = (signal.SIGINT, *_ENDING_SIGNALS)


class Testbed:
    """A context manager; everything made through it is gone after it, whatever ends it.

    An exception, Ctrl-C, SIGTERM and SIGHUP all end in the same clean-up. After SIGKILL, the next
    test bed sweeps up what the dead one left.
    """

    __test__ = False  # the name looks like a test class to pytest

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._old_handlers: dict[signal.Signals, Any] = {}
        self.directory = Path()
        self.namespaces: list[Namespace] = []

    def __enter__(self) -> Testbed:
        self._catch_signals()
        try:
            sweep()
            _sweep_files()
            # Not pytest's long temporary paths: a UNIX socket's path has 107 bytes at the most (unix(7)).
            self.directory = Path(tempfile.mkdtemp(prefix=f"testbed-{os.getpid()}-"))
        except BaseException:
            self._restore_signals()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def namespace(self, name: str) -> Namespace:
        """Make a network namespace that ends with this test bed."""
        made = self._stack.enter_context(Namespace(name, self.directory))
        self.namespaces.append(made)
        return made

    def close(self) -> None:
        """Kill and reap all processes, delete all namespaces and files. Harmless a second time."""
        with _signals_held():
            try:
                self._stack.close()
            finally:
                if self.directory != Path():
                    shutil.rmtree(self.directory, ignore_errors=True)
                self._restore_signals()

    def _catch_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _ENDING_SIGNALS:
            self._old_handlers[number] = signal.signal(number, _exit_by_signal)

    def _restore_signals(self) -> None:
        while self._old_handlers:
            number, handler = self._old_handlers.popitem()
            signal.signal(number, handler)


def _sweep_files() -> None:
    """Delete the directories of processes of ours that were killed before they could."""
    for path in Path(tempfile.gettempdir()).glob("testbed-*-*"):
        with contextlib.suppress(OSError):
            pid = path.name.split("-")[1]
            if pid.isdecimal() and path.stat().st_uid == os.geteuid() and not Path("/proc", pid).exists():
                shutil.rmtree(path)


def _exit_by_signal(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Keep a second Ctrl-C from cutting the clean-up short; it is delivered afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
