# SPDX-License-Identifier: GPL-2.0-or-later
"""Two dedicated links: the one in use fails under load, and the other one takes over without loss."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import pytest

from testbed import (
    Configuration,
    Interface,
    MulticastLink,
    Namespace,
    PrivilegeError,
    Testbed,
    UnicastLink,
    bridge,
    in_user_namespace,
    loss,
    plug,
    require_root,
    veth,
    wait_until,
)
from testbed.configuration import Mode
from tests.peer.flows import batch_of, name_of, plain_tcp_flows
from tests.peer.nodes import ROOMY, TRACKED_BY_HAND, Kind, Node, Pair
from tests.peer.tables import differences

LINKS = ("sync0", "sync1")
PORT = 3780

EVENTS_PER_SECOND = 2_000 if in_user_namespace() else 20_000
SECONDS = 2.0
STEP = 0.01


class TwoLinks:
    """Two namespaces, joined twice: by cables, or by switches, which keep the carrier up at the far end."""

    def __init__(self, bed: Testbed, switched: bool = False) -> None:
        label = "switched-" if switched else ""
        self.namespaces = (bed.namespace(f"{label}left"), bed.namespace(f"{label}right"))
        for namespace in self.namespaces:
            namespace.nft(TRACKED_BY_HAND)
        join = partial(switch, bed) if switched else cable
        self.ends = [join(*self.namespaces, number) for number in range(len(LINKS))]

    def pair(
        self,
        sender: Kind,
        receiver: Kind,
        mode: Mode,
        transport: str,
        adapt: Callable[[Configuration], None] = lambda configuration: None,
    ) -> Pair:
        nodes = []
        for index, kind in enumerate((sender, receiver)):
            configuration = Configuration(
                [link_of(transport, number, index) for number in range(len(LINKS))],
                mode,
                netlink_buffer_size=ROOMY if not in_user_namespace() else 2**20,
                netlink_buffer_growth=2 * ROOMY,
            )
            adapt(configuration)
            node = Node(self.namespaces[index], self.ends[0][index], kind, configuration)
            node.daemon.log_file.unlink(missing_ok=True)
            node.daemon.lock.unlink(missing_ok=True)
            nodes.append(node)
        return Pair(*nodes)

    def up(self) -> None:
        """Bring all ends into service."""
        for ends in self.ends:
            for end in ends:
                end.up()
        wait_until(lambda: all(end.in_service() for ends in self.ends for end in ends), 10.0, "all links")


def cable(left: Namespace, right: Namespace, number: int) -> tuple[Interface, Interface]:
    return veth(
        *(left, LINKS[number], right, LINKS[number]),
        first_addresses=[f"10.7{number}.0.1/24"],
        second_addresses=[f"10.7{number}.0.2/24"],
    )


def switch(bed: Testbed, left: Namespace, right: Namespace, number: int) -> tuple[Interface, Interface]:
    middle = bridge(bed.namespace(f"switch{number}"))
    return (
        plug(middle, left, LINKS[number], [f"10.7{number}.0.1/24"]),
        plug(middle, right, LINKS[number], [f"10.7{number}.0.2/24"]),
    )


def link_of(transport: str, number: int, index: int) -> UnicastLink | MulticastLink:
    """A link as one of the two configures it."""
    own, peer = f"10.7{number}.0.{1 + index}", f"10.7{number}.0.{2 - index}"
    if transport == "multicast":
        return MulticastLink(
            LINKS[number], own, group=f"225.0.0.{50 + number}", port=PORT + number, buffer_size=ROOMY
        )
    kind: Literal["UDP", "TCP"] = "TCP" if transport == "tcp" else "UDP"
    return UnicastLink(LINKS[number], own, peer, PORT + number, kind, buffer_size=ROOMY)


@pytest.fixture(scope="module")
def field() -> Iterator[TwoLinks]:
    try:
        require_root()
    except PrivilegeError as error:
        pytest.skip(str(error))
    with Testbed() as bed:
        yield TwoLinks(bed)


@pytest.fixture(scope="module")
def switched_field() -> Iterator[TwoLinks]:
    with Testbed() as bed:
        yield TwoLinks(bed, switched=True)


@pytest.fixture(autouse=True)
def all_up(field: TwoLinks) -> None:
    field.up()


class Load:
    """Flows that begin, change and end at a pace: half of the events are new flows, a quarter are changes."""

    def __init__(self, node: Node, first: int, seconds: float = SECONDS) -> None:
        self.node = node
        self.steps = round(seconds / STEP)
        self.step = 0
        self.refused = 0
        each = round(EVENTS_PER_SECOND * STEP) // 4
        self.each = each
        self.new = [plain_tcp_flows(2 * each, first + 2 * each * step) for step in range(self.steps)]
        self.changes = [
            batch_of({**name_of(flows, i), "mark": step + 1, "timeout": 2000} for i in range(each))
            for step, flows in enumerate(self.new)
        ]
        self.ends = [batch_of(name_of(flows, i) for i in range(each)) for flows in self.new]
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        assert self.refused == 0
        assert self.step == self.steps

    def wait_for(self, part: float) -> None:
        """Wait until this part of the load is done."""
        wait_until(lambda: self.step >= part * self.steps, 60.0, "the load")

    def _run(self) -> None:
        begin = time.monotonic()
        with self.node.table() as table:
            while self.step < self.steps:
                step = self.step
                self.refused += len(table.create_batch(self.new[step]))
                if step:
                    self.refused += len(table.update_batch(self.changes[step - 1]))
                if step > 1:
                    self.refused += len(table.delete_batch(self.ends[step - 2]))
                self.step += 1
                time.sleep(max(0.0, begin + self.step * STEP - time.monotonic()))


def role_of(node: Node, interface: str) -> tuple[str, str]:
    """Status and role of a link by `-s link`."""
    for line in node.daemon.client("-s", "link").stdout.splitlines():
        if f" device={interface} " in line:
            words = dict(word.split("=") for word in line.rstrip(":").split()[2:])
            return words["status"], words["role"]
    raise AssertionError(f"no link {interface}")


def wait_active(pair: Pair, interface: str) -> None:
    wait_until(
        lambda: all(role_of(node, interface) == ("RUNNING", "ACTIVE") for node in pair.nodes),
        10.0,
        f"{interface} in use on both",
        lambda: "\n".join([*(node.daemon.client("-s", "link").stdout for node in pair.nodes), pair.logs()]),
    )


def greeted(pair: Pair) -> None:
    """Wait until both have answered the other one's HELLO, at which a C node forgets what it has sent."""
    counts = [packets(node, "recv") for node in pair.nodes]
    wait_until(
        lambda: all(
            packets(node, "recv") >= count + 2 for node, count in zip(pair.nodes, counts, strict=True)
        ),
        10.0,
        "the nodes' greetings",
        pair.logs,
    )


