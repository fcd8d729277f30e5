# SPDX-License-Identifier: GPL-2.0-or-later
"""A running ``conntrackd``, the C one or ours: start, ask, stop."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed.command import run_command
from testbed.configuration import Configuration
from testbed.namespace import Namespace
from testbed.process import Process
from testbed.waiting import wait_until


class DaemonDiedError(RuntimeError):
    """The daemon ended while it was expected to run. The text holds its status and what it logged."""


class Conntrackd:
    """A ``conntrackd`` in a namespace, run in the foreground, with a configuration file made for it.

    ``command`` is the program with its first arguments, for instance ``["/usr/sbin/conntrackd"]``.
    ``configuration`` is a :class:`Configuration`, or the whole text of a file. Its paths are
    ``configuration_file``, ``lock``, ``socket`` and ``log_file``, in the namespace's directory.
    """

    def __init__(
        self,
        namespace: Namespace,
        command: Sequence[str],
        configuration: Configuration | str,
        *,
        name: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Write the configuration; nothing runs yet. ``name`` tells several daemons of a namespace apart."""
        self.namespace = namespace
        self.command = list(command)
        self.name = name or namespace.label
        self.environment = environment
        base = namespace.directory / self.name
        self.configuration_file = base.with_suffix(".conf")
        self.lock = base.with_suffix(".lock")
        self.socket = base.with_suffix(".ctl")
        self.log_file = base.with_suffix(".log")
        self.configure(configuration)
        self._process: Process | None = None

    def configure(self, configuration: Configuration | str) -> None:
        """Write another configuration, for the next start."""
        if isinstance(configuration, Configuration):
            configuration = configuration.text(self.namespace.directory, self.name)
        self.configuration_file.write_text(configuration)

    def start(self, deadline: float = 10.0) -> None:
        """Start it and wait until it answers. Raises :class:`DaemonDiedError`, or ``WaitTimeoutError``."""
        self.launch()
        self.wait_ready(deadline)

    def launch(self) -> None:
        """Start it and do not wait."""
        self._process = self.namespace.popen(
            [*self.command, "-C", str(self.configuration_file)],
            name=f"{self.name}-conntrackd",
            environment=self.environment,
        )

    @property
    def process(self) -> Process:
        """Its process, for its id, its CPU time and its memory."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    def wait_ready(self, deadline: float = 10.0) -> None:
        """Wait until it answers ``-s``. Raises :class:`DaemonDiedError`, or ``WaitTimeoutError``."""
        wait_until(self._answers, deadline, f"an answer of {self.name}'s conntrackd", self.log)

    def _answers(self) -> bool:
        self.expect_running()
        return self.socket.exists() and self.client("-s", check=False).returncode == 0

    def expect_running(self) -> None:
        """Raise :class:`DaemonDiedError` if it has ended."""
        status = self.process.poll()
        if status is not None:
            raise DaemonDiedError(f"{self.name}'s conntrackd ended with status {status}\n{self.log()}")

    def client(
        self, *options: str, timeout: float = 60.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run ``conntrackd -C FILE OPTIONS`` to its end. With ``check``, raises ``CommandFailedError``."""
        args = [*self.command, "-C", str(self.configuration_file), *options]
        return run_command(self.namespace.command(args), timeout=timeout, check=check)

    def log(self) -> str:
        """What it has said so far: its log file, then its output."""
        log = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return log + (self._process.output() if self._process else "")

    def terminate(self) -> int:
        """Stop it by SIGTERM. Returns its exit status, negative for a signal that it did not catch."""
        return self.process.terminate()

    def kill(self) -> int:
        """Kill it by SIGKILL; its lock and socket stay behind, as they do in life."""
        return self.process.kill()


def find_daemon(program: str | Path) -> list[str]:
    """The command list for a daemon at a path. Raises ``FileNotFoundError`` with the path in it."""
    path = Path(program)
    if not path.is_file():
        raise FileNotFoundError(f"no conntrackd at {path}")
    return [str(path.absolute())]
