# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes without an external cache, and nodes without an internal one.

Flows are made by hand in the sender's kernel. Without an external cache the receiver's kernel is to be as the
sender's, and none of it is to go back. Without an internal one the receiver is to have the same flows.
"""

from __future__ import annotations

import random
import re
import socket
from collections import Counter
from collections.abc import Iterator
from itertools import product

import pytest

from pyconntrack import Tuple
from testbed import Configuration, Testbed, wait_until
from testbed.configuration import Mode
from tests.peer.flows import batch_of, changed, name_of, varied_flows
from tests.peer.nodes import Field, Kind, Node, Pair
from tests.peer.tables import differences

PEERS: list[tuple[Kind, Kind]] = [("ours", "ours"), ("ours", "C"), ("C", "ours")]
MODES: list[Mode] = ["FTFW", "NOTRACK"]
FLOWS = 600


def inject(configuration: Configuration) -> None:
    configuration.mode_lines = [*configuration.mode_lines, "DisableExternalCache yes"]


CASES = [*product(PEERS, MODES), (PEERS[0], "ALARM")]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0][0]}-{case[0][1]}-{case[1]}")
def pair(request: pytest.FixtureRequest, field: Field) -> Iterator[Pair]:
    (sender, receiver), mode = request.param
    with field.pair(sender, receiver, mode, "udp", inject).running() as running:
        yield running


def wait_kernels_equal(pair: Pair, *ignoring: str) -> None:
    """Wait until the receiver's kernel has what the sender's has."""

    def found() -> list[str]:
        expected, actual = pair.expected(), pair.receiver.kernel()
        if len(expected) != len(actual):
            return [f"{len(actual)} flows in place of {len(expected)}"]
        # A bulk tells timeouts as of the last change, and is told again a while later.
        return differences(
            expected, actual, timeout_tolerance=60, timeout_excess=60, ignoring=[*pair.lost, *ignoring]
        )

    wait_until(lambda: not found(), 30.0, "equal kernels", lambda: "\n".join([*found(), pair.logs()]))


def injected(node: Node) -> list[tuple[int, int]]:
    """How many connections were created, updated and destroyed, and how often that failed, by `-s`."""
    text = node.daemon.client("-s").stdout.partition("external inject:\n")[2].partition("\n\n")[0]
    return [(int(good), int(bad)) for good, bad in re.findall(r":\s+(\d+)\s+failed:\s+(\d+)", text)]


def change_all(node: Node) -> None:
    """Change the flows of a kernel, and end every third."""
    dice = random.Random(5)
    with node.table() as table:
        flows = table.dump_batch()
        refused = table.update_batch(batch_of(changed(flows, index, dice) for index in range(len(flows))))
        assert not refused, refused[0]
        assert not table.delete_batch(batch_of(name_of(flows, index) for index in range(0, len(flows), 3)))


def test_the_peers_flows_are_in_the_kernel_and_nowhere_else(pair: Pair) -> None:
    sender, receiver = pair.nodes
    sender.create(varied_flows(FLOWS))
    wait_kernels_equal(pair)
    change_all(sender)
    wait_kernels_equal(pair)
    assert sender.active("internal") == len(sender.kernel()) == FLOWS - FLOWS // 3
    assert receiver.active("internal") == 0
    assert injected(sender) == [(0, 0)] * 3
    assert receiver.daemon.client("-e").stdout == ""
    receiver.flush_kernel()
    sender.daemon.client("-B")
    wait_kernels_equal(pair)
    receiver.flush_kernel()
    receiver.daemon.client("-n")
    wait_kernels_equal(pair)
    assert injected(sender) == [(0, 0)] * 3
    sender.flush_kernel()
    wait_until(lambda: len(receiver.kernel()) == 0, 30.0, "an empty kernel", pair.logs)


def test_a_purge_leaves_the_peers_flows(field: Field) -> None:
    def purge(configuration: Configuration) -> None:
        inject(configuration)
        configuration.mode_lines.append("PurgeTimeout 1")

    with field.pair("ours", "ours", "FTFW", "udp", purge).running() as pair:
        pair.sender.create(varied_flows(FLOWS))
        wait_kernels_equal(pair)
        pair.receiver.create(varied_flows(3000, first=FLOWS + 1))
        wait_until(lambda: len(pair.sender.kernel()) == FLOWS + 3000, 30.0, "all at the other", pair.logs)
        assert (pair.sender.active("internal"), pair.receiver.active("internal")) == (FLOWS, 3000)
        pair.receiver.daemon.client("-t")
        wait_until(lambda: len(pair.receiver.kernel()) == FLOWS, 30.0, "an end of its own", pair.logs)
        wait_kernels_equal(pair)


def test_a_node_that_polls_its_kernel_does_not_take_the_peers_flows_for_its_own(field: Field) -> None:
    def poll(configuration: Configuration) -> None:
        inject(configuration)
        configuration.general_lines = ["PollSecs 1"]

    def resyncs(node: Node) -> int:
        found = re.search(r"resync with kernel table:\s+(\d+)", node.daemon.client("-s", "runtime").stdout)
        return int(found[1]) if found else 0

    pair = field.pair("ours", "ours", "FTFW", "udp", poll)
    with pair.running():
        pair.sender.create(varied_flows(FLOWS))
        wait_kernels_equal(pair)
        now = resyncs(pair.receiver)
        wait_until(lambda: resyncs(pair.receiver) >= now + 2, 30.0, "two readings", pair.logs)
        assert pair.receiver.active("internal") == 0
        change_all(pair.sender)
        # A reading does not tell a timeout that was set anew from one that runs on.
        wait_kernels_equal(pair, "timeout")
        assert injected(pair.sender) == [(0, 0)] * 3


def bypass(configuration: Configuration) -> None:
    configuration.mode_lines = ["DisableInternalCache yes"]


@pytest.fixture(params=PEERS, ids="-".join)
def bypassing(request: pytest.FixtureRequest, field: Field) -> Iterator[Pair]:
    """A pair whose sender keeps no internal cache."""
    sender, receiver = request.param
    pair = field.pair(sender, receiver, "NOTRACK", "udp")
    bypass(pair.sender.configuration)
    pair.sender.daemon.configure(pair.sender.configuration)
    with pair.running():
        yield pair


def bypassed(node: Node) -> list[int]:
    """How many events told of new flows, of changes and of ends, by `-s`."""
    text = node.daemon.client("-s", "cache").stdout.partition("internal bypass:\n")[2].partition("\n\n")[0]
    return [int(number) for number in re.findall(r":\s+(\d+)", text)]


def test_events_reach_the_peer_without_a_cache_in_between(bypassing: Pair) -> None:
    sender, receiver = bypassing.nodes
    sender.create(varied_flows(FLOWS))
    bypassing.wait_external()
    change_all(sender)
    bypassing.wait_external()
    assert bypassed(sender) == [FLOWS, FLOWS, FLOWS // 3]
    bypassing.check_commit()
    if receiver.kind == "ours":
        # The C daemon does not flush after a commit.
        receiver.daemon.client("-f", "external")
        sender.daemon.client("-B")
        bypassing.wait_external()
        receiver.daemon.client("-f", "external")
    receiver.daemon.client("-n")
    bypassing.wait_external()
    sender.flush_kernel()
    bypassing.wait_external()


def test_a_node_without_an_internal_cache_shows_the_kernels_table(field: Field) -> None:
    pair = field.pair("ours", "ours", "NOTRACK", "udp", bypass)
    with pair.running():
        pair.sender.create(varied_flows(FLOWS))
        listed = pair.sender.namespace.run(["conntrack", "-L", "-f", "ipv4"]).stdout.splitlines()
        listed += pair.sender.namespace.run(["conntrack", "-L", "-f", "ipv6"]).stdout.splitlines()
        shown = pair.sender.daemon.client("-i").stdout.splitlines()
        assert Counter(without_timeouts(shown)) == Counter(without_timeouts(listed))
        assert pair.sender.daemon.client("-i", "-x").stdout.count("<flow>") == FLOWS
        pair.sender.daemon.client("-f", "internal")
        done = pair.sender.daemon.client("-R", check=False)
        assert (done.returncode, "resync is unsupported in this mode" in done.stderr) == (1, True)
        log = pair.sender.daemon.log()
    assert "disabling internal cache" in log and "resync is unsupported in this mode" in log


def without_timeouts(lines: list[str]) -> list[str]:
    return [re.sub(r"^(\S+ +\d+) \d+ ", r"\1 ", line) for line in lines]


def test_lost_events_are_made_up_for_by_telling_all(field: Field) -> None:
    def small(configuration: Configuration) -> None:
        bypass(configuration)
        configuration.netlink_buffer_size = configuration.netlink_buffer_growth = 8192
        configuration.general_lines = ["NetlinkOverrunResync yes"]

    pair = field.pair("ours", "ours", "NOTRACK", "udp", small)
    with pair.running():
        pair.sender.create(varied_flows(20 * FLOWS))
        overruns = re.search(r"netlink overrun:\s+(\d+)", pair.sender.daemon.client("-s", "runtime").stdout)
        assert overruns is not None and int(overruns[1]) > 0
        pair.wait_external()


# Each flow gets its label with its first packet; no later event tells of it.
LABELLED = """
    delete table inet by_hand
    table inet labelled {
        chain arriving { type filter hook input priority filter; udp dport 700 ct label set 5; }
    }
