# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache of the statistics mode: one line for each flow that ended, however its end became known."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from random import Random

import pytest

from pyconntrack.core.filter import EventFilter
from pyconntrack.core.statistics_cache import STAMP_LENGTH, StatisticsCache
from pyconntrack.core.syslog_lines import send_lines
from tests.core.support_flows import GROUPS, TCP, FlowTuple, KernelFlow, random_flow
from tests.core.support_netlink import destroy, dumped, event


def make_flow(number: int = 1, port: int = 1000) -> KernelFlow:
    flow = KernelFlow(FlowTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), TCP, (port, 80)), number)
    flow.tcp = (3, 7, 7)
    return flow


def taken(cache: StatisticsCache) -> list[str]:
    found = []
    for line in cache.take_lines().decode().splitlines():
        assert re.fullmatch(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\t", line[:STAMP_LENGTH])
        found.append(line[STAMP_LENGTH:])
    return found


def test_destroy_event_makes_a_line_once() -> None:
    cache, flow = StatisticsCache(), make_flow()
    cache.follow(event(flow, True, GROUPS), 0)
    assert taken(cache) == []
    cache.follow(destroy(flow) + destroy(flow), 0)
    (line,) = taken(cache)
    assert line.startswith("tcp      6 ")
    assert "src=10.0.0.1 dst=10.0.0.2 sport=1000 dport=80" in line
    assert taken(cache) == []
    assert (len(cache), len(cache.table), cache.counters.destroyed) == (0, 0, 1)


def test_end_of_a_flow_that_was_never_there_makes_none() -> None:
    cache = StatisticsCache()
    cache.follow(destroy(make_flow()), 0)
    assert taken(cache) == []


def test_flow_that_has_the_tuple_of_another_ends_it() -> None:
    cache = StatisticsCache()
    cache.follow(event(make_flow(1), True, GROUPS), 0)
    cache.follow(event(make_flow(2), True, GROUPS), 0)
    assert len(taken(cache)) == 1
    cache.follow(destroy(make_flow(1)), 0)
    assert taken(cache) == []
    cache.follow(destroy(make_flow(2)), 0)
    assert len(taken(cache)) == 1


def test_flow_of_a_dump_whose_beginning_is_told_later_has_not_ended() -> None:
    cache, flow = StatisticsCache(), make_flow()
    cache.begin_resync()
    cache.merge_dump(dumped(flow, 100), 0)
    cache.follow(event(flow, True, GROUPS), 0)
    cache.end_resync()
    assert taken(cache) == []
    assert len(cache) == 1


def test_flow_that_a_dump_does_not_name_has_ended() -> None:
    cache, flow = StatisticsCache(), make_flow()
    cache.follow(event(flow, True, GROUPS), 0)
    cache.follow(event(make_flow(2, 2000), True, GROUPS), 0)
    cache.begin_resync()
    cache.merge_dump(dumped(flow, 100), 0)
    cache.end_resync()
    (line,) = taken(cache)
    assert "sport=2000" in line
    assert line.startswith("tcp      6 ESTABLISHED src=")
    assert len(cache.table) == 1


def test_flow_that_came_by_a_dump_leaves_the_table_at_its_end() -> None:
    cache, flow = StatisticsCache(), make_flow()
    cache.begin_resync()
    cache.merge_dump(dumped(flow, 100), 0)
    cache.end_resync()
    cache.follow(destroy(flow), 0)
    assert len(taken(cache)) == 1
    assert len(cache.table) == 0


def test_full_cache_costs_no_line_but_what_is_filtered_has_none() -> None:
    cache = StatisticsCache(
        limit=1, filter=EventFilter(networks=[(bytes([10, 9, 9, 9]), 32)], accept_networks=False)
    )
    flows = [make_flow(number, 1000 + number) for number in range(3)]
    ignored = KernelFlow(FlowTuple(bytes([10, 9, 9, 9]), bytes([10, 0, 0, 2]), TCP, (1, 80)), 7)
    for flow in (*flows, ignored):
        cache.follow(event(flow, True, GROUPS), 0)
    for flow in (*flows, ignored):
        cache.follow(destroy(flow), 0)
    assert len(taken(cache)) == 3
    assert cache.counters.create_failed == 2


def test_without_lines_it_counts() -> None:
    cache, flow = StatisticsCache(), make_flow()
    cache.lines = False
    cache.follow(event(flow, True, GROUPS) + destroy(flow), 0)
    assert taken(cache) == []
    assert cache.counters.destroyed == 1


def test_burst_of_any_flows_has_a_line_each() -> None:
    cache, random = StatisticsCache(), Random(7)
    flows = [random_flow(random, number) for number in range(5000)]
    for flow in flows:
        cache.follow(event(flow, True, GROUPS), 0)
    cache.follow(b"".join(destroy(flow) for flow in flows), 0)
    assert len(taken(cache)) == cache.counters.created
    assert (len(cache.table), cache.lost) == (0, 0)


def test_lines_go_to_the_logger_each_by_itself(tmp_path: Path) -> None:
    path = str(tmp_path / "log").encode()
    lines = (
        b"".join(b"stamp %d\n" % number for number in range(1000))
        + b"stamp "
        + b"x" * 300_000
        + b"\nstamp last\n"
    )
    heard: list[bytes] = []
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as logger,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        with pytest.raises(FileNotFoundError):
            send_lines(sender.fileno(), path, b"<30>", lines, 0, 6)
        logger.bind(path)
        logger.setblocking(False)
        start = 0
        while start < len(lines):
            now = send_lines(sender.fileno(), path, b"<30>", lines, start, 6)
            assert now > start
            start = now
            try:
                while True:
                    heard.append(logger.recv(1 << 20))
            except BlockingIOError:
                pass
    assert heard == [b"<30>%d" % number for number in range(1000)] + [b"<30>last"]
    with pytest.raises(ValueError, match="107"):
        send_lines(0, b"x" * 108, b"", lines, 0, 6)
