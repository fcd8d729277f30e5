# SPDX-License-Identifier: GPL-2.0-or-later
"""`Filter From Kernelspace`: the same caches as from user space, of fewer events."""

from __future__ import annotations

import errno
import os
import re
import socket
import sys
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyconntrack import ConntrackTable, FlowBatch
from pyconntrack.config import AddressFilter, Filter, Policy, ProtocolFilter, TcpState
from pyconntrack.core.filter import EventFilter
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.kernel_codec import receive_flows
from pyconntrack.core.netlink_receiver import NetlinkReceiver
from pyconntrack.daemon.event_filter import filter_in_kernel
from pyconntrack.kernel.socket import GROUP_DESTROY, GROUP_NEW, GROUP_UPDATE, ConntrackSocket
from pyconntrack.kernel.socket_filter import FilterRules, attach, socket_filter
from testbed import Configuration, Conntrackd, Testbed, UnicastLink, wait_until
from testbed.namespace import Namespace, SysctlMissingError
from tests.core.support_flows import SCTP, TCP, UDP

OURS = [sys.executable, "-m", "pyconntrack.cli.conntrackd"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
EVENTS = GROUP_NEW | GROUP_UPDATE | GROUP_DESTROY
HOSTS = 4
STATES = range(1, 9)


TRACKING = """
table inet tracking {
  chain input { type filter hook input priority 0;
    ct state new accept
  }
}
"""
"""Connections are tracked where a rule looks at their state."""


class Follower:
    """A socket of events, and the cache that follows it."""

    def __init__(self, stack: ExitStack, rules: FilterRules, kernelspace: bool) -> None:
        self.socket = stack.enter_context(ConntrackSocket(EVENTS, receive_buffer=8 << 20))
        if kernelspace:
            attach(self.socket.socket, socket_filter(**rules))
        self.cache = InternalCache(filter=EventFilter(**rules))
        self.receiver = NetlinkReceiver(self.socket.fileno())
        self.events = 0

    def catch_up(self) -> None:
        while taken := self.cache.receive_events(self.receiver, 10_000, 0):
            self.events += taken

    def state(self) -> tuple[int, int]:
        self.catch_up()
        return self.cache.live, self.cache.digest


def address(family: int, host: int) -> bytes:
    return bytes([10, 0, host % 2, host]) if family == socket.AF_INET else b"\xfd" + bytes(14) + bytes([host])


@st.composite
def rules_of_traffic(draw: st.DrawFn) -> FilterRules:
    """Lists of what the flows of `traffic` are made of."""
    rules = FilterRules(
        accept_protocols=draw(st.booleans()),
        accept_networks=draw(st.booleans()),
        accept_states=draw(st.booleans()),
    )
    if draw(st.booleans()):
        rules["protocols"] = draw(st.sets(st.sampled_from((TCP, UDP, SCTP, 89)), min_size=1))
    if draw(st.booleans()):
        family = st.sampled_from((socket.AF_INET, socket.AF_INET6))
        hosts = st.builds(address, family, st.integers(1, HOSTS))
        rules["networks"] = [
            (host, 8 * len(host) - draw(st.sampled_from((0, 0, 1, 8)))) for host in draw(st.sets(hosts))
        ]
    if draw(st.booleans()):
        rules["states"] = {TCP: draw(st.sets(st.sampled_from(STATES), min_size=1))}
    return rules


def traffic(table: ConntrackTable, random: Random) -> None:
    """Flows that begin, change and end, some of them translated, some with the tuple of one that ended."""
    for _ in range(3):
        created, changed, ended = FlowBatch(), FlowBatch(), FlowBatch()
        for _ in range(30):
            flow = random_flow(random)
            created.pack(flow)
            if flow["original"][1] == TCP and random.random() < 0.7:
                flow = flow | {"tcp_state": random.choice(STATES)}
                changed.pack(flow)
            if random.random() < 0.4:
                ended.pack(flow)
        for batch, execute in (
            (created, table.create_batch),
            (changed, table.update_batch),
            (ended, table.delete_batch),
        ):
            for _, number in execute(batch):
                assert number in (errno.EEXIST, errno.ENOENT), errno.errorcode[number]


def random_flow(random: Random) -> dict[str, Any]:
    family = random.choice((socket.AF_INET, socket.AF_INET6))
    protocol = random.choice((TCP, TCP, UDP, SCTP, 89))
    source, destination, translated = (address(family, random.randint(1, HOSTS)) for _ in range(3))
    ports = (1000 + random.randrange(3), 80) if protocol != 89 else (0, 0)
    answering = translated if random.random() < 0.3 else destination
    flow: dict[str, Any] = {
        "original": (family, protocol, source, destination, *ports, 0, 0, 0),
        "reply": (family, protocol, answering, source, *reversed(ports), 0, 0, 0),
        "timeout": 600,
    }
    return flow | {"tcp_state": random.choice(STATES)} if protocol == TCP else flow


@pytest.fixture
def namespace(bed: Testbed) -> Namespace:
    return bed.namespace("filter")


@given(rules=rules_of_traffic(), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_give_equal_caches(namespace: Namespace, rules: FilterRules, seed: int) -> None:
    with namespace.entered(), ExitStack() as stack:
        table = stack.enter_context(ConntrackTable())
        table.flush()
        kernelspace = Follower(stack, rules, True)
        userspace = Follower(stack, rules, False)
        traffic(table, Random(seed))
        assert kernelspace.state() == userspace.state()
        # The kernel left nothing to be filtered that it could have decided.
        assert kernelspace.cache.filtered == 0
        assert kernelspace.events <= userspace.events - userspace.cache.filtered


def test_connections_of_real_traffic(namespace: Namespace) -> None:
    """TCP over loopback: of each connection, the events that are not wanted do not arrive."""
    rules = FilterRules(states={TCP: [TcpState.ESTABLISHED]})
    namespace.nft(TRACKING)
    with namespace.entered(), ExitStack() as stack:
        kernelspace = Follower(stack, rules, True)
        userspace = Follower(stack, rules, False)
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for number in range(15):
            connection = stack.enter_context(socket.create_connection(server.getsockname(), timeout=10.0))
            accepted = stack.enter_context(server.accept()[0])
            if number < 10:
                accepted.close()
                connection.recv(1)
                connection.close()
        wait_until(
            lambda: kernelspace.state() == userspace.state() and userspace.cache.filtered >= 50,
            10.0,
            "the same connections in both caches",
            lambda: f"{kernelspace.state()} and {userspace.state()}, filtered: {userspace.cache.filtered}",
        )
        assert kernelspace.cache.live == 15
        assert kernelspace.cache.filtered == 0
        assert kernelspace.events + userspace.cache.filtered == userspace.events


class Log:
    """What the daemon says of the filter."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def notice(self, message: str, /) -> None:
        self.lines.append(message)

    def warning(self, message: str, /) -> None:
        self.lines.append(f"warning: {message}")

    def error(self, message: str, /) -> None:
        self.lines.append(f"error: {message}")


ONLY_UDP = ProtocolFilter(Policy.ACCEPT, frozenset({UDP}))
TOO_MANY = AddressFilter(
    Policy.IGNORE, tuple(IPv4Network((IPv4Address("11.0.0.0") + 2 * number, 32)) for number in range(5000))
)


def events_of_each_protocol(filter: Filter) -> tuple[list[int], list[str]]:
    """The protocols of the events that arrive of one TCP and one UDP flow, and what the log says."""
    log = Log()
    with ConntrackTable() as table, ConntrackSocket(EVENTS) as events:
        filter_in_kernel(events, filter, log)
        batch = FlowBatch()
        for protocol in (TCP, UDP):
            ends = (socket.AF_INET, protocol, b"\x0a\0\0\1", b"\x0a\0\0\2", 1, 2, 0, 0, 0)
            batch.pack({"original": ends, "timeout": 600})
        assert table.create_batch(batch) == []
        heard = FlowBatch()
        receive_flows(NetlinkReceiver(events.fileno()), heard, 100, True)
    return [heard.unpack(index)["original"][1] for index in range(len(heard))], log.lines


def test_what_the_log_says(namespace: Namespace) -> None:
    with namespace.entered():
        assert events_of_each_protocol(Filter(kernelspace=True, protocol=ONLY_UDP)) == (
            [UDP],
            ["using kernel-space event filtering"],
        )


@pytest.mark.parametrize("filter", [Filter(kernelspace=True), Filter(protocol=ONLY_UDP)])
def test_nothing_is_filtered_that_was_not_asked_for(namespace: Namespace, filter: Filter) -> None:
    with namespace.entered():
        assert events_of_each_protocol(filter) == ([TCP, UDP], [])


def test_too_many_addresses_are_left_to_the_daemon(namespace: Namespace) -> None:
    """Once the log says so; the other lists are still the kernel's."""
    with namespace.entered():
        arrived, log = events_of_each_protocol(Filter(kernelspace=True, address=TOO_MANY))
        assert arrived == [TCP, UDP]
        assert len(log) == 1
        assert re.fullmatch(
            "warning: the kernel does not take the event filter, the daemon compares the addresses: "
            r"a program of \d+ instructions is longer than 4096",
            log[0],
        )
        flush()
        both = Filter(kernelspace=True, address=TOO_MANY, protocol=ONLY_UDP)
        arrived, log = events_of_each_protocol(both)
        assert arrived == [UDP]
        assert [line.partition(":")[0] for line in log] == ["warning", "using kernel-space event filtering"]


def test_a_kernel_that_has_no_room_for_the_filter(namespace: Namespace) -> None:
    try:
        namespace.sysctl("net.core.optmem_max", 0)
    except SysctlMissingError as error:
        pytest.skip(str(error))
    with namespace.entered():
        assert events_of_each_protocol(Filter(kernelspace=True, protocol=ONLY_UDP)) == (
            [TCP, UDP],
            [
                "warning: the kernel does not take the event filter, the daemon filters: "
                "Cannot allocate memory; raise net.core.optmem_max"
            ],
        )


def flush() -> None:
    with ConntrackTable() as table:
        table.flush()


FLOWS = [
    "-p tcp -s 10.1.0.1 -d 10.2.0.1 --sport 1 --dport 80 --state ESTABLISHED -u SEEN_REPLY,ASSURED",
    "-p tcp -s 10.3.0.1 -d 10.2.0.1 --sport 2 --dport 80 --state ESTABLISHED -u SEEN_REPLY,ASSURED",
    "-p tcp -s 10.3.0.1 -d 10.4.0.1 --sport 3 --dport 80 --state TIME_WAIT -u SEEN_REPLY,ASSURED",
    "-p tcp -s 10.1.0.1 -d 10.4.0.1 --sport 4 --dport 80 --state TIME_WAIT -u SEEN_REPLY,ASSURED",
    "-p tcp -s fd00::1 -d fd00::2 --sport 5 --dport 80 --state ESTABLISHED -u SEEN_REPLY,ASSURED",
    "-p udp -s 10.3.0.1 -d 10.4.0.1 --sport 6 --dport 53",
    "-p udp -s 10.3.0.1 -d 10.4.0.1 --sport 7 --dport 53 --dst-nat 10.1.0.1",
]
LISTS = """
  Protocol Accept { TCP UDP }
  Address Accept { IPv4_address 10.1.0.0/16 IPv6_address fd00::/64 }
  State Accept { ESTABLISHED for TCP }
"""


def test_the_daemon_obeys_it(namespace: Namespace) -> None:
    """Beside one that filters in user space: the same flows in both, but no filtered events in the one."""
    daemons = {
        space: Conntrackd(namespace, OURS, configuration(space, port), name=space, environment=ENVIRONMENT)
        for space, port in (("Kernelspace", 3780), ("Userspace", 3781))
    }
    namespace.run(["conntrack", "-I", "-t", "1000", *FLOWS[2].split()])
    for daemon in daemons.values():
        daemon.start()
    for line in FLOWS[:2] + FLOWS[3:]:
        namespace.run(["conntrack", "-I", "-t", "1000", *line.split()])
    for daemon in daemons.values():
        wait_until(lambda: held(daemon) == {1, 5, 7}, 10.0, "the flows", lambda: str(held(daemon)))  # noqa: B023
    assert "using kernel-space event filtering" in daemons["Kernelspace"].log()
    assert "using kernel-space event filtering" not in daemons["Userspace"].log()
    # Of six: one was there before.
    assert [received(daemon) for daemon in daemons.values()] == [3, 6]
    namespace.run(["conntrack", "-D", "-p", "tcp", "--sport", "1"])
    for daemon in daemons.values():
        wait_until(lambda: held(daemon) == {5, 7}, 10.0, "an end", lambda: str(held(daemon)))  # noqa: B023


def configuration(space: str, port: int) -> Configuration:
    made = Configuration([UnicastLink("lo", "127.0.0.1", "127.0.0.2", port=port)])
    made.general_lines = [f"Filter From {space} {{", LISTS, "}"]
    return made


def held(daemon: Conntrackd) -> set[int]:
    """The flows, by their first port."""
    return {int(re.findall(r"sport=(\d+)", line)[0]) for line in daemon.client("-i").stdout.splitlines()}


def received(daemon: Conntrackd) -> int:
    found = re.search(r"events received:\s+(\d+)", daemon.client("-s", "runtime").stdout)
    assert found
    return int(found[1])
