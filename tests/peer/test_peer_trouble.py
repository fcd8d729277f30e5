# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers on a link that loses packets, and beside a kernel that makes flows faster than they can be told."""

from __future__ import annotations

import random

import pytest

from testbed import Configuration, dropped, loss, wait_until
from testbed.configuration import Mode
from tests.peer.flows import batch_of, changed, name_of, plain_tcp_flows, varied_flows
from tests.peer.nodes import MANY, Field, Kind, Pair, Transport

LOAD = MANY * 3 // 10
BURST = MANY * 6 // 10
SMALL_BUFFER = 64 * 2**10


@pytest.mark.parametrize(("sender", "receiver"), [("ours", "ours"), ("ours", "C"), ("C", "ours")])
def test_ftfw_converges_on_a_link_that_loses_one_packet_in_a_hundred(
    field: Field, sender: Kind, receiver: Kind
) -> None:
    dice = random.Random(LOAD)
    with field.pair(sender, receiver, "FTFW", "udp").running() as pair, loss(*field.ends, percent=1):
        pair.sender.create(varied_flows(LOAD))
        with pair.sender.table() as table:
            flows = table.dump_batch()
            for start in range(0, LOAD, 1000):
                part = range(start, min(start + 1000, LOAD))
                assert not table.update_batch(batch_of(changed(flows, i, dice) for i in part))
            assert not table.delete_batch(batch_of(name_of(flows, i) for i in range(LOAD // 3)))
        pair.wait_equal()
        pair.check_commit()
        assert sum(dropped(end) for end in field.ends), "nothing was lost"


@pytest.mark.alone
@pytest.mark.parametrize("mode", ["FTFW", "NOTRACK"])
def test_burst_that_overruns_the_netlink_socket_leaves_no_difference(field: Field, mode: Mode) -> None:
    def with_small_buffers(configuration: Configuration) -> None:
        configuration.netlink_buffer_size = configuration.netlink_buffer_growth = SMALL_BUFFER

    with field.pair("ours", "ours", mode, "udp", with_small_buffers).running() as pair:
        pair.sender.create(plain_tcp_flows(BURST))
        pair.wait_equal(deadline=5.0)
        assert overruns(pair) > 0, "the burst was too small"
        before = overruns(pair)
        with pair.sender.table() as table:
            flows = table.dump_batch()
            ended = range(0, BURST, 2)
            assert not table.delete_batch(batch_of(name_of(flows, i) for i in ended))
            again = ({**name_of(flows, i), "timeout": 900, "mark": 5} for i in range(0, BURST, 4))
            assert not table.create_batch(batch_of(again))
        pair.wait_equal(deadline=5.0)
        assert overruns(pair) > before, "the burst was too small"
        pair.check_commit()


@pytest.mark.parametrize("transport", ["udp", "multicast", "multicast6"])
def test_node_that_starts_while_the_link_is_down_joins_when_it_is_up(
    field: Field, transport: Transport
) -> None:
    end = field.ends[0]
    end.down()
    with field.pair("ours", "ours", "FTFW", transport).running() as pair:
        pair.sender.create(plain_tcp_flows(100))
        end.up()
        wait_until(end.in_service, 10.0, "the link")
        pair.wait_equal()
    # The kernel takes an interface's IPv6 addresses away when it goes down.
    end.add_address("fd00:77::1/64")


def overruns(pair: Pair) -> int:
    lines = pair.sender.daemon.client("-s", "runtime").stdout.splitlines()
    return next(int(line.rpartition("\t")[2]) for line in lines if "netlink overrun" in line)
