# SPDX-License-Identifier: GPL-2.0-or-later
"""Garbage from the network and at the control socket neither ends nor confuses a running daemon."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pyconntrack.daemon.control_client import FAILED
from testbed import Conntrackd, wait_until
from testbed.configuration import Mode
from tests.peer.flows import varied_flows
from tests.peer.nodes import Field, Pair

FEW = 500
GARBAGE = 20_000
CONNECTIONS = 1_000
PEER = ("10.77.0.1", 3780)


@pytest.fixture
def pair(request: pytest.FixtureRequest, field: Field) -> Iterator[Pair]:
    """Two nodes of ours with some flows."""
    mode: Mode = getattr(request, "param", "FTFW")
    made = field.pair("ours", "ours", mode, "udp")
    with made.running():
        made.sender.create(varied_flows(FEW))
        made.wait_equal()
        yield made


def datagrams(dice: random.Random) -> Iterator[bytes]:
    """Noise, and messages that are right but for a few bytes."""
    for number in range(GARBAGE):
        if number % 2:
            yield dice.randbytes(dice.randrange(0, 200))
            continue
        body = dice.randbytes(4 * dice.randrange(0, 20))
        header = bytes(
            [0x10 | dice.choice([0, 1, 2, 3, 5, 10]), 1 << dice.randrange(8), *(8 + len(body)).to_bytes(2)]
        )
        yield header + dice.randbytes(4) + body


def talk_nonsense(pair: Pair, source: str) -> None:
    """Send garbage to the receiver, and to its peer, from an address on the sender's side."""
    with pair.sender.namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.bind((source, 0))
        for datagram in datagrams(random.Random(GARBAGE)):
            mouth.sendto(datagram, ("10.77.0.2", 3780))


@pytest.mark.parametrize("pair", ["FTFW", "NOTRACK"], indirect=True)
def test_garbage_from_the_peers_address_does_no_lasting_harm(pair: Pair) -> None:
    talk_nonsense(pair, "10.77.0.1")
    malformed = pair.receiver.daemon.client("-s", "network").stdout.splitlines()[2]
    assert int(malformed.rpartition("\t")[2]) > 0
    # What looked like flows is gone with the answer to a resync, and the sender's numbers are followed again.
    pair.sender.daemon.client("-B")
    pair.sender.create(varied_flows(FEW, first=10 * FEW))
    pair.wait_equal()


@pytest.mark.parametrize("pair", ["FTFW", "NOTRACK"], indirect=True)
def test_strangers_are_not_heard(pair: Pair) -> None:
    before = pair.receiver.cache("external")
    pair.sender.namespace.ip("address", "add", "10.77.0.66/24", "dev", "sync")
    try:
        talk_nonsense(pair, "10.77.0.66")
    finally:
        pair.sender.namespace.ip("address", "del", "10.77.0.66/24", "dev", "sync")
    wait_until(
        lambda: received_errors(pair.receiver.daemon) > 0, 10.0, "strangers in the statistics", pair.logs
    )
    assert pair.receiver.cache("external") == before
    malformed = pair.receiver.daemon.client("-s", "network").stdout.splitlines()[2]
    assert int(malformed.rpartition("\t")[2]) == 0
    pair.wait_equal()


def received_errors(daemon: Conntrackd) -> int:
    line = next(line for line in daemon.client("-s", "link").stdout.splitlines() if "Error recv" in line)
    return int(line.split()[3])


def connect(daemon: Conntrackd) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(10.0)
    made.connect(str(daemon.socket))
    return made


UNKNOWN_REQUESTS = [
    b"dance\n",
    b"\n",
    b"statistics of everything\n",
    b"dump\n",
    b"\xff\xfe\n",
    b"x" * 10_000 + b"\n",
    bytes(300),
]


def test_unknown_requests_are_answered_and_counted(pair: Pair) -> None:
    for line in UNKNOWN_REQUESTS:
        with connect(pair.receiver.daemon) as client:
            client.sendall(line)
            assert client.recv(1)[0] == FAILED, line
    runtime = pair.receiver.daemon.client("-s", "runtime").stdout
    assert unknown_requests(runtime) == len(UNKNOWN_REQUESTS)


def unknown_requests(runtime: str) -> int:
    return next(int(line.split()[-1]) for line in runtime.splitlines() if "local unknown request" in line)


def test_a_thousand_silent_or_half_open_clients_keep_nobody_out(pair: Pair) -> None:
    daemon = pair.receiver.daemon
    with ExitStack() as stack:
        for number in range(CONNECTIONS):
            client = stack.enter_context(connect(daemon))
            if number % 3 == 1:
                client.sendall(b"statist")
            elif number % 3 == 2:
                client.shutdown(socket.SHUT_WR)
            if number % 100 == 0:
                assert "cache internal:" in daemon.client("-s").stdout
        assert "cache internal:" in daemon.client("-s").stdout
    pair.wait_equal()


def test_client_that_does_not_read_its_answer_holds_nothing_up(pair: Pair) -> None:
    with connect(pair.sender.daemon) as client:
        client.sendall(b"dump internal ct xml\n")
        pair.sender.create(varied_flows(FEW, first=20 * FEW))
        pair.wait_equal()
