# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel says of interfaces, and what anybody else may say in its place."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyconntrack.channel.channel import LinkStatus
from pyconntrack.channel.link_monitor import (
    IFF_RUNNING,
    IFF_UP,
    RTM_DELLINK,
    RTM_NEWLINK,
    InterfaceChange,
    InterfaceEvent,
    Interfaces,
    LinkMonitor,
    parse_events,
)
from testbed import Interface, Testbed, veth, wait_until
from testbed.namespace import Namespace

RUNNING = IFF_UP | IFF_RUNNING
IFLA_ADDRESS, IFLA_IFNAME = 1, 3
AF_BRIDGE = 7


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(
    kind: int, index: int, name: bytes | None, flags: int = RUNNING, family: int = socket.AF_UNSPEC
) -> bytes:
    body = struct.pack("=BxHiII", family, 1, index, flags, 0) + attribute(IFLA_ADDRESS, b"\2" * 6)
    if name is not None:
        body += attribute(IFLA_IFNAME, name + b"\0")
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_messages_are_read() -> None:
    datagram = message(RTM_NEWLINK, 5, b"sync0") + message(RTM_DELLINK, 6, b"sync1", 0)
    assert parse_events(datagram) == [
        InterfaceEvent(5, "sync0", RUNNING, removed=False),
        InterfaceEvent(6, "sync1", 0, removed=True),
    ]


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\0" * 15,
        message(RTM_NEWLINK, 5, b"sync0")[:-1],
        message(RTM_NEWLINK, 5, None),
        message(RTM_NEWLINK, 0, b"sync0"),
        message(RTM_NEWLINK, -1, b"sync0"),
        message(RTM_NEWLINK + 4, 5, b"sync0"),
        message(RTM_DELLINK, 5, b"sync0", family=AF_BRIDGE),
        struct.pack("=IHHII", 16, RTM_NEWLINK, 0, 0, 0),
        struct.pack("=IHHII", 28, RTM_NEWLINK, 0, 0, 0) + b"\1" * 12,
        struct.pack("=IHHII", 36, RTM_NEWLINK, 0, 0, 0) + struct.pack("=BxHiII", 0, 1, 5, 0, 0) + b"\xff" * 4,
    ],
)
def test_what_is_malformed_or_of_no_concern_is_passed_over(datagram: bytes) -> None:
    assert parse_events(datagram) == []


@given(st.binary(max_size=200))
def test_any_bytes_are_borne(datagram: bytes) -> None:
    parse_events(datagram)


@given(st.data())
def test_altered_messages_are_borne(data: st.DataObject) -> None:
    datagram = bytearray(message(RTM_NEWLINK, 5, b"sync0") + message(RTM_DELLINK, 6, b"sync1"))
    for _ in range(data.draw(st.integers(1, 6))):
        datagram[data.draw(st.integers(0, len(datagram) - 1))] = data.draw(st.integers(0, 255))
    events = parse_events(bytes(datagram[: data.draw(st.integers(0, len(datagram)))]))
    interfaces = Interfaces(["sync0", "sync1"], lambda name: 5)
    for event in events:
        assert event.index > 0
        interfaces.take(event)


class Known:
    """`sync0` is followed; `names` are the indices of names that the kernel would tell."""

    def __init__(self, names: dict[str, int] | None = None) -> None:
        self.names = names or {}
        self.interfaces = Interfaces(["sync0"], lambda name: self.names.get(name, 0))

    def hear(
        self, index: int, name: str, flags: int = RUNNING, removed: bool = False
    ) -> list[InterfaceChange]:
        return self.interfaces.take(InterfaceEvent(index, name, flags, removed))


def test_what_becomes_of_an_interface() -> None:
    known = Known()
    assert known.hear(4, "eth0") == []
    assert known.hear(5, "sync0", 0) == [InterfaceChange("sync0", LinkStatus.DOWN, 5)]
    assert known.hear(5, "sync0", IFF_UP) == [InterfaceChange("sync0", LinkStatus.NO_CARRIER, 5)]
    assert known.hear(5, "sync0") == [InterfaceChange("sync0", LinkStatus.RUNNING, 5)]
    assert known.hear(5, "sync0") == []
    assert known.hear(4, "eth0", removed=True) == []
    assert known.hear(5, "sync0", removed=True) == [InterfaceChange("sync0", LinkStatus.DOWN, 0)]
    assert known.hear(9, "sync0") == [InterfaceChange("sync0", LinkStatus.RUNNING, 9)]
    assert known.hear(5, "sync0", removed=True) == []


