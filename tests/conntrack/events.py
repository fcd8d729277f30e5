# SPDX-License-Identifier: GPL-2.0-or-later
"""Two listeners in one namespace: what happens there, both tools tell in the same words."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from testbed import Namespace, wait_until
from tests.conntrack.normal import normal
from tests.conntrack.tools import OURS, C, Result, Tool, result_of

_DEADLINE = 20.0
_NETFILTER = "12"


class Listeners:
    """`conntrack -E` of each tool, listening. Their results are there when the block has ended."""

    def __init__(
        self, namespace: Namespace, arguments: list[str], tools: tuple[Tool, Tool] = (C, OURS)
    ) -> None:
        self._namespace = namespace
        self._arguments = arguments
        self._tools = tools
        self._processes: list[subprocess.Popen[bytes]] = []
        self.results: list[Result] = []

    @contextlib.contextmanager
    def listening(self) -> Iterator[Listeners]:
        """Begins when both listen, ends when both have said what they heard."""
        self._processes = [tool.start(self._namespace, self._arguments) for tool in self._tools]
        try:
            wait_until(
                lambda: self._ended() or len(sockets_in_groups(self._namespace)) == 2,
                _DEADLINE,
                "two listeners",
            )
            yield self
            wait_until(lambda: self._ended() or self._idle(), _DEADLINE, "the end of what there is to hear")
            self._interrupt()
        finally:
            for process in self._processes:
                process.kill()
                process.communicate()

    def _ended(self) -> bool:
        return all(process.poll() is not None for process in self._processes)

    def _interrupt(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        for process in self._processes:
            output, errors = process.communicate(timeout=_DEADLINE)
            result = result_of(output, errors, process.returncode)
            self.results.append(normal(result, words=self._arguments, own_table=False))

    def _idle(self) -> bool:
        """Whether nothing waits in a socket, and all wait for more."""
        states = [
            Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2] for process in self._processes
        ]
        return all(line[4] == "0" for line in sockets_in_groups(self._namespace)) and all(
            state.split()[0] == "S" for state in states
        )


def sockets_in_groups(namespace: Namespace) -> list[list[str]]:
    """The fields of each line of /proc/net/netlink whose socket has joined a group of netfilter's."""
    with namespace.entered():
        lines = Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return [line for line in fields if line[1] == _NETFILTER and int(line[3], 16)]
