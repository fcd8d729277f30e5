# SPDX-License-Identifier: GPL-2.0-or-later
"""The checked traffic, and that it notices what it is there to notice."""

from __future__ import annotations

import socket

from testbed import Testbed, veth, wait_until
from testbed.firewalls import SERVER, FirewallPair
from testbed.traffic import TrafficClient, TrafficServer
from testbed.traffic.stream import HEADER, MAGIC, Pattern


def _joined(bed: Testbed, short_interval: float) -> tuple[TrafficClient, TrafficServer]:
    one, two = bed.namespace("one"), bed.namespace("two")
    veth(one, "a", two, "b", first_addresses=["10.9.0.1/24"], second_addresses=["10.9.0.2/24"])
    server = TrafficServer(two, "10.9.0.2", connections=5)
    return TrafficClient(one, server, connections=5, short_interval=short_interval), server


def test_every_byte_arrives_and_all_is_closed(bed: Testbed) -> None:
    client, server = _joined(bed, 0.02)
    wait_until(lambda: len(client.report().short.completed) >= 5, 10.0, "five short connections")
    near, far = client.finish(), server.finish()
    assert (
        [each.number for each in near.connections] == [each.number for each in far.connections] == [*range(5)]
    )
    for mine, theirs in zip(near.connections, far.connections, strict=True):
        assert mine.closed and theirs.closed and not mine.error and not theirs.error
        assert mine.sent == theirs.received > 0
        assert theirs.sent == mine.received > 0
    assert near.short.failed == []


def test_wrong_data_is_noticed(bed: Testbed) -> None:
    one = bed.namespace("one")
    server = TrafficServer(one, "127.0.0.1", connections=1)
    with one.entered():
        sender = socket.create_connection((server.address, server.port))
    good = Pattern("7 up").take(1000)
    sender.sendall(HEADER.pack(MAGIC, 7, 0) + good)
    wait_until(
        lambda: [each.received for each in server.report().connections] == [1000], 10.0, "the good bytes"
    )
    sender.sendall(Pattern("7 up").take(1))
    wait_until(lambda: server.report().connections[0].error, 10.0, "the error")
    sender.close()
    assert "wrong data after 1000 good bytes" in server.report().connections[0].error


def test_a_cut_link_shows_as_a_gap_and_does_not_finish(bed: Testbed) -> None:
    client, server = _joined(bed, 0.0)
    wait_until(lambda: all(each.received for each in client.report().connections), 10.0, "data")
    bed.namespaces[0].ip("link", "set", "dev", "a", "down")
    wait_until(lambda: _shortest_gap(client) > 0.5, 10.0, "a long gap")
    assert not any(each.closed for each in client.finish(deadline=0.2).connections)
    assert not any(each.closed for each in server.report().connections)


def test_a_gap_that_is_past_can_be_forgotten(bed: Testbed) -> None:
    client, _ = _joined(bed, 0.0)
    wait_until(lambda: all(each.received for each in client.report().connections), 10.0, "data")
    bed.namespaces[0].ip("link", "set", "dev", "a", "down")
    wait_until(lambda: _shortest_gap(client) > 0.5, 10.0, "a long gap")
    bed.namespaces[0].ip("link", "set", "dev", "a", "up")

    def forgotten() -> bool:
        client.forget_gaps()
        return _shortest_gap(client) < 0.5

    wait_until(forgotten, 20.0, "data again, and only short gaps")


def _shortest_gap(client: TrafficClient) -> float:
    return min(each.longest_gap for each in client.report().connections)


def test_the_firewalls_let_nothing_survive_by_luck(bed: Testbed) -> None:
    pair = FirewallPair(bed)
    server = TrafficServer(pair.server, SERVER, connections=5)
    client = TrafficClient(pair.client, server, connections=5, short_interval=0.05)
    wait_until(lambda: all(each.received for each in client.report().connections), 10.0, "data")
    assert pair.first.flow_count() >= 5
    pair.first.lose_links()
    pair.second.take_addresses()
    done = len(client.report().short.completed)
    # The new firewall works: short connections go through it, so that silence is its ruleset's doing.
    wait_until(lambda: len(client.report().short.completed) >= done + 20, 20.0, "twenty new connections")
    silent_since = client.report().short.completed[done][0]
    ends = client.report().connections + server.report().connections
    assert all(each.last_received < silent_since for each in ends)
