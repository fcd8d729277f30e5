# SPDX-License-Identifier: GPL-2.0-or-later
"""Mode ALARM, our daemon and the C one: entries are told again and again, and go where they are not.

What a pair goes through in every mode is in test_peer_matrix.py.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

import pytest

from testbed import Configuration, dropped, loss, wait_until
from tests.peer.flows import batch_of, changed, name_of, varied_flows
from tests.peer.nodes import Field, Kind, Pair

PEERS: list[tuple[Kind, Kind]] = [("ours", "C"), ("C", "ours"), ("ours", "ours")]

FLOWS = 1000
REFRESH_TIME = 2
CACHE_TIMEOUT = 6
# What an entry may go later than its timeout, and what is told again may be late, on a busy machine.
LATE = 4


def mode_lines(*lines: str) -> Callable[[Configuration], None]:
    def adapt(configuration: Configuration) -> None:
        configuration.mode_lines = list(lines)

    return adapt


impatient = mode_lines(f"RefreshTime {REFRESH_TIME}", f"CacheTimeout {CACHE_TIMEOUT}")
patient = mode_lines("RefreshTime 600", "CacheTimeout 1800")


@pytest.fixture
def pair(request: pytest.FixtureRequest, field: Field) -> Iterator[Pair]:
    """A pair in mode ALARM, running; it must end well."""
    sender, receiver = request.param
    with field.pair(sender, receiver, "ALARM", "udp", impatient).running() as running:
        yield running


each_pair = pytest.mark.parametrize("pair", PEERS, ids="-".join, indirect=True)


def disturb(pair: Pair) -> None:
    dice = random.Random(FLOWS)
    with pair.sender.table() as table:
        flows = table.dump_batch()
        assert not table.update_batch(batch_of(changed(flows, i, dice) for i in range(0, FLOWS, 2)))
        assert not table.delete_batch(batch_of(name_of(flows, i) for i in range(0, FLOWS, 5)))


@each_pair
def test_what_is_told_again_stays_and_what_is_not_goes(pair: Pair) -> None:
    pair.sender.create(varied_flows(FLOWS))
    pair.wait_equal()
    # A peer that never heard of the flows learns of all of them, without asking.
    pair.receiver.daemon.client("-f", "external")
    pair.wait_equal(deadline=REFRESH_TIME + 1 + LATE)
    assert max(expiries(pair)) <= CACHE_TIMEOUT
    told = messages_about_flows(pair)
    # They are told again for longer than an entry lives that is not.
    rounds = CACHE_TIMEOUT // REFRESH_TIME + 1
    wait_until(
        lambda: messages_about_flows(pair) - told >= FLOWS * rounds,
        rounds * REFRESH_TIME + 2 * LATE,
        "every flow to be told again some times",
        pair.logs,
    )
    assert pair.receiver.active("external") == FLOWS
    pair.sender.daemon.client("-f", "internal")
    wait_until(
        lambda: pair.receiver.active("external") == 0, CACHE_TIMEOUT + LATE, "an empty cache", pair.logs
    )


@each_pair
def test_what_a_link_lost_is_told_again(pair: Pair, field: Field) -> None:
    with loss(*field.ends, percent=30):
        pair.sender.create(varied_flows(FLOWS))
        disturb(pair)
        wait_until(lambda: sum(dropped(end) for end in field.ends) > 0, 10.0, "a lost packet")
    # Of what ended unheard, entries go after their timeout.
    pair.wait_equal(deadline=CACHE_TIMEOUT + LATE)


@pytest.mark.parametrize("command", ["-n", "-B"])
def test_our_nodes_need_not_wait_for_the_refresh(field: Field, command: str) -> None:
    with field.pair("ours", "ours", "ALARM", "udp", patient).running() as pair:
        pair.sender.create(varied_flows(FLOWS))
        pair.wait_equal()
        pair.receiver.daemon.client("-f", "external")
        wait_until(lambda: pair.receiver.active("external") == 0, 10.0, "an empty cache", pair.logs)
        (pair.receiver if command == "-n" else pair.sender).daemon.client(command)
        pair.wait_equal()


def test_a_c_node_is_not_disturbed_by_our_request(field: Field) -> None:
    with field.pair("ours", "C", "ALARM", "udp", patient).running() as pair:
        pair.sender.create(varied_flows(FLOWS))
        pair.wait_equal()
        pair.sender.daemon.client("-n")
        pair.sender.daemon.client("-B")
        pair.wait_equal()
        counted = re.findall(
            r"[Mm]essage.*:\s+(\d+)$", pair.receiver.daemon.client("-s", "network").stdout, re.M
        )
        assert len(counted) >= 5
        assert not any(map(int, counted))


@pytest.mark.parametrize("timeout", [0, 77])
def test_commit_timeout_and_purge_timeout_are_obeyed(field: Field, timeout: int) -> None:
    lines = ["CommitTimeout 77"] if timeout else []
    adapt = mode_lines("RefreshTime 60", "CacheTimeout 180", "PurgeTimeout 1", *lines)
    with field.pair("ours", "ours", "ALARM", "udp", adapt).running() as pair:
        pair.sender.create(varied_flows(FLOWS))
        pair.wait_equal()
        pair.commit()
        timeouts = pair.receiver.kernel()["timeout"]
        assert len(timeouts) == FLOWS
        assert (timeouts.max() <= 77) == bool(timeout)
        pair.receiver.daemon.client("-t")
        wait_until(lambda: not len(pair.receiver.kernel()), 1 + LATE, "an empty kernel table", pair.logs)
        assert pair.receiver.active("external") == FLOWS


def messages_about_flows(pair: Pair) -> int:
    """How many messages the receiver has taken into its external cache: each creates or updates."""
    text = pair.receiver.daemon.client("-s").stdout.partition("cache external:")[2]
    return sum(int(number) for number in re.findall(r"connections (?:created|updated):\s+(\d+)", text))


def expiries(pair: Pair) -> list[int]:
    """In how many seconds each entry of the receiver's external cache goes."""
    text = pair.receiver.daemon.client("-e").stdout
    ends = re.findall(r" \[expires in (\d+)s\] \[active since \d+s\]$", text, re.M)
    assert len(ends) == len(text.splitlines()) > 0
    return [int(end) for end in ends]
