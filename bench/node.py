# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon under measurement, ours or the C one."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.results import OURS, THEIRS
from testbed import Configuration, Conntrackd, Namespace, UnicastLink, run_command, wait_until

_COMMANDS = {OURS: [sys.executable, "-m", "pyconntrack.cli.conntrackd"], THEIRS: ["/usr/sbin/conntrackd"]}
_PATIENCE = 60.0
# A daemon rests when a quarter of a second takes it less than two percent of that.
_REST_SECONDS = 0.25
_REST_SHARE = 0.02
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
# By itself the C daemon takes real-time scheduling of the highest priority, and ours none. What makes events
# goes before both, see bench.short_connections.
_SCHEDULER = ["Scheduler {", "Type RR", "Priority 50", "}"]
_OVERRUNS = re.compile(r"netlink overrun:\s*(\d+)")
_ACTIVE = re.compile(r"cache (internal|external):\ncurrent active connections:\s*(\d+)")


@dataclass(frozen=True)
class Site:
    """Where a daemon runs: its namespace, and both ends' addresses on the link."""

    namespace: Namespace
    own: str
    peer: str


def _clock_of(process: int) -> int:
    """The clock that counts the process's CPU time, linux/posix-timers_types.h."""
    return ~process << 3 | 2


class Node:
    """A daemon of a kind at a site, with room for `flows` flows. A context manager; it runs inside."""

    def __init__(
        self,
        kind: str,
        site: Site,
        flows: int,
        *,
        netlink_buffers: tuple[int, int] = (32 * 2**20, 128 * 2**20),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`netlink_buffers` are the sizes at first and at most, in bytes."""
        self.kind = kind
        configuration = Configuration(
            [UnicastLink("link", own=site.own, peer=site.peer, buffer_size=32 * 2**20)],
            hash_size=1 << max(0, flows - 1).bit_length(),
            hash_limit=4 * flows,
            netlink_buffer_size=netlink_buffers[0],
            netlink_buffer_growth=netlink_buffers[1],
            general_lines=_SCHEDULER,
        )
        self._daemon = Conntrackd(site.namespace, _COMMANDS[kind], configuration, environment=environment)

    def __enter__(self) -> Node:
        self._daemon.start(_PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.terminate()

    def processor_seconds(self) -> float:
        """CPU time so far, user and system: its own to the nanosecond, that of dead children in ticks.

        See clock_getcpuclockid(3), proc(5).
        """
        process = self._daemon.process.pid
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return time.clock_gettime(_clock_of(process)) + (int(fields[13]) + int(fields[14])) / _CLOCK_TICKS

    def private_memory(self) -> int:
        """Memory of its own, in bytes (RssAnon, proc(5)): without the code that processes share."""
        status = Path(f"/proc/{self._daemon.process.pid}/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0]) * 1024

    def command(self, *options: str) -> str:
        """Run a client command to its end and return what it printed."""
        args = [*self._daemon.command, "-C", str(self._daemon.configuration_file), *options]
        # Not by `ip netns exec`, whose own time would be counted as the client's.
        with self._daemon.namespace.entered():
            return run_command(args, timeout=_PATIENCE).stdout

    def entries(self, cache: str) -> int:
        """Flows in the `internal` or `external` cache."""
        return int(dict(_ACTIVE.findall(self.command("-s")))[cache])

    def overruns(self) -> int:
        """How often the kernel had more events than room for them."""
        match = _OVERRUNS.search(self.command("-s", "runtime"))
        return int(match[1]) if match else 0

    def wait_for(self, cache: str, count: int, patience: float = _PATIENCE) -> None:
        """Wait until a cache has exactly `count` flows. Raises WaitTimeoutError."""
        wait_until(
            lambda: self.entries(cache) == count,
            patience,
            f"{count} flows in the {cache} cache of {self.kind}",
            lambda: self.command("-s") + self._daemon.log(),
        )

    def rest(self) -> None:
        """Wait until it has nothing to do. Raises WaitTimeoutError."""
        wait_until(self._rests, _PATIENCE, f"an idle daemon of {self.kind}", self._daemon.log)

    def _rests(self) -> bool:
        before = self.processor_seconds()
        time.sleep(_REST_SECONDS)
        return self.processor_seconds() - before < _REST_SHARE * _REST_SECONDS
