# SPDX-License-Identifier: GPL-2.0-or-later
"""A link over TCP, with plain sockets in the peer's place, and with another link of ours."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
import select
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from pyconntrack.channel import sockets
from pyconntrack.channel.channel import DATAGRAMS_AT_ONCE, ChannelError, LinkMissingError
from pyconntrack.channel.open import open_link
from pyconntrack.channel.stream import StreamChannel
from pyconntrack.config import Link, Transport
from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.queue import write_alive
from testbed import Testbed, veth, wait_until
from testbed.namespace import Namespace
from tests.core.support_wire import message

PORT = 3780
OWN, PEER, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
DEADLINE = 20.0
ALIVE = 10


def link_to(peer: str = PEER, own: str = OWN, interface: str = "lo", **more: Any) -> Link:
    return Link(
        transport=Transport.TCP,
        address=ip_address(own),
        port=PORT,
        interface=interface,
        peer=ip_address(peer),
        **more,
    )


@pytest.fixture
def place(bed: Testbed) -> Iterator[Namespace]:
    namespace = bed.namespace("stream")
    with namespace.entered():
        yield namespace


@contextlib.contextmanager
def opened(link: Link) -> Iterator[StreamChannel]:
    channel = StreamChannel(link)
    try:
        yield channel
    finally:
        channel.close()


class Peer:
    """Plain sockets at the peer's address: one listens, others connect."""

    def __init__(self, receive_buffer: int = 0) -> None:
        self.stack = contextlib.ExitStack()
        self.listener = self._socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind((PEER, PORT))
        self.listener.listen()

    def _socket(self) -> socket.socket:
        made = self.stack.enter_context(socket.socket())
        made.settimeout(DEADLINE)
        return made

    def accept(self) -> socket.socket:
        accepted, (address, _) = self.listener.accept()
        assert address == OWN
        self.stack.enter_context(accepted)
        accepted.settimeout(DEADLINE)
        return accepted

    def connect(self, source: str = PEER) -> socket.socket:
        made = self._socket()
        made.bind((source, 0))
        made.connect((OWN, PORT))
        return made


@contextlib.contextmanager
def peer_of(receive_buffer: int = 0) -> Iterator[Peer]:
    peer = Peer(receive_buffer)
    with peer.stack:
        yield peer


def attend_until(channel: StreamChannel, done: Callable[[], bool], what: str) -> list[bytes]:
    """Let the channel do its work until something is so. Returns what was received meanwhile."""
    taken: list[bytes] = []

    def look() -> bool:
        # As an event loop does it: nothing is asked of a channel that says nothing.
        if select.select([channel.fileno()], [], [], 0.02)[0]:
            taken.extend(datagram for datagram, _ in channel.receive()[0])
        return done()

    wait_until(look, DEADLINE, what)
    return taken


def connected(channel: StreamChannel) -> Callable[[], bool]:
    return lambda: channel.traffic.client_connected and channel.traffic.server_connected


def more_than(count: Callable[[], int]) -> Callable[[], bool]:
    """Whether there is more of something than now."""
    before = count()
    return lambda: count() > before


def receive(channel: StreamChannel, size: int) -> bytes:
    """So many bytes of messages."""
    taken = b""
    while len(taken) < size:
        arrived = attend_until(channel, more_than(lambda: channel.traffic.bytes_received), "messages")
        taken += b"".join(arrived)
    return taken


def read(connection: socket.socket, size: int) -> bytes:
    taken = b""
    while len(taken) < size:
        piece = connection.recv(size - len(taken))
        assert piece, f"the connection ends after {len(taken)} bytes of {size}"
        taken += piece
    return taken


def is_closed(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1)
    except ConnectionResetError:
        return True


def alives(first: int, count: int) -> bytes:
    return b"".join(message(ALIVE, 0x10, number) for number in range(first, first + count))


def fill(datagrams: Datagrams, first: int) -> bytes:
    """Fill all of them. Returns what they hold."""
    number = first
    datagrams.clear()
    while write_alive(datagrams, number, 0):
        number += 1
    return b"".join(datagrams[i] for i in range(len(datagrams)))


def texts(channel: StreamChannel) -> list[str]:
    return [news.text.removeprefix("TCP link on lo: ") for news in channel.news()]


