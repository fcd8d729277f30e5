# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow that was created with NAT translates packets: those of real sockets on the loopback interface."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace

import pytest

from pyconntrack import ConntrackTable, Flow, FlowBatch, Nat, Protocol, Status, Tuple
from pyconntrack.core.kernel_codec import encode
from testbed.namespace import Namespace

# Translation happens in hooks that exist only where a ruleset has chains of this type; tracking, only where a
# rule asks about it.
HOOKS = """
table inet nat {
    chain output { type nat hook output priority -100; }
    chain input { type nat hook input priority 100; }
    chain postrouting { type nat hook postrouting priority 100; }
    chain prerouting { type nat hook prerouting priority -100; }
    chain filter { type filter hook output priority 0; ct state invalid drop; }
}
"""
CLIENT, SERVICE, SERVER = 1, 2, 3
ENDS = {4: [f"127.0.0.{number}" for number in range(4)], 6: [f"fd00::{number}" for number in range(4)]}


def receive_translated(namespace: Namespace, version: int) -> tuple[bytes, bytes]:
    """Send from the client to the service, answer at the server; what both received."""
    ends = ENDS[version]
    kind = socket.AF_INET if version == 4 else socket.AF_INET6
    with namespace.entered(), contextlib.ExitStack() as stack:
        client, server = (stack.enter_context(socket.socket(kind, socket.SOCK_DGRAM)) for _ in range(2))
        client.settimeout(10)
        server.settimeout(10)
        client.bind((ends[CLIENT], 1000))
        server.bind((ends[SERVER], 3000))
        client.sendto(b"question", (ends[SERVICE], 2000))
        question, source = server.recvfrom(100)
        server.sendto(b"answer", source)
        answer, answerer = client.recvfrom(100)
        assert answerer[:2] == (ends[SERVICE], 2000)
        return question, answer


def reaches_nobody(namespace: Namespace) -> bool:
    """Whether the server stays without a word, while the service itself hears it."""
    ends = ENDS[4]
    with namespace.entered(), contextlib.ExitStack() as stack:
        client, service, server = (
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)
        )
        client.bind((ends[CLIENT], 1000))
        service.bind((ends[SERVICE], 2000))
        server.bind((ends[SERVER], 3000))
        server.setblocking(False)
        service.settimeout(10)
        client.sendto(b"question", (ends[SERVICE], 2000))
        assert service.recv(100) == b"question"
        with pytest.raises(BlockingIOError):
            server.recv(100)
        return True


def translated(version: int) -> Flow:
    ends = ENDS[version]
    return Flow(
        original=Tuple(ends[CLIENT], ends[SERVICE], Protocol.UDP, 1000, 2000),
        timeout=600,
        status=Status.CONFIRMED | Status.SEEN_REPLY | Status.ASSURED,
        destination_nat=Nat(Tuple(ends[SERVER], ends[SERVER]).source, 3000),
    )


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("version", [4, 6])
def test_packets_are_translated(
    table: ConntrackTable, namespace: Namespace, version: int, restored: bool
) -> None:
    namespace.nft(HOOKS)
    for number in range(1, 4):
        if version == 6:
            namespace.ip("address", "add", f"{ENDS[6][number]}/128", "dev", "lo", "nodad")
    table.create(translated(version))
    if restored:
        # As another node does it: what one table says, put into the next.
        (found,) = table
        table.flush()
        table.create(found)
    assert receive_translated(namespace, version) == (b"question", b"answer")
    (flow,) = table
    assert flow.status is not None
    assert Status.DST_NAT in flow.status


def test_a_translated_reply_alone_translates_nothing(table: ConntrackTable, namespace: Namespace) -> None:
    namespace.nft(HOOKS)
    flow = replace(translated(4), destination_nat=None)
    batch = FlowBatch()
    replace(flow, reply=Tuple(ENDS[4][SERVER], ENDS[4][CLIENT], Protocol.UDP, 3000, 1000)).add_to(batch)
    table._socket.request(encode(batch, 0, 0, 0x604, 1), 1)
    assert reaches_nobody(namespace)
    (found,) = table
    assert found.original == flow.original