"""


@pytest.mark.parametrize("kind", ["C", "ours"])
def test_what_an_event_leaves_out_stays_as_it_was(bed: Testbed, kind: Kind) -> None:
    """A packet that answers tells of the flow's status alone: what its first one told is not to be lost."""
    field = Field(bed)
    for namespace in field.namespaces:
        namespace.nft(LABELLED)
    pair = field.pair(kind, "ours", "NOTRACK", "udp")
    bypass(pair.sender.configuration)
    pair.sender.daemon.configure(pair.sender.configuration)
    with pair.running():
        with pair.sender.namespace.entered():
            ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for end, port in zip(ends, (600, 700), strict=True):
            end.bind(("127.0.0.1", port))

        def told(how: str) -> bool:
            lines = pair.receiver.daemon.client("-e").stdout.splitlines()
            return any("sport=600 dport=700" in line and how in line for line in lines)

        ends[0].sendto(b"asked", ("127.0.0.1", 700))
        wait_until(lambda: told("[UNREPLIED]"), 20.0, "the flow at the peer", pair.logs)
        ends[1].sendto(b"answered", ("127.0.0.1", 600))
        wait_until(lambda: told("") and not told("[UNREPLIED]"), 20.0, "its answer, too", pair.logs)
        for end in ends:
            end.close()
        pair.commit()
        with pair.receiver.table() as table:
            flow = table.get(Tuple("127.0.0.1", "127.0.0.1", 17, 600, 700))
        assert flow.label_bits == {5}