def test_two_links_of_ours_carry_datagrams(place: Namespace) -> None:
    with opened(link_to()) as here, opened(link_to(OWN, PEER)) as there:
        for channel in (here, there, here):
            attend_until(channel, lambda: True, "a moment")
        for channel in (here, there):
            attend_until(channel, connected(channel), "both connections")
        for sender, receiver in ((here, there), (there, here)):
            datagrams = sender.new_datagrams(100)
            sent = fill(datagrams, 7)
            first, taken = 0, b""
            while first < len(datagrams):
                first = sender.send(datagrams, first)
                taken += receive(receiver, 1)
                attend_until(sender, lambda: True, "nothing")
            taken += receive(receiver, len(sent) - len(taken))
            assert taken == sent
            assert sender.traffic.bytes_sent == receiver.traffic.bytes_received == len(sent)
            assert sender.traffic.packets_sent == len(datagrams)
        assert isinstance(open_link(link_to("127.0.0.9", "127.0.0.8")), StreamChannel)
    assert here.fileno() == here.writing_fileno() == -1


def test_much_counts_as_much_though_segments_are_large(place: Namespace) -> None:
    """The loopback interface takes all of it in one."""
    with peer_of() as peer, opened(link_to()) as channel:
        stream = alives(1, 7500)
        peer.connect().sendall(stream)
        arrived = taken = 0

        def look() -> bool:
            nonlocal arrived, taken
            datagrams, count = channel.receive()
            arrived += count
            taken += sum(len(datagram) for datagram, _ in datagrams)
            return taken == len(stream)

        wait_until(look, DEADLINE, "all of it")
        assert arrived >= DATAGRAMS_AT_ONCE


def test_messages_are_whole_wherever_the_stream_is_cut(place: Namespace) -> None:
    dice = random.Random(3)
    messages = [message(1, 0, i, dice.randbytes(4 * dice.randrange(400))) for i in range(300)]
    messages.insert(150, message(1, 0, 7, bytes(65000)))
    stream = b"".join(messages)
    with peer_of() as peer, opened(link_to()) as channel:
        connection = peer.connect()
        start, runs = 0, []
        while start < len(stream):
            end = start + dice.choice((1, 3, 8, 500, 3000, 40_000))
            connection.sendall(stream[start:end])
            runs += attend_until(channel, more_than(lambda: channel.incoming.received), "bytes")
            start = end
        runs += attend_until(channel, lambda: channel.traffic.bytes_received == len(stream), "all messages")
        assert b"".join(runs) == stream
        for run in runs:
            offset = 0
            while offset < len(run):
                offset += int.from_bytes(run[offset + 2 : offset + 4])
            assert offset == len(run)


def test_strangers_are_refused_and_told_once(place: Namespace) -> None:
    with peer_of() as peer, opened(link_to()) as channel:
        attend_until(channel, lambda: channel.traffic.client_connected, "a connection")
        texts(channel)
        strangers = [peer.connect(STRANGER) for _ in range(3)]
        strangers[0].send(alives(1, 1))
        taken = attend_until(channel, lambda: channel.traffic.strangers == 3, "three strangers")
        assert taken == []
        assert all(is_closed(stranger) for stranger in strangers)
        assert channel.traffic.last_stranger == STRANGER
        assert not channel.traffic.server_connected
        assert texts(channel) == [f"refused a connection of {STRANGER}, which is not the peer"]
        own = peer.connect()
        own.send(alives(5, 2))
        assert receive(channel, 16) == alives(5, 2)


def test_a_newer_connection_replaces_an_older_one_in_the_middle_of_a_message(place: Namespace) -> None:
    with peer_of() as peer, opened(link_to()) as channel:
        older = peer.connect()
        older.send(alives(1, 3) + alives(4, 1)[:5])
        newer = peer.connect()
        newer.send(alives(20, 2))
        assert receive(channel, 40) == alives(1, 3) + alives(20, 2)
        assert is_closed(older)
        newer.send(alives(22, 1))
        assert receive(channel, 8) == alives(22, 1)
        assert channel.traffic.receive_errors == 0


def test_rubbish_ends_a_connection_and_the_next_one_is_read(place: Namespace) -> None:
    with peer_of() as peer, opened(link_to()) as channel:
        attend_until(channel, lambda: channel.traffic.client_connected, "a connection")
        for number in (1, 2):
            connection = peer.connect()
            connection.send(alives(1, 2) + b"GET / HTTP/1.0\r\n" + alives(3, 1))
            # The head of what is no message is handed out, where it is counted.
            assert receive(channel, 24) == alives(1, 2) + b"GET / HT"
            assert is_closed(connection)
            assert channel.traffic.receive_errors == number
        assert not channel.traffic.server_connected
        assert (
            texts(channel).count(f"the connection of {PEER} is lost: it sent something that is no message")
            == 2
        )
        peer.connect().send(alives(9, 1))
        assert receive(channel, 8) == alives(9, 1)


def test_who_connects_in_a_loop_does_not_fill_the_log(place: Namespace) -> None:
    with peer_of() as peer, opened(link_to()) as channel:
        for _ in range(60):
            peer.connect().send(b"rubbish rubbish")
            attend_until(channel, more_than(lambda: channel.traffic.receive_errors), "an error")
        assert 2 <= len(channel.news()) < 60


