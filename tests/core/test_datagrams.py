# SPDX-License-Identifier: GPL-2.0-or-later
"""Datagrams, through real sockets of the loopback."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pyconntrack.core.datagrams import DatagramReceiver, Datagrams
from pyconntrack.core.queue import write_control
from tests.core.support_network import messages_of
from tests.core.support_wire import message


def fill(out: Datagrams) -> int:
    count = 0
    while write_control(out, count, 2, count, 0):
        count += 1
    return count


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as stack:
        receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        sender.connect(receiver.getsockname())
        yield sender, receiver


@pytest.mark.parametrize(("size", "capacity"), [(519, 1), (65508, 1), (1472, 0), (1472, 1025)])
def test_sizes_are_checked(size: int, capacity: int) -> None:
    with pytest.raises(ValueError, match="bytes can be had"):
        Datagrams(size, capacity)


def test_messages_are_packed_whole() -> None:
    out = Datagrams(600, 3)
    assert fill(out) == 3 * (600 // 16)
    assert len(out) == 3
    assert [len(out[index]) for index in range(3)] == [592] * 3
    assert out.bytes_filled == 3 * 592
    assert [sent.sequence for sent in messages_of(out)] == list(range(111))
    with pytest.raises(IndexError):
        out[3]
    out.clear()
    assert (len(out), out.bytes_filled) == (0, 0)


def test_datagrams_are_sent_and_received(pair: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = pair
    out = Datagrams(1472, 40)
    fill(out)
    assert out.send(sender.fileno()) == (40, 0)
    assert out.send(sender.fileno(), 40) == (40, 0)
    arrived: list[tuple[bytes, bytes, int]] = []
    incoming = DatagramReceiver(receiver.fileno(), 16)
    while len(arrived) < 40:
        got = incoming.receive()
        assert 0 < len(got) <= 16
        arrived += got
    assert [datagram for datagram, _, _ in arrived] == [out[index] for index in range(40)]
    assert {count for _, _, count in arrived} == {1}
    port = sender.getsockname()[1]
    assert {name[2:8] for _, name, _ in arrived} == {port.to_bytes(2, "big") + bytes([127, 0, 0, 1])}
    assert incoming.receive() == []


DATA = message(0, 0, 1, b"a" * 8) + message(5, 0, 2, b"b" * 4)


@pytest.mark.parametrize(
    "alone",
    [
        message(10, 0, 1),
        message(0, 0x20, 1),
        message(6, 0, 1),
        DATA + b"\x10",
        DATA + message(0, 0, 3, b"c")[:-1],
        DATA + struct.pack(">BBHI", 0x10, 0, 7, 3),
        DATA + struct.pack(">BBHI", 0x20, 0, 8, 3),
        b"\x10",
    ],
)
def test_plain_data_of_one_sender_is_one_piece(
    pair: tuple[socket.socket, socket.socket], alone: bytes
) -> None:
    sender, receiver = pair
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.connect(receiver.getsockname())
        for place, datagram in (
            *((sender, DATA) for _ in range(3)),
            *((other, DATA) for _ in range(2)),
            (sender, DATA),
            (sender, alone),
            (sender, alone),
            (sender, DATA),
        ):
            place.send(datagram)
        ports = [sender.getsockname()[1], other.getsockname()[1]]
    incoming = DatagramReceiver(receiver.fileno(), 9)
    got = incoming.receive()
    assert [
        (datagram, ports.index(int.from_bytes(name[2:4], "big")), count) for datagram, name, count in got
    ] == [
        (3 * DATA, 0, 3),
        (2 * DATA, 1, 2),
        (DATA, 0, 1),
        (alone, 0, 1),
        (alone, 0, 1),
        (DATA, 0, 1),
    ]


def test_a_refusal_is_told_with_the_place_to_go_on_from() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            sender.connect(closed.getsockname())
        out = Datagrams(1472, 8)
        fill(out)
        # The datagram that goes out brings a refusal, which the next call to send meets.
        sender.send(b"")
        assert out.send(sender.fileno()) == (0, errno.ECONNREFUSED)
        first, _ = out.send(sender.fileno())
        assert first > 0


def test_a_full_socket_leaves_the_rest_for_later() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        out = Datagrams(1472, 1024)
        fill(out)
        sent, failure = out.send(left.fileno())
        assert 0 < sent < len(out)
        assert failure == errno.EAGAIN
        assert out.send(left.fileno(), sent) == (sent, errno.EAGAIN)
        assert right.recv(2000) == out[0]
        assert out.send(left.fileno(), sent)[0] > sent


def test_a_bad_descriptor_is_told() -> None:
    out = Datagrams(1472)
    fill(out)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unbound:
        assert out.send(unbound.fileno()) == (0, errno.EDESTADDRREQ)
        descriptor = unbound.fileno()
        receiver = DatagramReceiver(descriptor)
    with pytest.raises(OSError, match="cannot receive"):
        receiver.receive()