def packets(node: Node, way: Literal["sent", "recv"]) -> int:
    """Sent or received over all links."""
    lines = node.daemon.client("-s", "link").stdout.splitlines()
    column = 0 if way == "sent" else 3
    return sum(int(line.split()[column]) for line in lines if "Pckts recv" in line)


def log_of(node: Node) -> str:
    """Its log file, where each line of this pair stands once."""
    return node.daemon.log_file.read_text()


def took_over(node: Node, new: str, old: str) -> int:
    """How often the log says so."""
    return log_of(node).count(f"device `{new}' becomes dedicated link in place of `{old}'")


@pytest.mark.parametrize("transport", ["udp", "multicast", "tcp"])
def test_ftfw_loses_nothing_when_the_link_in_use_fails_under_load(field: TwoLinks, transport: str) -> None:
    with field.pair("ours", "ours", "FTFW", transport).running() as pair:
        wait_active(pair, "sync0")
        with Load(pair.sender, 1) as load:
            load.wait_for(0.5)
            field.ends[0][0].down()
        wait_active(pair, "sync1")
        pair.wait_equal()
        assert [took_over(node, "sync1", "sync0") for node in pair.nodes] == [1, 1]
        assert "in place of `sync0', which is down" in log_of(pair.sender)
        assert role_of(pair.sender, "sync0") == ("DOWN", "BACKUP")
        assert role_of(pair.receiver, "sync0") == ("NO-CARRIER", "BACKUP")

        field.up()
        wait_until(lambda: role_of(pair.sender, "sync0") == ("RUNNING", "BACKUP"), 10.0, "sync0 as a backup")
        with Load(pair.sender, 10**6) as load:
            load.wait_for(0.5)
            field.ends[1][1].down()
        wait_active(pair, "sync0")
        pair.wait_equal()
        assert [took_over(node, "sync0", "sync1") for node in pair.nodes] == [1, 1]
        assert role_of(pair.receiver, "sync1") == ("DOWN", "BACKUP")
        pair.check_commit()
        assert "resync requested" not in pair.logs()


@pytest.mark.parametrize("transport", ["udp", "multicast", "tcp"])
def test_ftfw_loses_nothing_when_only_one_end_sees_the_failure(
    field: TwoLinks, switched_field: TwoLinks, transport: str
) -> None:
    """The sender speaks into a link that carries nothing any more, until it hears the other one elsewhere."""
    switched_field.up()
    with switched_field.pair("ours", "ours", "FTFW", transport).running() as pair:
        wait_active(pair, "sync0")
        with Load(pair.sender, 1) as load:
            load.wait_for(0.5)
            with loss(*switched_field.ends[0], percent=100):
                before = packets(pair.sender, "sent")
                wait_until(lambda: packets(pair.sender, "sent") >= before + 3, 10.0, "losses", pair.logs)
                switched_field.ends[0][1].down()
        wait_active(pair, "sync1")
        pair.wait_equal()
        assert "in place of `sync0', which is down" in log_of(pair.receiver)
        assert "in place of `sync0': messages come by it" in log_of(pair.sender)
        assert lost(pair.receiver) > 0
        pair.check_commit()
        assert "resync requested" not in pair.logs()


