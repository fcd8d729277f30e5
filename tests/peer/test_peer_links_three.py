# SPDX-License-Identifier: GPL-2.0-or-later
"""Three nodes on two multicast links: one of them loses the link in use, and all go over to the other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from testbed import (
    Configuration,
    Interface,
    MulticastLink,
    PrivilegeError,
    Testbed,
    bridge,
    plug,
    require_root,
    wait_until,
)
from tests.peer.flows import batch_of, name_of, plain_tcp_flows
from tests.peer.nodes import TRACKED_BY_HAND, Node
from tests.peer.tables import external_lines, internal_lines, records_of

LINKS = ("sync0", "sync1")
NODES = 3
FLOWS = 300


class Cluster:
    """Three running nodes, and each one's interfaces."""

    def __init__(self, bed: Testbed) -> None:
        switches = [bridge(bed.namespace(f"switch{number}")) for number in range(len(LINKS))]
        self.nodes: list[Node] = []
        self.interfaces: list[list[Interface]] = []
        for index in range(NODES):
            namespace = bed.namespace(f"node{index}")
            namespace.nft(TRACKED_BY_HAND)
            own = [f"10.7{number}.0.{1 + index}" for number in range(len(LINKS))]
            self.interfaces.append(
                [
                    plug(switch, namespace, name, [f"{address}/24"])
                    for switch, name, address in zip(switches, LINKS, own, strict=True)
                ]
            )
            configuration = Configuration(
                [MulticastLink(name, address) for name, address in zip(LINKS, own, strict=True)], "FTFW"
            )
            self.nodes.append(Node(namespace, self.interfaces[index][0], "ours", configuration))

    def logs(self) -> str:
        return "\n".join(f"--- {node.daemon.name}\n{node.daemon.log()}" for node in self.nodes)

    def wait_equal(self) -> None:
        """Each node's external cache shows what all the others have."""
        tables = []
        for node in self.nodes:
            with node.table() as table:
                tables.append(table.dump_batch())
        for index, node in enumerate(self.nodes):
            own = internal_lines(records_of(tables[index]))
            others = sorted(
                line
                for number, table in enumerate(tables)
                if number != index
                for line in external_lines(records_of(table))
            )
            wait_until(partial(self._shows, node, own, others), 30.0, f"node {index} in step", self.logs)

    def _shows(self, node: Node, own: list[bytes], others: list[bytes]) -> bool:
        return node.cache("internal") == own and node.cache("external") == others

    def work(self, round_: int) -> None:
        """Each node gets new flows; some of the former change, and some end."""
        for index, node in enumerate(self.nodes):
            with node.table() as table:
                before = table.dump_batch()
                names = [name_of(before, i) for i in range(len(before))]
                assert not table.update_batch(
                    batch_of({**name, "mark": round_ + 1, "timeout": 2000} for name in names[0::3])
                )
                assert not table.delete_batch(batch_of(names[1::3]))
                new = plain_tcp_flows(FLOWS, first=1 + (NODES * round_ + index) * FLOWS)
                assert not table.create_batch(new)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    try:
        require_root()
    except PrivilegeError as error:
        pytest.skip(str(error))
    with Testbed() as bed:
        made = Cluster(bed)
        for node in made.nodes:
            node.daemon.start()
        yield made
        assert [node.daemon.terminate() for node in made.nodes] == [0] * NODES, made.logs()


def all_use(cluster: Cluster, interface: str) -> bool:
    line = f"multicast traffic device={interface} status=RUNNING role=ACTIVE:"
    return all(line in node.daemon.client("-s", "link").stdout.splitlines() for node in cluster.nodes)


def test_three_nodes_go_over_to_the_other_link_together(cluster: Cluster) -> None:
    cluster.work(0)
    cluster.wait_equal()
    for round_, (index, failing, other) in enumerate(((0, 0, 1), (2, 1, 0)), start=1):
        cluster.interfaces[index][failing].down()
        cluster.work(round_)
        wait_until(partial(all_use, cluster, LINKS[other]), 20.0, "the other link", cluster.logs)
        cluster.wait_equal()
        cluster.interfaces[index][failing].up()
        cluster.work(round_ + 2)
        cluster.wait_equal()
    assert "resync requested" not in cluster.logs()
