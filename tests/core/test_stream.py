# SPDX-License-Identifier: GPL-2.0-or-later
"""A stream cut anywhere gives the same messages, and a socket that takes little gets all of them."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.queue import write_alive
from pyconntrack.core.stream import CAPACITY, StreamReader, send_stream

HEADER_SIZE = 8
LONGEST = 0xFFFF


def message(length: int, number: int) -> bytes:
    body = (number & 0xFF).to_bytes() * (length - HEADER_SIZE)
    return struct.pack(">BBHI", 0x10, 0, length, number) + body


lengths = st.one_of(st.integers(HEADER_SIZE, 200), st.integers(HEADER_SIZE, LONGEST))
streams = st.lists(lengths, max_size=8).map(
    lambda chosen: [message(length, number) for number, length in enumerate(chosen)]
)
pieces = st.lists(st.one_of(st.integers(1, 30), st.integers(1, LONGEST)), min_size=1, max_size=40)


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    """The stream in pieces of these sizes, by turns."""
    found, start, turn = [], 0, 0
    while start < len(stream):
        end = start + sizes[turn % len(sizes)]
        found.append(stream[start:end])
        start, turn = end, turn + 1
    return found


def is_run(chunk: bytes) -> bool:
    """Whether it is made of whole messages."""
    offset = 0
    while offset < len(chunk):
        offset += int.from_bytes(chunk[offset + 2 : offset + 4])
    return offset == len(chunk)


@given(streams, pieces)
def test_any_cut_gives_the_same_messages(messages: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(messages)
    reader = StreamReader()
    taken = b""
    for piece in cut(stream, sizes):
        run = reader.feed(piece)
        assert is_run(run)
        taken += run
        assert reader.received == len(piece)
        assert reader.pending < LONGEST
    assert taken == stream
    assert (reader.pending, reader.rubbish, reader.ended) == (0, False, False)


@given(streams, pieces, st.sampled_from([b"\x20\0\0\x08", b"\x00\0\0\x08", b"\x1a\0\0\x07", b"\x10\0\0\0"]))
def test_rubbish_ends_a_stream(messages: list[bytes], sizes: list[int], head: bytes) -> None:
    rubbish = head + b"none"
    stream = b"".join(messages) + rubbish + message(50, 1)
    reader = StreamReader()
    taken = b"".join(reader.feed(piece) for piece in cut(stream, sizes))
    # Its header is handed out, to be counted.
    assert taken == b"".join(messages) + rubbish
    assert reader.rubbish
    assert reader.feed(message(50, 2)) == b""
    reader.clear()
    assert reader.feed(message(50, 2)) == message(50, 2)


def test_more_than_there_is_room_for_is_refused() -> None:
    reader = StreamReader()
    long = message(LONGEST, 1)
    assert reader.feed(long[:-1]) == b""
    assert reader.pending == LONGEST - 1
    with pytest.raises(ValueError, match="room for"):
        reader.feed(bytes(CAPACITY - LONGEST + 2))
    assert reader.feed(long[-1:]) == long


def test_a_socket_is_read_to_its_end() -> None:
    ours, theirs = socket.socketpair()
    reader = StreamReader()
    with ours:
        with theirs:
            assert (reader.receive(ours.fileno()), reader.received) == (b"", 0)
            theirs.send(message(20, 1) + message(30, 2)[:10])
            assert reader.receive(ours.fileno()) == message(20, 1)
            assert (reader.received, reader.pending, reader.ended) == (30, 10, False)
            theirs.send(message(30, 2)[10:])
            assert reader.receive(ours.fileno()) == message(30, 2)
        assert reader.receive(ours.fileno()) == b""
        assert reader.ended
    with pytest.raises(OSError, match="cannot receive"):
        reader.clear()
        reader.receive(-1)


def filled(count: int) -> Datagrams:
    """So many datagrams, full of short messages, which all differ."""
    datagrams = Datagrams(600, count)
    number = 0
    while write_alive(datagrams, number, 0):
        number += 1
    return datagrams


@given(st.integers(1, 40), st.lists(st.integers(1, 20_000), min_size=1, max_size=30))
def test_short_writes_lose_nothing(count: int, reads: list[int]) -> None:
    datagrams = filled(count)
    stream = b"".join(datagrams[i] for i in range(count))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        taken, first, turn = b"", 0, 0
        while True:
            first, size, rest, failure = send_stream(datagrams, ours.fileno(), first)
            assert size <= len(stream)
            assert failure in (0, errno.EAGAIN)
            while rest:
                taken += theirs.recv(reads[turn % len(reads)])
                turn += 1
                try:
                    rest = rest[ours.send(rest, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    continue
            if not failure:
                break
            taken += theirs.recv(reads[turn % len(reads)])
            turn += 1
        ours.shutdown(socket.SHUT_WR)
        while more := theirs.recv(LONGEST):
            taken += more
    assert taken == stream
    # They can be sent again, as they were.
    assert stream == b"".join(datagrams[i] for i in range(count))


def test_a_broken_connection_is_told() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        assert send_stream(filled(3), ours.fileno()) == (0, 0, b"", errno.EPIPE)
