# SPDX-License-Identifier: GPL-2.0-or-later
"""Two daemons, ours or Debian's C one, in two namespaces with a dedicated link."""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import pyconntrack
from pyconntrack import ConntrackTable, FlowBatch
from pyconntrack.cli.options import parse_options
from pyconntrack.daemon.control_client import request
from testbed import (
    Configuration,
    Conntrackd,
    Interface,
    MulticastLink,
    Namespace,
    Testbed,
    UnicastLink,
    find_daemon,
    in_user_namespace,
    veth,
    wait_until,
)
from testbed.configuration import Mode
from tests.peer.tables import Records, cache_lines, differences, external_lines, internal_lines, records_of

Kind = Literal["ours", "C"]
Cache = Literal["internal", "external"]
Transport = Literal["udp", "multicast", "tcp", "udp6", "multicast6", "tcp6"]

SOURCES = Path(pyconntrack.__file__).parents[1]
OURS = ["env", f"PYTHONPATH={SOURCES}", sys.executable, "-P", "-m", "pyconntrack.cli.conntrackd"]
"""Our command as it stands in the sources, whether it is installed or not."""

# Labels exist once a rule uses them; what crosses the dedicated link itself stays out of the table.
TRACKED_BY_HAND = """
    table inet by_hand {
        chain arriving { type filter hook prerouting priority raw; notrack; }
        chain leaving { type filter hook output priority raw; notrack; }
        chain labels {
            type filter hook input priority filter
            ct state untracked accept
            ct label set 1
        }
    }
"""

# Room for a hundred thousand events at once. A user namespace's root cannot have it: fewer flows there.
ROOMY = 64 * 2**20
MANY = 5_000 if in_user_namespace() else 100_000
SOME = 2_000 if in_user_namespace() else 5_000


def command_of(kind: Kind) -> list[str]:
    """The daemon's command line."""
    return OURS if kind == "ours" else find_daemon("/usr/sbin/conntrackd")


@dataclass
class Node:
    """A namespace with its kernel table and a daemon."""

    namespace: Namespace
    interface: Interface
    kind: Kind
    configuration: Configuration
    daemon: Conntrackd = field(init=False)

    def __post_init__(self) -> None:
        self.daemon = Conntrackd(self.namespace, command_of(self.kind), self.configuration)

    def table(self) -> ConntrackTable:
        return ConntrackTable(self.namespace.name)

    def kernel(self, **options: Any) -> Records:
        """What its kernel has."""
        with self.table() as table:
            return records_of(table.dump_batch(), **options)

    def create(self, flows: FlowBatch) -> None:
        """Put flows into its kernel; all must be taken."""
        with self.table() as table:
            refused = table.create_batch(flows)
        assert not refused, f"the kernel refused {len(refused)}, the first: {refused[0]}"

    def flush_kernel(self) -> None:
        with self.table() as table:
            table.flush()

    def active(self, cache: Cache) -> int:
        """How many entries a cache has, by `-s`."""
        lines = iter(self.ask("-s").decode().splitlines())
        for line in lines:
            if line == f"cache {cache}:":
                return int(next(lines).rpartition("\t")[2])
        raise AssertionError(f"no {cache} cache in the statistics")

    def cache(self, cache: Cache) -> list[bytes]:
        """A cache's lines, comparable."""
        return cache_lines(self.ask("-i" if cache == "internal" else "-e"))

    def ask(self, option: str) -> bytes:
        """What the daemon answers to its client.

        Ours is asked as the client does it, but from here: to start one is to start a Python.
        """
        if self.kind == "C":
            return self.daemon.client(option).stdout.encode()
        answer = io.BytesIO()
        request(str(self.daemon.socket), parse_options([option]).request, answer)
        return answer.getvalue()

    def restart(self, *, kill: bool = False) -> None:
        if kill:
            self.daemon.kill()
            self.daemon.lock.unlink(missing_ok=self.kind == "C")
        else:
            assert self.daemon.terminate() == 0, self.daemon.log()
        self.daemon.start()