def test_an_interface_that_is_renamed() -> None:
    known = Known()
    known.hear(5, "sync0")
    assert known.hear(5, "eth7") == [InterfaceChange("sync0", LinkStatus.DOWN, 0)]
    assert known.hear(6, "sync0") == [InterfaceChange("sync0", LinkStatus.RUNNING, 6)]


def test_an_alternative_name() -> None:
    known = Known({"sync0": 5})
    known.interfaces.set("sync0", LinkStatus.RUNNING, 5)
    assert known.hear(5, "enp0s1", IFF_UP) == [InterfaceChange("sync0", LinkStatus.NO_CARRIER, 5)]


@pytest.fixture
def namespace(bed: Testbed) -> Namespace:
    return bed.namespace("monitor")


@pytest.fixture
def monitor(namespace: Namespace) -> Iterator[LinkMonitor]:
    with namespace.entered():
        made = LinkMonitor(["sync0", "lo"])
        try:
            yield made
        finally:
            made.close()


def add(namespace: Namespace) -> tuple[Interface, Interface]:
    return veth(namespace, "sync0", namespace, "other0")


def read_until(monitor: LinkMonitor, status: LinkStatus) -> list[InterfaceChange]:
    changes: list[InterfaceChange] = []

    def reached() -> bool:
        if select.select([monitor], [], [], 0)[0]:
            changes.extend(monitor.read())
        return monitor.status("sync0") is status

    wait_until(reached, 10.0, f"{status}")
    return changes


def test_the_life_of_an_interface(namespace: Namespace, monitor: LinkMonitor) -> None:
    assert monitor.status("lo") is LinkStatus.RUNNING
    assert (monitor.status("sync0"), monitor.index("sync0")) == (LinkStatus.DOWN, 0)
    end, other = add(namespace)
    read_until(monitor, LinkStatus.RUNNING)
    first = monitor.index("sync0")
    assert first == socket.if_nametoindex("sync0")
    other.down()
    read_until(monitor, LinkStatus.NO_CARRIER)
    other.up()
    read_until(monitor, LinkStatus.RUNNING)
    end.down()
    assert read_until(monitor, LinkStatus.DOWN)[-1] == InterfaceChange("sync0", LinkStatus.DOWN, first)
    end.up()
    read_until(monitor, LinkStatus.RUNNING)
    namespace.ip("link", "del", "sync0")
    read_until(monitor, LinkStatus.DOWN)
    wait_until(lambda: monitor.read() is not None and monitor.index("sync0") == 0, 10.0, "its end")
    add(namespace)
    read_until(monitor, LinkStatus.RUNNING)
    assert monitor.index("sync0") != first


def test_a_port_that_leaves_its_bridge_is_not_gone(namespace: Namespace, monitor: LinkMonitor) -> None:
    add(namespace)
    read_until(monitor, LinkStatus.RUNNING)
    namespace.ip("link", "add", "name", "switch", "type", "bridge")
    namespace.ip("link", "set", "dev", "sync0", "master", "switch")
    namespace.ip("link", "set", "dev", "sync0", "nomaster")
    assert all(change.index for change in monitor.read())
    assert (monitor.status("sync0"), monitor.index("sync0") > 0) == (LinkStatus.RUNNING, True)


def test_messages_of_other_processes_are_not_believed(namespace: Namespace, monitor: LinkMonitor) -> None:
    add(namespace)
    read_until(monitor, LinkStatus.RUNNING)
    port = monitor._socket.getsockname()[0]
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as forger:
        forger.bind((0, 0))
        forger.sendto(message(RTM_NEWLINK, monitor.index("sync0"), b"sync0", 0), (port, 0))
    assert monitor.read() == []
    assert monitor.status("sync0") is LinkStatus.RUNNING


def test_what_is_lost_is_asked_for(
    namespace: Namespace, monitor: LinkMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    ask = monitor.look

    def look() -> list[InterfaceChange]:
        looks.append(1)
        return ask()

    monkeypatch.setattr(monitor, "look", look)
    end, _ = add(namespace)
    read_until(monitor, LinkStatus.RUNNING)
    monitor._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    for _ in range(20):
        namespace.ip("link", "set", "dev", "lo", "mtu", str(Random(1).randrange(1500, 9000)))
        namespace.ip("link", "set", "dev", "lo", "mtu", "65536")
    end.down()
    read_until(monitor, LinkStatus.DOWN)
    assert looks, "nothing was lost"
