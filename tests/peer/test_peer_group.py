# SPDX-License-Identifier: GPL-2.0-or-later
"""Three and four nodes of one multicast group, each in step with each, though the network loses."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from testbed import PrivilegeError, Testbed, dropped, in_user_namespace, loss, require_root, wait_until
from tests.peer.flows import batch_of, name_of, plain_tcp_flows
from tests.peer.group import Group, Switch, entries_of
from tests.peer.nodes import Node
from tests.peer.tables import external_lines

FLOWS = 300
STEPS = 20 if in_user_namespace() else 60


@pytest.fixture(scope="module")
def switch() -> Iterator[Switch]:
    try:
        require_root()
    except PrivilegeError as error:
        pytest.skip(str(error))
    with Testbed() as bed:
        yield Switch(bed)


@pytest.mark.parametrize("count", [3, 4])
def test_ftfw_loses_nothing_where_the_network_does(switch: Switch, count: int) -> None:
    with switch.group("FTFW", ["ours"] * count) as group:
        group.populate(FLOWS)
        with loss(*switch.ends[:count], percent=1):
            group.load(STEPS)
            group.wait_equal()
            assert sum(dropped(end) for end in switch.ends[:count]) > 0
        # Nobody had to ask for a whole table.
        assert "resync requested" not in group.logs()
        assert [entry.keys() for entry in map(entries_of, group.nodes)] == [
            {f"10.77.0.{other + 1}" for other in range(count) if other != own} for own in range(count)
        ]
        check_owners(group)


def check_owners(group: Group) -> None:
    """Whose entry is whose, as each node says."""
    for receiver in group.nodes:
        shown = entries_of(receiver)
        for number, sender in enumerate(group.nodes, 1):
            if sender is not receiver:
                assert shown[f"10.77.0.{number}"] == external_lines(sender.kernel())


def test_notrack_finds_by_the_digest_what_it_lost(switch: Switch) -> None:
    with switch.group("NOTRACK", ["ours"] * 3) as group:
        group.populate(FLOWS)
        group.wait_equal()
        # Each has seen each whole before any is lost.
        time.sleep(2.5)
        with loss(*switch.ends[:3], percent=5):
            group.load(STEPS)
            assert sum(dropped(end) for end in switch.ends[:3]) > 0
        group.wait_equal()


def test_a_node_that_was_killed_is_followed_again(switch: Switch) -> None:
    with switch.group("FTFW", ["ours"] * 3) as group:
        group.populate(FLOWS)
        group.wait_equal()
        first = group.nodes[0]
        first.daemon.kill()
        group.nodes[1].create(plain_tcp_flows(50, 77_000_000))
        first.flush_kernel()
        first.create(plain_tcp_flows(30, 78_000_000))
        first.daemon.start()
        first.daemon.client("-n")
        group.wait_equal()


def test_the_newest_claim_shows_and_the_former_owner_is_told_apart(switch: Switch) -> None:
    """One dies, another one commits its flows: they are the other's. When that ends them, they are gone."""
    with switch.group("FTFW", ["ours"] * 3) as group:
        first, second, third = group.nodes
        flows = plain_tcp_flows(40)
        first.create(flows)
        group.wait_equal()
        first.daemon.kill()
        second.daemon.client("-c")
        wait_until(
            lambda: owners(third) == {"10.77.0.2": 40}, 20.0, "the take-over", lambda: str(owners(third))
        )
        assert node_numbers(third, "10.77.0.1") == (40, 40)
        with second.table() as table:
            ended = batch_of(name_of(flows, i) for i in range(10))
            wait_until(lambda: "SILENT" in third.daemon.client("-s", "nodes").stdout, 20.0, "silence")
            assert not table.delete_batch(ended)
        wait_until(lambda: owners(third) == {"10.77.0.2": 30}, 20.0, "the end", lambda: str(owners(third)))
        first.daemon.start()
        wait_until(
            lambda: node_numbers(third, "10.77.0.1") == (40, 30),
            30.0,
            "the first node's claims",
            lambda: third.daemon.client("-s", "nodes").stdout,
        )
        assert owners(third) == {"10.77.0.1": 10, "10.77.0.2": 30}


def owners(node: Node) -> dict[str, int]:
    return {owner: len(lines) for owner, lines in entries_of(node).items()}


def node_numbers(node: Node, address: str) -> tuple[int, int]:
    """By `-s nodes`: how many flows a node claims, and how many of these others have claimed since."""
    lines = iter(node.daemon.client("-s", "nodes").stdout.splitlines())
    for line in lines:
        if line.startswith(f"node {address}"):
            numbers = [int(word) for word in next(lines).split() if word.isdigit()]
            return numbers[0], numbers[1]
    return 0, 0


def test_two_nodes_of_ours_stay_in_step_beside_a_c_node(switch: Switch) -> None:
    with switch.group("FTFW", ["ours", "ours", "C"]) as group:
        group.populate(FLOWS)
        group.load(STEPS)
        ours = group.nodes[:2]
        for receiver, sender in (ours, ours[::-1]):
            number = group.nodes.index(sender) + 1
            lines = external_lines(sender.kernel())
            wait_until(
                lambda receiver=receiver, number=number, lines=lines: (  # type: ignore[misc]
                    entries_of(receiver).get(f"10.77.0.{number}") == lines
                ),
                60.0,
                f"{len(lines)} entries of {sender.daemon.name} at {receiver.daemon.name}",
                group.logs,
            )
        malformed = group.nodes[2].daemon.client("-s", "network").stdout
        assert all(line.endswith(" 0") for line in malformed.splitlines() if "alformed" in line)
