# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that are started, watched, and always killed and reaped."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, cast

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_TERMINATE_GRACE = 10.0


class Process:
    """A child process in a session of its own; its stderr, and its stdout unless piped, go to ``log``.

    A session of its own means that the terminal's interrupt reaches only the parent, which then ends
    its children in the right order.
    """

    def __init__(
        self,
        args: Sequence[str],
        log: Path,
        *,
        pipes: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start ``args``. With ``pipes``, stdin and stdout are text pipes to us; else stdin is empty."""
        self.args = list(args)
        self.log = log
        with log.open("ab") as output:
            self._popen: subprocess.Popen[str] = subprocess.Popen(
                self.args,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else output,
                stderr=output,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,
                text=True,
            )

    @property
    def pid(self) -> int:
        """The process id; the program itself has it, for ``ip netns exec`` does not fork."""
        return self._popen.pid

    @property
    def stdin(self) -> IO[str]:
        """Its standard input; only with ``pipes``."""
        return cast(IO[str], self._popen.stdin)

    @property
    def stdout(self) -> IO[str]:
        """Its standard output; only with ``pipes``."""
        return cast(IO[str], self._popen.stdout)

    def poll(self) -> int | None:
        """Its exit status, negative for a signal as ``subprocess`` has it, or None while it runs."""
        return self._popen.poll()

    @property
    def running(self) -> bool:
        return self.poll() is None

    def output(self) -> str:
        """What it wrote to its log so far."""
        return self.log.read_text(errors="replace")

    def send_signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self, timeout: float) -> int:
        """Wait for its end. Raises ``subprocess.TimeoutExpired`` after ``timeout`` seconds."""
        return self._popen.wait(timeout)

    def terminate(self, grace: float = _TERMINATE_GRACE) -> int:
        """Send SIGTERM and wait; after ``grace`` seconds SIGKILL. Returns the exit status."""
        if self.running:
            self._popen.terminate()
            try:
                self._popen.wait(grace)
            except subprocess.TimeoutExpired:
                return self.kill()
        self._close_pipes()
        return cast(int, self._popen.returncode)

    def kill(self) -> int:
        """Send SIGKILL and reap. Harmless when it has ended. Returns the exit status."""
        self._popen.kill()
        status = self._popen.wait()
        self._close_pipes()
        return status

    def _close_pipes(self) -> None:
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def cpu_seconds(self) -> float:
        """User and system time it has used so far, in seconds (proc(5), fields 14 and 15 of ``stat``)."""
        # The name in parentheses may hold blanks; field 3 follows the last parenthesis.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS

    def resident_bytes(self) -> int:
        """Memory it holds, in bytes (proc(5), ``VmRSS``)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def __repr__(self) -> str:
        return f"<Process {self.pid}: {shlex.join(self.args)}>"