def test_short_writes_lose_nothing_and_a_broken_one_begins_anew(place: Namespace) -> None:
    link = link_to(send_buffer=4096)
    with peer_of(receive_buffer=4096) as peer, opened(link) as channel:
        connection = peer.accept()
        attend_until(channel, lambda: channel.traffic.client_connected, "a connection")
        datagrams = Datagrams(1500, 64)
        first, stream, taken = 0, fill(datagrams, 1), b""
        waited = 0
        while first < len(datagrams):
            first = channel.send(datagrams, first)
            if first < len(datagrams):
                waited += 1
                assert not select.select([], [channel.writing_fileno()], [], 0)[1]
                while not select.select([], [channel.writing_fileno()], [], 0)[1]:
                    if select.select([connection], [], [], 0)[0]:
                        taken += connection.recv(777)
                    attend_until(channel, lambda: True, "nothing")
        assert waited > 3
        # The rest of the last one goes without anything more being sent.
        while len(taken) < len(stream):
            attend_until(channel, lambda: True, "nothing")
            if select.select([connection], [], [], 0)[0]:
                taken += connection.recv(777)
        assert taken == stream
        # Now the connection breaks while much of the stream waits.
        stream = fill(datagrams, 5000)
        first = channel.send(datagrams, 0)
        assert 0 < first < len(datagrams)
        connection.close()
        attend_until(channel, lambda: not channel.traffic.client_connected, "the end of it")
        assert select.select([], [channel.writing_fileno()], [], 0)[1]
        attend_until(channel, lambda: channel.traffic.client_connected, "another connection")
        connection = peer.accept()
        texts(channel)
        assert not channel.stirred
        attend_until(channel, lambda: channel.changes == 1, "word of it")
        assert channel.stirred
        again = Datagrams(1500, 1)
        expected = fill(again, 90_000)
        assert channel.send(again) == 1
        assert read(connection, len(expected)) == expected


def test_while_there_is_no_peer_datagrams_are_lost_and_it_is_found_when_it_comes(place: Namespace) -> None:
    with opened(link_to()) as channel:
        datagrams = Datagrams(600, 3)
        fill(datagrams, 1)
        assert channel.send(datagrams) == 3
        assert channel.traffic.send_errors == 3
        assert channel.traffic.last_send_error == errno.ENOTCONN
        attend_until(channel, lambda: bool(channel._news), "a failed attempt")
        told = texts(channel)
        assert told == [f"cannot connect to {PEER}: Connection refused; it is tried again and again"]
        for restart in (0, 1, 2):
            with peer_of() as peer:
                # Nothing is sent meanwhile.
                attend_until(channel, lambda: channel.traffic.client_connected, "a connection")
                connection = peer.accept()
                other = peer.connect()
                attend_until(channel, connected(channel), "both connections")
                assert channel.renewals == restart
                told += texts(channel)
                assert not channel.stirred
                other.send(alives(1, 1))
                receive(channel, 8)
                assert channel.renewals == restart + 1
                assert channel.stirred
                # Of the first connection: what was sent before it is lost, too.
                assert channel.changes == restart + 1
                sent = fill(datagrams, 10)
                assert channel.send(datagrams) == 3
                assert read(connection, len(sent)) == sent
            attend_until(channel, lambda: not channel.traffic.client_connected, "the end of the connections")
        told += texts(channel)
        assert told.count(f"connected to {PEER}") == 3
        assert len(told) <= 3 * 5


