# SPDX-License-Identifier: GPL-2.0-or-later
"""Several links as one channel: what fails, what comes and goes, and who is heard."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import select
import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, ip_address
from random import Random
from typing import Any

import pytest

import pyconntrack.channel.links as links_module
from pyconntrack.channel.channel import ChannelError, LinkMissingError, LinkStatus
from pyconntrack.channel.datagram import SO_NO_CHECK, DatagramChannel
from pyconntrack.channel.link_choice import LONGEST_HOLD
from pyconntrack.channel.links import DedicatedLinks
from pyconntrack.channel.open import open_link
from pyconntrack.config import Link, Transport
from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.queue import write_alive
from testbed import Interface, Testbed, loss, veth, wait_until

PORT = 3780
NAMES = ("sync0", "sync1", "sync2")


class Ends:
    """A node at each end, and up to three links between."""

    def __init__(self, bed: Testbed) -> None:
        self.nodes = (bed.namespace("left"), bed.namespace("right"))
        self._stack = contextlib.ExitStack()

    def join(self, number: int, mtu: int = 1500) -> tuple[Interface, Interface]:
        return veth(
            *(self.nodes[0], NAMES[number], self.nodes[1], NAMES[number]),
            first_addresses=[f"10.7{number}.0.1/24", "fe80::1/64"],
            second_addresses=[f"10.7{number}.0.2/24", "fe80::2/64"],
            mtu=mtu,
        )

    def open(self, end: int, *links: Link) -> DedicatedLinks:
        with self.nodes[end].entered():
            opened = DedicatedLinks(links, open_link, Random(1), silence_is_failure=True)
        self._stack.callback(opened.close)
        return opened

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def ends(bed: Testbed) -> Iterator[Ends]:
    made = Ends(bed)
    yield made
    made.close()


def udp(end: int, number: int, default: bool = False, **more: Any) -> Link:
    return dataclasses.replace(
        Link(
            transport=Transport.UDP,
            address=ip_address(f"10.7{number}.0.{1 + end}"),
            peer=ip_address(f"10.7{number}.0.{2 - end}"),
            port=PORT + number,
            interface=NAMES[number],
            default=default,
        ),
        **more,
    )


def udp6(end: int, number: int, default: bool = False) -> Link:
    """The same link-local addresses on each link."""
    return Link(
        transport=Transport.UDP,
        address=ip_address(f"fe80::{1 + end}"),
        peer=ip_address(f"fe80::{2 - end}"),
        port=PORT,
        interface=NAMES[number],
        default=default,
    )


def multicast(end: int, number: int, default: bool = False) -> Link:
    return Link(
        transport=Transport.MULTICAST,
        address=ip_address("225.0.0.50"),
        port=PORT,
        interface=NAMES[number],
        interface_address=IPv4Address(f"10.7{number}.0.{1 + end}"),
        default=default,
    )


def multicast6(end: int, number: int, default: bool = False) -> Link:
    return Link(
        transport=Transport.MULTICAST,
        address=ip_address("ff02::77"),
        port=PORT,
        interface=NAMES[number],
        default=default,
    )


def message(channel: DedicatedLinks, sequence: int) -> Datagrams:
    out = channel.new_datagrams(1)
    assert write_alive(out, sequence, 0)
    return out


def receive(channel: DedicatedLinks, count: int = 1) -> list[tuple[int, str]]:
    """Number and sender of so many messages, in the order of their arrival."""
    heard: list[tuple[int, str]] = []

    def hear() -> bool:
        heard.extend((struct.unpack(">I", text[4:8])[0], sender) for text, sender in channel.receive()[0])
        return len(heard) >= count

    wait_until(hear, 10.0, f"{count} messages", lambda: f"{heard} {channel.news()}")
    return heard


def states(channel: DedicatedLinks) -> list[tuple[LinkStatus, bool]]:
    return [(state.status, state.active) for state in channel.links]


def wait_states(channel: DedicatedLinks, *expected: tuple[LinkStatus, bool]) -> None:
    def reached() -> bool:
        channel.receive()
        return states(channel) == list(expected)

    wait_until(reached, 10.0, f"{expected}", lambda: f"{states(channel)} {channel.news()}")


def texts(channel: DedicatedLinks) -> list[str]:
    stirred = channel.stirred
    told = [news.text for news in channel.news()]
    assert stirred or not told
    assert not channel.stirred
    return told


RUNNING, NO_CARRIER, DOWN = LinkStatus.RUNNING, LinkStatus.NO_CARRIER, LinkStatus.DOWN


@pytest.mark.parametrize("link_of", [udp, udp6, multicast, multicast6])
def test_another_link_takes_over_and_the_node_keeps_name(ends: Ends, link_of: Callable[..., Link]) -> None:
    joined = [ends.join(number) for number in range(2)]
    channels = [ends.open(end, link_of(end, 0), link_of(end, 1, True)) for end in range(2)]
    assert [channel.link.interface for channel in channels] == ["sync1", "sync1"]
    channels[0].send(message(channels[0], 7))
    [(number, name)] = receive(channels[1])
    assert number == 7
    joined[1][0].down()
    wait_states(channels[0], (RUNNING, True), (DOWN, False))
    wait_states(channels[1], (RUNNING, True), (NO_CARRIER, False))
    assert texts(channels[0]) == ["device `sync0' becomes dedicated link in place of `sync1', which is down"]
    assert texts(channels[1]) == [
        "device `sync0' becomes dedicated link in place of `sync1', which has no carrier"
    ]
    assert [channel.changes for channel in channels] == [1, 1]
    channels[0].send(message(channels[0], 8))
    assert receive(channels[1]) == [(8, name)]
    joined[1][0].up()
    wait_states(channels[0], (RUNNING, True), (RUNNING, False))
    assert texts(channels[0]) == ["device `sync1' is up: not the dedicated link in use"]


def test_no_link_is_told_once_and_the_first_that_is_back_is_used(ends: Ends) -> None:
    joined = [ends.join(number) for number in range(2)]
    channel = ends.open(0, udp(0, 0, True), udp(0, 1))
    joined[0][0].down()
    wait_states(channel, (DOWN, False), (RUNNING, True))
    joined[1][1].down()
    wait_states(channel, (DOWN, False), (NO_CARRIER, True))
    channel.send(message(channel, 1))
    told = channel.news()
    assert told[-1].text == "no dedicated links available! `sync0' is down, `sync1' has no carrier"
    assert told[-1].trouble
    joined[0][0].up()
    wait_states(channel, (RUNNING, True), (NO_CARRIER, False))
    assert texts(channel) == ["device `sync0' becomes dedicated link in place of `sync1': it is up again"]


def test_one_link_alone_tells_of_its_carrier(ends: Ends) -> None:
    joined = ends.join(0)
    channel = ends.open(0, udp(0, 0, True))
    joined[1].down()
    wait_states(channel, (NO_CARRIER, True))
    assert texts(channel) == ["no dedicated links available! `sync0' has no carrier"]
    joined[1].up()
    wait_states(channel, (RUNNING, True))
    assert texts(channel) == ["device `sync0' is up again, and the dedicated link"]


def test_the_default_link_is_down_at_the_start(ends: Ends) -> None:
    joined = [ends.join(number) for number in range(2)]
    joined[0][0].down()
    channel = ends.open(0, udp(0, 0, True), udp(0, 1))
    assert states(channel) == [(DOWN, False), (RUNNING, True)]
    assert texts(channel) == ["device `sync1' becomes dedicated link in place of `sync0', which is down"]


def test_all_links_are_heard_and_the_one_that_others_use_is_taken(ends: Ends) -> None:
    for number in range(2):
        ends.join(number)
    other = ends.open(1, udp(1, 0), udp(1, 1, True))
    channel = ends.open(0, udp(0, 0, True), udp(0, 1))
    other.send(message(other, 1))
    assert receive(channel) == [(1, "10.70.0.2")]
    assert channel.link.interface == "sync0"  # for it has only just started
    number = 1

    def follows() -> bool:
        nonlocal number
        number += 1
        other.send(message(other, number))
        receive(channel)
        return channel.link.interface == "sync1"

    wait_until(follows, 10 * LONGEST_HOLD, "the other link")
    assert texts(channel) == [
        "device `sync1' becomes dedicated link in place of `sync0': messages come by it"
    ]
    assert other.link.interface == "sync1"


def test_rubbish_on_another_link_changes_nothing(ends: Ends) -> None:
    for number in range(2):
        ends.join(number)
    channel = ends.open(0, udp(0, 0, True), udp(0, 1))
    channel._choice._stands_until = 0.0
    rubbish = (b"", b"\x1a", b"\x2a\x10\0\x08\0\0\0\1", b"\x1a\x10\0\x07\0\0\0\1", b"\x1a\x10\0\x09\0\0\0\1")
    with ends.nodes[1].entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("10.71.0.2", 0))
        for text in rubbish:
            sender.sendto(text, ("10.71.0.1", PORT + 1))
        heard = 0

        def all_heard() -> bool:
            nonlocal heard
            heard += channel.receive()[1]
            return heard == len(rubbish)

        wait_until(all_heard, 10.0, "the rubbish")
    assert channel.link.interface == "sync0"


def test_a_link_that_was_missing_is_taken_up(ends: Ends) -> None:
    ends.join(0)
    channel = ends.open(0, udp(0, 0), udp(0, 1, True))
    assert channel.warnings == [
        "UDP link on sync1: there is no interface sync1: No such device; it is waited for"
    ]
    assert states(channel) == [(RUNNING, True), (DOWN, False)]
    assert texts(channel) == ["device `sync0' becomes dedicated link in place of `sync1', which is not there"]
    ends.join(1)
    with ends.nodes[0].entered():

        def taken_up() -> bool:
            channel.receive()
            channel.send(message(channel, 0))
            return all(member.channel is not None for member in channel._members)

        wait_until(taken_up, 10.0, "the second link", lambda: f"{channel.news()}")
    wait_states(channel, (RUNNING, True), (RUNNING, False))
    assert texts(channel)[-1] == "device `sync1' is up: not the dedicated link in use"
    other = ends.open(1, udp(1, 0), udp(1, 1, True))
    other.send(message(other, 5))
    assert receive(channel) == [(5, "10.71.0.2")]


@pytest.mark.parametrize("link_of", [udp, udp6, multicast, multicast6])
def test_a_link_that_is_removed_and_made_anew(ends: Ends, link_of: Callable[..., Link]) -> None:
    for number in range(2):
        ends.join(number)
    channels = [ends.open(end, link_of(end, 0, True), link_of(end, 1)) for end in range(2)]
    ends.nodes[0].ip("link", "del", "sync0")
    for channel in channels:
        wait_states(channel, (DOWN, False), (RUNNING, True))
    assert texts(channels[0])[0].startswith(
        "device `sync1' becomes dedicated link in place of `sync0', which is"
    )
    ends.join(0)
    for end, channel in enumerate(channels):
        with ends.nodes[end].entered():
            wait_states(channel, (RUNNING, False), (RUNNING, True))
    ends.nodes[0].ip("link", "set", "sync1", "down")
    for end, channel in enumerate(channels):
        with ends.nodes[end].entered():
            wait_states(channel, (RUNNING, True), (DOWN if end == 0 else NO_CARRIER, False))
    with ends.nodes[0].entered():
        channels[0].send(message(channels[0], 3))
    assert [number for number, _ in receive(channels[1])] == [3]


def test_without_any_link_there_is_no_start(ends: Ends) -> None:
    for links in ((udp(0, 0, True),), (udp(0, 0, True), udp(0, 1))):
        with pytest.raises(LinkMissingError) as refusal:
            ends.open(0, *links)
        assert "UDP link on sync0: there is no interface sync0" in str(refusal.value)


def test_a_mistake_in_one_link_is_one_in_all(ends: Ends) -> None:
    for number in range(2):
        ends.join(number)
    with ends.nodes[0].entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("10.71.0.1", PORT + 1))
        with pytest.raises(ChannelError, match="port 3781 is in use"):
            ends.open(0, udp(0, 0, True), udp(0, 1))


def test_each_link_has_its_settings_and_datagrams_fit_all(ends: Ends) -> None:
    for number in range(2):
        ends.join(number, mtu=1500 - 100 * number)
    channel = ends.open(
        0, udp(0, 0, True, send_buffer=10_000), udp(0, 1, receive_buffer=20_000, checksum=False)
    )
    assert channel.new_datagrams().size == 1400 - 28
    first, second = (member.channel for member in channel._members)
    assert isinstance(first, DatagramChannel)
    assert isinstance(second, DatagramChannel)
    buffers = [
        (
            one.sender.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 20_000,
            one.receiver.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 40_000,
            one.sender.getsockopt(socket.SOL_SOCKET, SO_NO_CHECK),
        )
        for one in (first, second)
    ]
    assert buffers == [(True, False, 0), (False, True, 1)]


def test_one_descriptor_tells_of_datagrams_and_of_interfaces(ends: Ends) -> None:
    joined = [ends.join(number) for number in range(2)]
    channels = [ends.open(end, udp(end, 0, True), udp(end, 1)) for end in range(2)]

    def readable() -> bool:
        return bool(select.select([channels[1].fileno()], [], [], 10.0)[0])

    channels[1].receive()
    assert not select.select([channels[1].fileno()], [], [], 0)[0]
    channels[0].send(message(channels[0], 1))
    assert readable()
    assert receive(channels[1]) == [(1, "10.70.0.1")]
    joined[0][0].down()
    assert readable()
    wait_states(channels[1], (NO_CARRIER, False), (RUNNING, True))
    channels[1].close()
    channels[1].close()
    assert channels[1].fileno() == -1


def test_nothing_of_the_other_links_is_heard_before_what_waits_on_the_one_in_use(ends: Ends) -> None:
    for number in range(2):
        ends.join(number)
    channel, other = (ends.open(end, udp(end, 0, True), udp(end, 1)) for end in range(2))
    for number in range(100):
        other.send(message(other, number))
    other._choice.active = 1
    other.send(message(other, 100))
    assert [number for number, _ in receive(channel, 101)] == list(range(101))


def test_what_a_stream_still_holds_does_not_come_after_newer_things(ends: Ends) -> None:
    joined = [ends.join(number) for number in range(2)]
    links = [
        [udp(end, number, number == 0, transport=Transport.TCP) for number in range(2)] for end in range(2)
    ]
    channels = [ends.open(end, *links[end]) for end in range(2)]
    heard: list[int] = []

    def listen() -> None:
        for end, channel in enumerate(channels):
            with ends.nodes[end].entered():
                for text, _ in channel.receive()[0]:
                    heard.append(struct.unpack(">I", text[4:8])[0])

    def connected() -> bool:
        listen()
        return all(
            state.traffic.client_connected and state.traffic.server_connected
            for channel in channels
            for state in channel.links
        )

    wait_until(connected, 10.0, "all connections")
    # Without a carrier the kernel would look for the peer's address anew, keep packets that have left the
    # stream until it is found, and send them when the link is back.
    shown = json.loads(ends.nodes[1].run(["ip", "-j", "link", "show", "dev", NAMES[0]]).stdout)
    ends.nodes[0].ip(
        *("neigh", "replace", "10.70.0.2", "lladdr", shown[0]["address"], "dev", NAMES[0], "nud", "permanent")
    )
    with loss(*joined[0], percent=100):
        channels[0].send(message(channels[0], 1))
        joined[0][1].down()
        wait_states(channels[0], (NO_CARRIER, False), (RUNNING, True))
        wait_states(channels[1], (DOWN, False), (RUNNING, True))
    assert not channels[0].links[0].traffic.client_connected
    with ends.nodes[0].entered():
        channels[0].send(message(channels[0], 2))
    joined[0][1].up()
    wait_until(connected, 20.0, "all connections again", lambda: f"{[c.news() for c in channels]}")
    wait_until(lambda: connected() and heard, 10.0, "the message")
    assert heard == [2]


@pytest.mark.parametrize("link_of", [udp, multicast])
def test_a_link_that_carries_nothing_although_it_runs_is_left(
    ends: Ends, link_of: Callable[..., Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_module, "SILENCE", 0.5)
    monkeypatch.setattr(links_module, "_TRY_ALL", 0.05)
    joined = [ends.join(number) for number in range(2)]
    channels = [ends.open(end, link_of(end, 0, True), link_of(end, 1)) for end in range(2)]
    number = 0
    names: list[set[str]] = [set(), set()]

    def talk() -> bool:
        nonlocal number
        number += 1
        for end, channel in enumerate(channels):
            with ends.nodes[end].entered():
                channel.send(message(channel, number))
                names[end] |= {sender for _, sender in channel.receive()[0]}
        return all(names)

    def on_second() -> bool:
        talk()
        return all(channel.link.interface == "sync1" for channel in channels)

    wait_until(talk, 10.0, "the first messages")
    with loss(*joined[0], percent=100):
        wait_until(on_second, 20.0, "the second link", lambda: f"{[states(c) for c in channels]}")
        before = channels[0].links[0].traffic.packets_sent
        for _ in range(20):
            assert on_second()
        assert channels[0].links[0].traffic.packets_sent == before
    assert [len(heard) for heard in names] == [1, 1]