def lost(node: Node) -> int:
    """Messages that did not arrive under their first number."""
    lines = node.daemon.client("-s", "network").stdout.splitlines()
    return next(int(line.rpartition("\t")[2]) for line in lines if "Packets lost" in line)


@pytest.mark.parametrize(("sender", "receiver"), [("ours", "C"), ("C", "ours")])
@pytest.mark.parametrize("mode", ["FTFW", "NOTRACK"])
def test_both_daemons_stay_in_step_from_link_to_link(
    field: TwoLinks, sender: Kind, receiver: Kind, mode: Mode
) -> None:
    with field.pair(sender, receiver, mode, "udp").running() as pair:
        ours = next(node for node in pair.nodes if node.kind == "ours")
        pair.sender.create(plain_tcp_flows(200))
        pair.wait_equal()
        for step, (end, failing, other) in enumerate(((0, 0, 1), (1, 1, 0))):
            before = took_over(ours, LINKS[other], LINKS[failing])
            field.ends[failing][end].down()
            wait_active(pair, LINKS[other])
            pair.sender.create(plain_tcp_flows(200, first=1000 * (step + 1)))
            pair.wait_equal()
            assert took_over(ours, LINKS[other], LINKS[failing]) == before + 1, pair.logs()
            for index, node in enumerate(pair.nodes):
                lines = links_down(failing, "DOWN" if index == end else "NO-CARRIER")
                wait_until(partial(shows, node, lines), 10.0, f"{lines}", pair.logs)
            field.up()
        pair.commit()
        # In mode NOTRACK all was told again, with the timeouts of before, to a node that sends no digest.
        found = differences(
            pair.expected(), pair.receiver.kernel(), timeout_tolerance=60, ignoring=["timeout"]
        )
        assert not found, "\n".join([*found, pair.logs()])


def shows(node: Node, lines: list[str]) -> bool:
    """Whether these are the headings of its `-s link`."""
    shown = node.daemon.client("-s", "link").stdout.splitlines()
    return [line for line in shown if " device=" in line] == lines


def links_down(failing: int, status: str) -> list[str]:
    words = ["RUNNING role=ACTIVE"] * len(LINKS)
    words[failing] = f"{status} role=BACKUP"
    return [f"UDP traffic device={name} status={word}:" for name, word in zip(LINKS, words, strict=True)]


@pytest.mark.parametrize(("sender", "receiver"), [("ours", "ours"), ("ours", "C"), ("C", "ours")])
def test_a_link_that_carries_nothing_although_it_runs_is_left(
    field: TwoLinks, sender: Kind, receiver: Kind
) -> None:
    with field.pair(sender, receiver, "FTFW", "udp").running() as pair:
        pair.sender.create(plain_tcp_flows(100))
        pair.wait_equal()
        greeted(pair)
        with loss(*field.ends[0], percent=100):
            pair.sender.create(plain_tcp_flows(100, first=1000))
            pair.wait_equal()
            wait_active(pair, "sync1")


def test_a_link_whose_interface_comes_later_is_taken_up(field: TwoLinks) -> None:
    field.namespaces[0].ip("link", "del", LINKS[1])
    with field.pair("ours", "ours", "FTFW", "udp").running() as pair:
        for node in pair.nodes:
            assert (
                "UDP link on sync1: there is no interface sync1: No such device; it is waited for"
                in log_of(node)
            )
            assert shows(node, links_down(1, "DOWN"))
        field.ends[1] = cable(*field.namespaces, 1)
        wait_until(
            lambda: all(role_of(node, "sync1") == ("RUNNING", "BACKUP") for node in pair.nodes),
            10.0,
            "sync1 as a backup",
            pair.logs,
        )
        field.ends[0][0].down()
        wait_active(pair, "sync1")
        pair.sender.create(plain_tcp_flows(100))
        pair.wait_equal()


@pytest.mark.parametrize("transport", ["udp", "multicast", "tcp"])
def test_notrack_repairs_what_was_lost_on_the_way_to_the_other_link(field: TwoLinks, transport: str) -> None:
    with field.pair("ours", "ours", "NOTRACK", transport).running() as pair:
        pair.receiver.daemon.client("-n")
        with Load(pair.sender, 1, seconds=1.0) as load:
            load.wait_for(0.5)
            field.ends[0][1].down()
        wait_active(pair, "sync1")
        pair.wait_equal()
        pair.check_commit()