class Pair:
    """Sender and receiver. Flows are made in the sender's kernel; nothing else is tracked in either."""

    def __init__(self, sender: Node, receiver: Node) -> None:
        self.sender = sender
        self.receiver = receiver
        self.ports_lost = sender.kind == "C"
        # The C daemon commits another tag than it received, also between two of its kind.
        self.lost = ["sctp_vtag_original"] if receiver.kind == "C" else []

    @property
    def nodes(self) -> tuple[Node, Node]:
        return self.sender, self.receiver

    def start(self) -> None:
        for node in self.nodes:
            node.flush_kernel()
            node.daemon.start()
        self.wait_connected()

    def wait_connected(self, deadline: float = 20.0) -> None:
        """Over TCP, wait until each can send to the other: a C node loses what it says before.

        A C node connects when it has something to say; in mode ALARM that is not before it has a flow.
        """
        waiting = [n for n in self.nodes if n.kind == "ours" or n.configuration.mode != "ALARM"]
        wait_until(
            lambda: all(b"client=disconnected" not in n.ask("-s") for n in waiting),
            deadline,
            "connections to the peer",
            self.logs,
        )

    def stop(self) -> None:
        """Stop both, which must end well."""
        statuses = [node.daemon.terminate() for node in self.nodes]
        assert statuses == [0, 0], f"ended with {statuses}\n{self.logs()}"

    @contextmanager
    def running(self) -> Iterator[Pair]:
        """Start both, and stop them, which must end well; where something else fails, only end them."""
        try:
            self.start()
            yield self
        except BaseException:
            for node in self.nodes:
                node.daemon.kill()
            raise
        self.stop()

    def logs(self) -> str:
        return "\n".join(f"--- {node.daemon.name}, {node.kind}\n{node.daemon.log()}" for node in self.nodes)

    def expected(self) -> Records:
        """The sender's kernel table, as it is after the way to the receiver."""
        return self.sender.kernel(ports_lost=self.ports_lost)

    def wait_equal(self, deadline: float = 30.0) -> None:
        """Wait until the sender's internal and the receiver's external cache show the sender's table.

        `deadline` is in seconds, for both together.
        """
        end = monotonic() + deadline
        self._wait_lines(self.sender, "internal", internal_lines(self.sender.kernel()), end)
        self._wait_lines(self.receiver, "external", external_lines(self.expected()), end)

    def wait_external(self, deadline: float = 30.0) -> None:
        """Wait until the receiver's external cache shows the sender's table. `deadline` is in seconds."""
        lines = external_lines(self.expected())
        self._wait_lines(self.receiver, "external", lines, monotonic() + deadline)

    def _wait_lines(self, node: Node, cache: Cache, lines: list[bytes], end: float) -> None:
        what = f"{len(lines)} entries in the {cache} cache of {node.kind}'s {node.daemon.name}"
        # The count is asked for first, since it costs the daemon next to nothing.
        wait_until(
            lambda: node.active(cache) == len(lines) and node.cache(cache) == lines,
            max(0.0, end - monotonic()),
            what,
            lambda: (
                f"{node.active(cache)} by -s, {len(self.sender.kernel())} in the sender's kernel, "
                f"{_differences(lines, node.cache(cache))}\n{self.logs()}"
            ),
        )

    def commit(self) -> None:
        self.receiver.daemon.client("-c")

    def check_commit(self, *, timeout_tolerance: int = 60, timeout_excess: int = 60) -> None:
        """Commit at the receiver, whose kernel is then as the sender's was; see :func:`differences`."""
        self.commit()
        found = differences(
            self.expected(),
            self.receiver.kernel(),
            timeout_tolerance=timeout_tolerance,
            timeout_excess=timeout_excess,
            ignoring=self.lost,
        )
        assert not found, "\n".join([*found, self.logs()])


def _differences(expected: list[bytes], actual: list[bytes]) -> str:
    missing, extra = Counter(expected) - Counter(actual), Counter(actual) - Counter(expected)
    return (
        f"{len(actual)} lines; {missing.total()} missing: {sorted(missing)[:3]}; "
        f"{extra.total()} too many: {sorted(extra)[:3]}"
    )


class Field:
    """The two namespaces and their link, for one pair after another."""

    def __init__(self, bed: Testbed) -> None:
        self.namespaces = (bed.namespace("left"), bed.namespace("right"))
        for namespace in self.namespaces:
            namespace.nft(TRACKED_BY_HAND)
        self.ends = veth(
            *(self.namespaces[0], "sync", self.namespaces[1], "sync"),
            first_addresses=["10.77.0.1/24", "fd00:77::1/64"],
            second_addresses=["10.77.0.2/24", "fd00:77::2/64"],
        )

    def pair(
        self,
        sender: Kind,
        receiver: Kind,
        mode: Mode,
        transport: Transport,
        adapt: Callable[[Configuration], None] = lambda configuration: None,
    ) -> Pair:
        """A pair that does not run yet. `adapt` may change each configuration."""
        nodes = []
        for index, kind in enumerate((sender, receiver)):
            configuration = Configuration(
                [link_of(transport, index)],
                mode,
                netlink_buffer_size=ROOMY if not in_user_namespace() else 2**20,
                netlink_buffer_growth=2 * ROOMY,
            )
            if mode == "FTFW":
                configuration.mode_lines = ["ResendQueueSize 262144"]
            adapt(configuration)
            nodes.append(Node(self.namespaces[index], self.ends[index], kind, configuration))
        return Pair(*nodes)


def link_of(transport: Transport, index: int) -> UnicastLink | MulticastLink:
    """The dedicated link as one of the two configures it."""
    addresses = ("fd00:77::1", "fd00:77::2") if transport.endswith("6") else ("10.77.0.1", "10.77.0.2")
    own, peer = addresses[index], addresses[1 - index]
    match transport:
        case "multicast":
            return MulticastLink("sync", own, buffer_size=ROOMY)
        case "multicast6":
            return MulticastLink("sync", group="ff02::77", buffer_size=ROOMY)
        case "tcp" | "tcp6":
            return UnicastLink("sync", own, peer, transport="TCP", buffer_size=ROOMY)
        case "udp" | "udp6":
            return UnicastLink("sync", own, peer, buffer_size=ROOMY)
