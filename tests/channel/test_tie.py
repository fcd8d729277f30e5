# SPDX-License-Identifier: GPL-2.0-or-later
"""A dedicated link hears what arrives by its own interface, whoever else uses the peer's address."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address
from typing import NamedTuple

import pytest

from pyconntrack.channel.datagram import DatagramChannel
from pyconntrack.config import Link, Transport
from testbed import Testbed, wait_until
from testbed.interface import Interface, veth
from testbed.namespace import Namespace

PORT, WITNESS = 3780, 3781
GROUP = "225.0.0.50"
OWN = {4: "10.9.0.1", 6: "fd09::1"}
PEER = {4: "10.9.0.2", 6: "fd09::2"}
ELSEWHERE = {4: "10.8.0.1", 6: "fd08::1"}
PREFIX = {4: 24, 6: 64}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


class Places(NamedTuple):
    """The node has `link0`, the dedicated link, to the peer, and `other0` to somebody with its address."""

    node: Namespace
    peer: Namespace
    stranger: Namespace


@pytest.fixture
def places(bed: Testbed) -> Places:
    node, peer, stranger = (bed.namespace(name) for name in ("node", "peer", "stranger"))
    connect(node, peer)
    veth(
        node,
        "other0",
        stranger,
        "other0",
        first_addresses=[f"{ELSEWHERE[v]}/{PREFIX[v]}" for v in (4, 6)],
        second_addresses=["10.8.0.2/24", "fd08::2/64"],
    )
    for v in (4, 6):
        Interface(stranger, "lo").add_address(f"{PEER[v]}/{128 if v == 6 else 32}")
        stranger.ip("route", "add", f"{OWN[v]}/{128 if v == 6 else 32}", "via", ELSEWHERE[v])
    return Places(node, peer, stranger)


def connect(node: Namespace, peer: Namespace) -> None:
    veth(
        node,
        "link0",
        peer,
        "link0",
        first_addresses=[f"{OWN[v]}/{PREFIX[v]}" for v in (4, 6)],
        second_addresses=[f"{PEER[v]}/{PREFIX[v]}" for v in (4, 6)],
    )


def udp(version: int = 4, interface: str = "link0", own: str = "", peer: str = "") -> Link:
    return Link(
        transport=Transport.UDP,
        address=ip_address(own or OWN[version]),
        port=PORT,
        interface=interface,
        peer=ip_address(peer or PEER[version]),
    )


@contextlib.contextmanager
def opened(namespace: Namespace, link: Link) -> Iterator[DatagramChannel]:
    with namespace.entered():
        channel = DatagramChannel(link)
    try:
        yield channel
    finally:
        channel.close()


def multicast(interface: str) -> bytes:
    """struct ip_mreqn, ip(7)."""
    return struct.pack("=4s4si", socket.inet_aton(GROUP), bytes(4), socket.if_nametoindex(interface))


def send(namespace: Namespace, text: bytes, source: str, *ends: tuple[str, int], by: str = "link0") -> None:
    version = ip_address(source).version
    with namespace.entered(), socket.socket(FAMILY[version], socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        if ends[0][0] == GROUP:
            # Else the kernel takes the interface that has the source address.
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, multicast(by))
        for end in ends:
            sender.sendto(text, end)


def heard(channel: DatagramChannel) -> list[bytes]:
    return [datagram for datagram, _ in channel.receive()[0]]


def heard_at_last(channel: DatagramChannel) -> list[bytes]:
    texts: list[bytes] = []

    def hear() -> bool:
        texts.extend(heard(channel))
        return bool(texts)

    wait_until(hear, 10.0, "a datagram of the peer")
    return texts


@pytest.mark.parametrize("reverse_path_filter", [0, 2])
@pytest.mark.parametrize("version", [4, 6])
def test_the_peers_address_by_another_interface(
    places: Places, version: int, reverse_path_filter: int
) -> None:
    for name in ("all", "other0"):
        places.node.sysctl(f"net.ipv4.conf.{name}.rp_filter", reverse_path_filter)
    own, peer = OWN[version], PEER[version]
    with opened(places.node, udp(version)) as channel, places.node.entered():
        assert channel.tied
        assert channel.warnings == []
        with socket.socket(FAMILY[version], socket.SOCK_DGRAM) as witness:
            witness.bind((own, WITNESS))
            witness.settimeout(10.0)
            # When the witness has got the second, the first has long been at its end.
            send(places.stranger, b"forged", peer, (own, PORT), (own, WITNESS))
            assert witness.recv(100) == b"forged"
        send(places.peer, b"true", peer, (own, PORT))
        assert heard_at_last(channel) == [b"true"]


def test_a_group_that_others_have_joined_elsewhere(places: Places) -> None:
    for name in ("all", "other0"):
        places.node.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
    link = Link(
        transport=Transport.MULTICAST,
        address=ip_address(GROUP),
        port=PORT,
        interface="link0",
        interface_address=IPv4Address(OWN[4]),
    )
    with opened(places.node, link) as channel, places.node.entered():
        assert channel.tied
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as witness:
            witness.bind(("", WITNESS))
            witness.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, multicast("other0"))
            witness.settimeout(10.0)
            send(places.stranger, b"forged", PEER[4], (GROUP, PORT), (GROUP, WITNESS), by="other0")
            assert witness.recv(100) == b"forged"
        send(places.peer, b"true", PEER[4], (GROUP, PORT))
        assert heard_at_last(channel) == [b"true"]


def test_the_loopback(places: Places) -> None:
    for version, own, peer in ((4, "127.0.0.1", "127.0.0.2"), (6, "fd07::1", "fd07::2")):
        if version == 6:
            for address in (own, peer):
                Interface(places.node, "lo").add_address(f"{address}/128")
        with opened(places.node, udp(version, "lo", own, peer)) as channel:
            assert (channel.tied, channel.warnings) == (True, [])
            send(places.node, b"here", peer, (own, PORT))
            assert heard_at_last(channel) == [b"here"]


def test_a_peer_on_the_same_host(places: Places) -> None:
    """What goes between two addresses of one host passes the loopback, on whichever interface they are."""
    places.node.ip("address", "add", "10.9.0.3/24", "dev", "link0")
    with opened(places.node, udp(4, "link0", peer="10.9.0.3")) as channel:
        assert not channel.tied
        send(places.node, b"here", "10.9.0.3", (OWN[4], PORT))
        assert heard_at_last(channel) == [b"here"]


def test_a_wrong_interface_is_told_and_borne(places: Places) -> None:
    with opened(places.node, udp(4, "other0")) as channel:
        assert not channel.tied
        assert channel.warnings == [
            "UDP link on other0: the way to 10.9.0.2 is by link0, so datagrams are taken from any interface"
        ]
        send(places.peer, b"true", PEER[4], (OWN[4], PORT))
        assert heard_at_last(channel) == [b"true"]


def test_an_interface_that_was_made_anew(places: Places) -> None:
    with opened(places.node, udp()) as channel, places.node.entered():
        places.node.ip("link", "del", "link0")
        connect(places.node, places.peer)
        channel.send(channel.new_datagrams(1))
        assert channel.tied
        send(places.peer, b"true", PEER[4], (OWN[4], PORT))
        assert heard_at_last(channel) == [b"true"]


def test_a_link_without_a_way_yet(places: Places) -> None:
    places.node.ip("route", "del", "10.9.0.0/24", "dev", "link0")
    with opened(places.node, udp()) as channel, places.node.entered():
        assert (channel.tied, channel.warnings) == (False, [])
        places.node.ip("route", "add", "10.9.0.0/24", "dev", "link0")
        channel.send(channel.new_datagrams(1))
        assert channel.tied


def test_who_may_not_tie_is_told(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with opened(places.node, udp()) as channel, places.node.entered():
        monkeypatch.setattr(socket.socket, "setsockopt", refuse)
        reason = channel._tie(channel.receiver)
    assert reason == "to tie it to its interface takes CAP_NET_RAW"
