# SPDX-License-Identifier: GPL-2.0-or-later
"""Mode ALARM, our daemon and the C one: entries are told again and again, and go where they are not."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import product

import pytest

from testbed import Configuration, wait_until
from tests.peer.flows import batch_of, changed, name_of, varied_flows
from tests.peer.nodes import Field, Kind, Pair, Transport

PEERS: list[tuple[Kind, Kind]] = [("ours", "C"), ("C", "ours"), ("ours", "ours")]
TRANSPORTS: list[Transport] = ["udp", "multicast"]
Case = tuple[tuple[Kind, Kind], Transport]

FLOWS = 1000
REFRESH_TIME = 2
CACHE_TIMEOUT = 6
# An entry may go later than its timeout by what our walk round the table and the C daemon's timers take.
LATE = 4


@pytest.fixture(params=product(PEERS, TRANSPORTS), ids=lambda case: f"{'-'.join(case[0])}-{case[1]}")
def pair(request: pytest.FixtureRequest, field: Field) -> Iterator[Pair]:
    """A pair in mode ALARM, running; it must end well."""
    (sender, receiver), transport = request.param
    with field.pair(sender, receiver, "ALARM", transport, impatient).running() as running:
        yield running


def impatient(configuration: Configuration) -> None:
    configuration.mode_lines = [f"RefreshTime {REFRESH_TIME}", f"CacheTimeout {CACHE_TIMEOUT}"]


def test_peer_follows_changes_and_ends_and_commits(pair: Pair) -> None:
    dice = random.Random(FLOWS)
    pair.sender.create(varied_flows(FLOWS))
    pair.wait_equal()
    with pair.sender.table() as table:
        flows = table.dump_batch()
        assert not table.update_batch(batch_of(changed(flows, i, dice) for i in range(0, FLOWS, 2)))
        assert not table.delete_batch(batch_of(name_of(flows, i) for i in range(0, FLOWS, 5)))
    pair.wait_equal()
    pair.check_commit()


def test_what_is_told_again_stays_and_what_is_not_goes(pair: Pair) -> None:
    pair.sender.create(varied_flows(FLOWS))
    pair.wait_equal()
    # A peer that never heard of the flows learns of all of them, without asking.
    pair.receiver.daemon.client("-f", "external")
    pair.wait_equal(deadline=REFRESH_TIME + LATE)
    told = messages_about_flows(pair)
    # They are told again for longer than an entry lives that is not.
    wait_until(lambda: all(expiry <= CACHE_TIMEOUT for expiry in expiries(pair)), 1.0, "expiries")
    wait_until(
        lambda: messages_about_flows(pair) - told >= FLOWS * 2 * CACHE_TIMEOUT // REFRESH_TIME,
        4 * CACHE_TIMEOUT,
        "every flow to be told again some times",
    )
    assert pair.receiver.active("external") == FLOWS
    pair.sender.daemon.client("-f", "internal")
    wait_until(
        lambda: pair.receiver.active("external") == 0, CACHE_TIMEOUT + LATE, "an empty cache", pair.logs
    )


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
