# SPDX-License-Identifier: GPL-2.0-or-later
"""A dedicated link: what it needs of its interface, and what it tells of what arrives."""

from __future__ import annotations

import contextlib
import socket
from ipaddress import ip_address

import pytest

from pyconntrack.channel import sockets
from pyconntrack.channel.channel import ChannelError
from pyconntrack.channel.datagram import DatagramChannel
from pyconntrack.channel.sockets import RECEIVE_BUFFER
from pyconntrack.config import Link, Transport
from testbed import Testbed, in_user_namespace

LINK = Link(
    transport=Transport.UDP,
    address=ip_address("127.0.0.1"),
    port=3780,
    interface="lo",
    peer=ip_address("127.0.0.2"),
)


def test_strangers_count_among_what_arrives(bed: Testbed) -> None:
    """Where only strangers send, the next look is to be as soon as after a bulk."""
    senders = ["127.0.0.3"] * 20 + ["127.0.0.2"]
    with bed.namespace("strangers").entered():
        channel = DatagramChannel(LINK)
        try:
            for source in senders:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.bind((source, 0))
                    sender.sendto(b"x", ("127.0.0.1", 3780))
            accepted, arrived = channel.receive()
            assert [source for _, source in accepted] == ["127.0.0.2"]
            assert arrived == 21
            assert channel.traffic.strangers == 20
            assert channel.receive() == ([], 0)
        finally:
            channel.close()


def room(opened: socket.socket) -> int:
    return opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def test_a_receiver_has_room_for_a_bulk_without_being_told(bed: Testbed) -> None:
    with bed.namespace("room").entered():
        channel = DatagramChannel(LINK)
        with contextlib.closing(channel), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            before = room(plain)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            # The kernel shows twice what was asked for.
            possible = room(plain) if in_user_namespace() else 2 * RECEIVE_BUFFER
            assert before < room(channel.receiver) == possible


def test_a_buffer_does_not_shrink_for_want_of_privilege(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's default may be larger than what may be asked for."""

    def grant_little(opened: socket.socket, size: int) -> None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, min(size, 10_000))

    monkeypatch.setattr(sockets, "set_receive_buffer", grant_little)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        before = room(opened)
        sockets.widen_receive_buffer(opened)
        assert room(opened) == before > 20_000


def test_a_large_datagram_counts_as_several(bed: Testbed) -> None:
    """Of jumbo frames, too, a full load is known from a trickle."""
    with bed.namespace("large").entered():
        channel = DatagramChannel(LINK)
        with contextlib.closing(channel), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for size, count in ((8972, 7), (1472, 1), (8, 1)):
                peer.sendto(bytes(size), (str(LINK.address), LINK.port))
                assert channel.receive()[1] == count


def test_a_buffer_that_is_larger_by_itself_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "RECEIVE_BUFFER", 10_000)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        before = room(opened)
        sockets.widen_receive_buffer(opened)
        assert room(opened) == before > 20_000


def test_an_mtu_that_is_too_small_is_told(bed: Testbed) -> None:
    namespace = bed.namespace("mtu")
    namespace.ip("link", "set", "lo", "mtu", "547")
    with namespace.entered():
        with pytest.raises(ChannelError) as refusal:
            DatagramChannel(LINK)
        assert str(refusal.value) == "UDP link on lo: its MTU is 547 bytes, and must be 548 at least"
        namespace.ip("link", "set", "lo", "mtu", "548")
        channel = DatagramChannel(LINK)
        channel.new_datagrams()
        channel.close()