def test_a_peer_that_connects_is_connected_to_at_once(
    place: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyconntrack.channel.outgoing._FIRST_PAUSE", 1000.0)
    with opened(link_to()) as channel:
        attend_until(channel, lambda: bool(channel._news), "a failed attempt")
        with peer_of() as peer:
            peer.connect()
            attend_until(channel, connected(channel), "both connections")


def test_a_peer_that_is_gone_without_a_word_is_noticed(
    place: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "_UNANSWERED_MILLISECONDS", 500)
    for name in ("_KEEPALIVE_IDLE", "_KEEPALIVE_INTERVAL", "_KEEPALIVE_COUNT"):
        monkeypatch.setattr(sockets, name, 1)
    with peer_of() as peer, opened(link_to()) as channel:
        peer.connect()
        attend_until(channel, connected(channel), "both connections")
        place.nft("table inet cut { chain every { type filter hook input priority 0; drop; }; }")
        datagrams = Datagrams(600, 1)
        fill(datagrams, 1)
        channel.send(datagrams)
        attend_until(
            channel,
            lambda: not channel.traffic.client_connected and not channel.traffic.server_connected,
            "the end of both connections",
        )
        place.nft("delete table inet cut")
        peer.connect()
        attend_until(channel, connected(channel), "both connections")
        attend_until(channel, lambda: channel.changes == 1, "word of it")


def test_what_a_peer_says_where_it_is_to_listen_is_not_heard(place: Namespace) -> None:
    with peer_of() as peer, opened(link_to()) as channel:
        connection = peer.accept()
        attend_until(channel, lambda: channel.traffic.client_connected, "a connection")
        for _ in range(50):
            connection.sendall(bytes(10_000))
            attend_until(channel, lambda: True, "nothing")
        assert not select.select([channel.fileno()], [], [], 0)[0]
        assert channel.traffic.client_connected
        assert channel.traffic.bytes_received == 0


def test_link_local_addresses_take_the_interface(bed: Testbed) -> None:
    left, right = bed.namespace("left"), bed.namespace("right")
    veth(left, "sync", right, "sync", first_addresses=["fe80::1/64"], second_addresses=["fe80::2/64"])
    with left.entered():
        here = StreamChannel(link_to("fe80::2", "fe80::1", "sync"))
    with right.entered():
        there = StreamChannel(link_to("fe80::1", "fe80::2", "sync"))
    try:
        for _ in range(2):
            with right.entered():
                attend_until(there, lambda: there.traffic.client_connected, "a connection")
            with left.entered():
                attend_until(here, lambda: here.traffic.client_connected, "a connection")
        assert here.payload == 1500 - 60
        datagrams = here.new_datagrams(1)
        sent = fill(datagrams, 1)
        assert here.send(datagrams) == 1
        assert receive(there, len(sent)) == sent
        assert there.receive()[0] == []
        assert here.incoming.tied
    finally:
        here.close()
        there.close()


def test_who_has_the_peers_address_behind_another_interface_is_not_heard(bed: Testbed) -> None:
    node, stranger = bed.namespace("node"), bed.namespace("stranger")
    veth(node, "link0", bed.namespace("peer"), "link0", first_addresses=["10.9.0.1/24"])
    veth(
        *(node, "other0", stranger, "other0"),
        first_addresses=["10.8.0.1/24"],
        second_addresses=["10.8.0.2/24"],
    )
    stranger.ip("address", "add", "10.9.0.2/32", "dev", "lo")
    stranger.ip("route", "add", "10.9.0.1/32", "via", "10.8.0.1")
    for name in ("all", "other0"):
        node.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
    node.ip("route", "add", "10.9.0.2/32", "dev", "link0")
    with node.entered():
        channel = StreamChannel(link_to("10.9.0.2", "10.9.0.1", "link0"))
    try:
        assert channel.incoming.tied
        with stranger.entered(), socket.socket() as forger:
            forger.bind(("10.9.0.2", 0))
            forger.setblocking(False)
            forger.connect_ex(("10.9.0.1", PORT))
            attend_until(channel, lambda: bool(channel._news) or _refused(forger), "an answer")
        assert not channel.traffic.server_connected
        assert channel.traffic.strangers == 0
    finally:
        channel.close()


def _refused(connecting: socket.socket) -> bool:
    # The node's answer goes to the true peer, or there is none.
    return connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_leaks(place: Namespace) -> None:
    before = descriptors()
    with peer_of() as peer:
        for _ in range(3):
            with opened(link_to()) as channel:
                for _ in range(4):
                    peer.connect().send(alives(1, 1)[:5])
                attend_until(channel, connected(channel), "both connections")
                peer.accept().close()
            channel.close()
    assert descriptors() == before
    with pytest.raises(ChannelError, match="no interface has the address"):
        StreamChannel(link_to(own="192.0.2.1"))
    with pytest.raises(LinkMissingError, match="there is no interface nothing0"):
        StreamChannel(link_to(interface="nothing0"))
    with opened(link_to()), pytest.raises(ChannelError, match=f"port {PORT} is in use"):
        StreamChannel(link_to())
    assert descriptors() == before


def test_without_a_descriptor_left_a_connection_waits_and_that_is_told_once(place: Namespace) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with peer_of() as peer, opened(link_to()) as channel:
        attend_until(channel, lambda: channel.traffic.client_connected, "a connection")
        texts(channel)
        waiting = peer.connect()
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
            for _ in range(3):
                channel.receive()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        told = texts(channel)
        assert told == ["a connection waits and cannot be taken: Too many open files"]
        waiting.send(alives(1, 1))
        assert receive(channel, 8) == alives(1, 1)


def test_where_descriptors_run_out_none_is_left_open(
    place: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = descriptors()
    monkeypatch.setattr(os, "eventfd", refuse)
    with pytest.raises(ChannelError, match="Too many open files"):
        StreamChannel(link_to())
    assert descriptors() == before
