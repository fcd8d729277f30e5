# SPDX-License-Identifier: GPL-2.0-or-later
"""The traffic processes as seen from the experiment."""

from __future__ import annotations

import select
import sys
from pathlib import Path

import testbed
from testbed.namespace import Namespace
from testbed.traffic.report import TrafficReport

_PORT = 5001
_EVENTS_PER_SECOND = 2500
_SHORTEST_INTERVAL = 0.02
_ANSWER_GRACE = 5.0


class TrafficError(RuntimeError):
    """A traffic process did not start or did not answer. The text holds what it wrote to its log."""


class _TrafficProcess:
    """A traffic process and its line of questions and answers."""

    def __init__(self, namespace: Namespace, module: str, *options: str) -> None:
        root = str(Path(testbed.__file__).parents[1])
        self.process = namespace.popen(
            [sys.executable, "-m", module, *options],
            name=module.rpartition(".")[2],
            pipes=True,
            environment={"PYTHONPATH": root},
        )

    def wait_ready(self, deadline: float = 10.0) -> None:
        """Wait until it listens, or all its long connections are open. Raises :class:`TrafficError`."""
        self._line(deadline)

    def report(self, deadline: float = 10.0) -> TrafficReport:
        """Its view now. Raises :class:`TrafficError`."""
        return self._ask("report", deadline)

    def forget_gaps(self, deadline: float = 10.0) -> None:
        """Let the longest gaps be those from now on. Raises :class:`TrafficError`."""
        self._ask("forget", deadline)

    def finish(self, deadline: float = 10.0) -> TrafficReport:
        """End all connections in good order and report; first the client, then the server.

        Those that do not end within ``deadline`` seconds are reported as not closed.
        """
        return self._ask(f"finish {deadline}", deadline + _ANSWER_GRACE)

    def _ask(self, word: str, deadline: float) -> TrafficReport:
        try:
            self.process.stdin.write(f"{word}\n")
            self.process.stdin.flush()
        except OSError as error:
            raise TrafficError(f"{self.process} has ended\n{self.process.output()}") from error
        return TrafficReport.from_json(self._line(deadline))

    def _line(self, deadline: float) -> str:
        # One line per question: nothing is left in the text layer's buffer that select would not see.
        readable, _, _ = select.select([self.process.stdout], [], [], deadline)
        line = self.process.stdout.readline() if readable else ""
        if not line:
            raise TrafficError(f"no answer of {self.process} in {deadline} s\n{self.process.output()}")
        return line


class TrafficServer(_TrafficProcess):
    """The server process; it serves any number of clients, one after the other."""

    def __init__(self, namespace: Namespace, address: str, *, connections: int, port: int = _PORT) -> None:
        """Start it and wait until it listens; ``connections`` sets its pace as at the client."""
        self.address, self.port = address, port
        super().__init__(
            namespace,
            "testbed.traffic.server",
            *["--address", address, "--port", str(port), "--interval", str(_pace(connections))],
        )
        self.wait_ready()


class TrafficClient(_TrafficProcess):
    """The client process."""

    def __init__(
        self,
        namespace: Namespace,
        server: TrafficServer,
        *,
        connections: int,
        short_interval: float = 0.0,
        deadline: float = 20.0,
    ) -> None:
        """Start it and wait until all ``connections`` long ones are open, ``deadline`` seconds at the most.

        From then on it opens a short one every ``short_interval`` seconds; 0 for none.
        """
        super().__init__(
            namespace,
            "testbed.traffic.client",
            *["--address", server.address, "--port", str(server.port)],
            *["--connections", str(connections), "--interval", str(_pace(connections))],
            *["--short-interval", str(short_interval)],
        )
        self.wait_ready(deadline)


def _pace(connections: int) -> float:
    """Seconds between two blocks of a connection: many connections share what one process can check."""
    return max(_SHORTEST_INTERVAL, connections / _EVENTS_PER_SECOND)
