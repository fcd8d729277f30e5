# SPDX-License-Identifier: GPL-2.0-or-later
# ruff: noqa: E501 (a command line is a line)
"""`-E`: both tools listen at once, while flows and expectations come, change and go."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator

import pytest

from testbed import Namespace, Testbed
from testbed.ftp import FtpTraffic, attach_helper
from tests.conntrack.deliberate import Outcome
from tests.conntrack.events import Listeners
from tests.conntrack.harness import judge
from tests.conntrack.kernel_table import KernelTable
from tests.conntrack.scenes import SCENES
from tests.conntrack.tools import C

UDP = "-p udp --sport 1000 --dport 53 -t 3000"
CHANGES = f"""
    -I -s 1.1.1.1 -d 2.2.2.2 {UDP}
    -I -s 1.1.1.2 -d 2.2.2.2 {UDP} -m 5
    -I -s 1.1.1.3 -d 2.2.2.2 {UDP} -w 7
    -I -s 1.1.1.4 -d 2.2.2.2 {UDP} --orig-zone 8 -n 3.3.3.3
    -I -s 1.1.1.5 -d 2.2.2.2 {UDP} -g 3.3.3.3:4000 -u SEEN_REPLY,ASSURED
    -I -s fd00::1 -d fd00::2 {UDP} -m 6
    -I -s fd00::1 -d fd00::2 -p tcp --sport 1 --dport 2 --state SYN_SENT -t 3000
    -I -s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 1 --dport 2 --state SYN_RECV -u SEEN_REPLY -t 3000
    -I -s 1.1.1.1 -d 2.2.2.2 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 9 -t 3000
    -I -s 1.1.1.1 -d 2.2.2.2 -p sctp --sport 1 --dport 2 --state ESTABLISHED --orig-vtag 1 --reply-vtag 2 -t 3000
    -I -s 1.1.1.1 -d 2.2.2.2 -p gre --srckey 1 --dstkey 2 -t 3000
    -I -s 1.1.1.1 -d 2.2.2.2 -p 50 -t 3000
    -U -s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 1 --dport 2 --state ESTABLISHED -u SEEN_REPLY,ASSURED
    -U -s 1.1.1.2 -d 2.2.2.2 {UDP} -m 9
    -U -s fd00::1 -d fd00::2 {UDP} -u SEEN_REPLY
    -D -s 1.1.1.1
    -D -w 7
    -F
"""

OPTIONS = """
    -E
    --event
    -E conntrack
    -E -o extended
    -E -o id
    -E -o timestamp
    -E -o xml
    -E -o save
    -E -o labels
    -E -o userspace
    -E -o ktimestamp
    -E -o extended,id,timestamp,userspace
    -E -o xml,timestamp
    -E -e ALL
    -E -e NEW
    -E -e UPDATES
    -E -e DESTROY
    -E -e NEW,DESTROY
    -E -e NEW,UPDATES,DESTROY
    -E -e NEW -o xml
    -E -e DESTROY -o extended
    -E -p tcp
    -E -p udp --dport 53
    -E -p icmp
    -E -p sctp
    -E -p 50
    -E -p tcp --state SYN_RECV
    -E -s 1.1.1.1
    -E -s 1.1.1.0/30
    -E -d 2.2.2.2
    -E -r 3.3.3.3
    -E -q 3.3.3.3
    -E -f ipv4
    -E -f ipv6
    -E -f ipv6 -p tcp -o id
    -E -m 5
    -E -m 4/4
    -E -w 7
    -E --orig-zone 8
    -E -n
    -E -g
    -E -j
    -E -n 3.3.3.3
    -E -g 3.3.3.3:4000
    -E -b 1048576
    -E -b 1048576 -e NEW
    -E -a 1.1.1.1
    -E -p tcp -s 9.9.9.9
"""


@pytest.fixture(scope="module")
def stage(conntrack_bed: Testbed) -> Iterator[tuple[Namespace, KernelTable]]:
    namespace = conntrack_bed.namespace("events")
    SCENES["empty"].prepare(namespace)
    table = KernelTable(namespace)
    yield namespace, table
    table.close()


@pytest.mark.parametrize("words", [line.strip() for line in OPTIONS.strip().splitlines()])
def test_tells_what_the_c_tool_tells(words: str, stage: tuple[Namespace, KernelTable]) -> None:
    namespace, table = stage
    table.flush()
    with Listeners(namespace, shlex.split(words)).listening() as listeners:
        for line in CHANGES.strip().splitlines():
            assert C.run(namespace, shlex.split(line)).status == 0, line
    first, second = listeners.results
    names = ["save-whole"] if "save" in words else []
    assert not judge(Outcome(first, []), Outcome(second, []), names)
    assert "shown" in first.errors


def test_tells_of_packets(stage: tuple[Namespace, KernelTable]) -> None:
    namespace, table = stage
    table.flush()
    with Listeners(namespace, ["-E", "-o", "id"]).listening() as listeners, namespace.entered():
        _exchange_datagrams()
        _exchange_bytes()
    first, second = listeners.results
    assert second == first
    assert "[UPDATE] tcp      6" in first.output
    assert "[ASSURED]" in first.output
    assert "[NEW] udp      17" in first.output


def _exchange_datagrams() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        for end in (one, other):
            end.bind(("127.0.0.1", 0))
            end.settimeout(10)
        for _ in range(3):
            one.sendto(b"question", other.getsockname())
            other.recv(100)
            other.sendto(b"answer", one.getsockname())
            one.recv(100)


def _exchange_bytes() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), 10) as client,
        server.accept()[0] as accepted,
    ):
        client.sendall(b"question")
        assert accepted.recv(100) == b"question"
        accepted.sendall(b"answer")
        assert client.recv(100) == b"answer"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    "words", ["-E expect", "-E expect -o timestamp", "-E expect -o xml", "-E expect -o id"]
)
def test_tells_of_expectations(words: str, version: int, conntrack_bed: Testbed) -> None:
    namespace = conntrack_bed.namespace("ftp")
    SCENES["empty"].prepare(namespace)
    attach_helper(namespace)
    with Listeners(namespace, shlex.split(words)).listening() as listeners:
        with FtpTraffic(namespace, version=version) as traffic:
            traffic.expect(3)
            control = traffic.connect()
            control.passive(50100)
            control.transfer()
        C.run(namespace, ["-F", "expect"])
    first, second = listeners.results
    assert second == first
    assert "ftp" in first.output
