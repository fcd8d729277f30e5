# SPDX-License-Identifier: GPL-2.0-or-later
"""Several daemons in one multicast group on a switch, each with a kernel table of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from testbed import Configuration, MulticastLink, Testbed, bridge, in_user_namespace, plug, wait_until
from testbed.configuration import Mode
from tests.peer.flows import batch_of, name_of, plain_tcp_flows, varied_flows
from tests.peer.nodes import ROOMY, TRACKED_BY_HAND, Kind, Node
from tests.peer.tables import cache_lines, external_lines

NAMES = ("one", "two", "three", "four")
# Flows that each node gets in one step of the load.
STEP_FLOWS = 60
# Numbers of flows that no two nodes share.
APART = 1_000_000


class Switch:
    """Namespaces on a switch, for one group after another."""

    def __init__(self, bed: Testbed) -> None:
        self.namespaces = [bed.namespace(name) for name in NAMES]
        switch = bridge(bed.namespace("switch"))
        self.ends = []
        for number, namespace in enumerate(self.namespaces, 1):
            namespace.nft(TRACKED_BY_HAND)
            self.ends.append(plug(switch, namespace, "sync", [f"10.77.0.{number}/24"]))

    @contextmanager
    def group(
        self,
        mode: Mode,
        kinds: Sequence[Kind],
        adapt: Callable[[Configuration], None] = lambda configuration: None,
    ) -> Iterator[Group]:
        """As many daemons as `kinds`, running; they must end well."""
        nodes = []
        for index, kind in enumerate(kinds):
            link = MulticastLink("sync", f"10.77.0.{index + 1}", buffer_size=ROOMY)
            size = ROOMY if not in_user_namespace() else 2**20
            configuration = Configuration(
                [link], mode, netlink_buffer_size=size, netlink_buffer_growth=2 * ROOMY
            )
            if mode == "FTFW":
                configuration.mode_lines = ["ResendQueueSize 262144"]
            adapt(configuration)
            nodes.append(Node(self.namespaces[index], self.ends[index], kind, configuration))
        group = Group(nodes)
        try:
            for node in nodes:
                node.flush_kernel()
                node.daemon.start()
            yield group
        except BaseException:
            for node in nodes:
                node.daemon.kill()
            raise
        statuses = [node.daemon.terminate() for node in nodes]
        assert statuses == [0] * len(nodes), group.logs()


class Group:
    """Daemons in one group."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    def logs(self) -> str:
        return "\n".join(f"--- {node.daemon.name}, {node.kind}\n{node.daemon.log()}" for node in self.nodes)

    def load(self, steps: int) -> None:
        """Flows begin, change and end on all nodes by turns; no two nodes have the same."""
        tables = [node.table() for node in self.nodes]
        made = [
            [plain_tcp_flows(STEP_FLOWS, APART * (index + 1) + STEP_FLOWS * step) for step in range(steps)]
            for index in range(len(tables))
        ]
        for step in range(steps):
            for index, table in enumerate(tables):
                refused = list(table.create_batch(made[index][step]))
                if step:
                    before = made[index][step - 1]
                    names = [name_of(before, i) for i in range(STEP_FLOWS)]
                    changes = batch_of({**name, "mark": step, "timeout": 2000} for name in names[::2])
                    refused += table.update_batch(changes)
                    refused += table.delete_batch(batch_of(names[::3]))
                assert not refused
        for table in tables:
            table.close()

    def populate(self, count: int) -> None:
        """Give each node flows of all kinds."""
        for index, node in enumerate(self.nodes):
            node.create(varied_flows(count, APART // 10 * (index + 1)))

    def expected(self, receiver: Node) -> list[bytes]:
        """What the others' kernels have, as the receiver's external cache shows it."""
        others = [node for node in self.nodes if node is not receiver]
        return sorted(
            line for node in others for line in external_lines(node.kernel(ports_lost=node.kind == "C"))
        )

    def wait_equal(self, deadline: float = 60.0, receivers: Sequence[Node] | None = None) -> None:
        """Wait until the external cache of each receiver, or of all, shows the others' tables."""
        end = monotonic() + deadline
        for node in receivers or self.nodes:
            lines = self.expected(node)
            wait_until(
                lambda node=node, lines=lines: (  # type: ignore[misc]
                    node.active("external") == len(lines) and node.cache("external") == lines
                ),
                max(0.0, end - monotonic()),
                f"{len(lines)} entries in the external cache of {node.daemon.name}",
                lambda node=node: f"{node.active('external')} by -s\n{self.logs()}",  # type: ignore[misc]
            )


def entries_of(node: Node) -> dict[str, list[bytes]]:
    """The external cache by the nodes that its entries are from, as `-e nodes` says."""
    found: dict[str, list[bytes]] = {}
    for line in node.daemon.client("-e", "nodes").stdout.splitlines():
        entry, _, owner = line.rpartition(" [from ")
        found.setdefault(owner.rstrip("]"), []).append(entry.encode())
    return {owner: cache_lines(b"\n".join(lines) + b"\n") for owner, lines in found.items()}
