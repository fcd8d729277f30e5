# SPDX-License-Identifier: GPL-2.0-or-later
"""A committed flow translates: UDP goes on through the other firewall, which has no rule to translate it."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from testbed import Configuration, Conntrackd, Testbed, wait_until
from testbed.firewalls import CLIENT, DEDICATED, INSIDE_SHARED, OUTSIDE_SHARED, SERVER, Firewall, FirewallPair
from tests.peer.nodes import Kind, command_of

RULESET = """
    delete table inet firewall
    table inet firewall {{
        chain forward {{
            type filter hook forward priority filter; policy drop
            ct state established accept
            {new}
        }}
        chain before {{
            type nat hook prerouting priority dstnat; policy accept
            {before}
        }}
        chain after {{
            type nat hook postrouting priority srcnat; policy accept
            {after}
        }}
    }}
"""
TRANSLATING = RULESET.format(
    new='iifname "inside" accept',
    before=f"""
            udp dport 720 dnat ip to {SERVER}
            udp dport 730 dnat ip to {SERVER}:731
            udp dport 740 dnat ip to {SERVER}:741
    """,
    after=f"""
            udp dport 700 snat ip to {OUTSIDE_SHARED}
            udp dport 710 snat ip to {OUTSIDE_SHARED}:40001
            udp dport 741 snat ip to {OUTSIDE_SHARED}:40002
    """,
)
WITHOUT_RULES = RULESET.format(new="", before="", after="")
"""It goes on with what is established, and neither lets anything new through nor begins to translate it."""


class Case(NamedTuple):
    """Where the client sends to, where that arrives, and whom the server sees."""

    sent_to: tuple[str, int]
    received_at: int
    seen_address: str
    seen_port: int | None = None


CASES = [
    Case((SERVER, 700), 700, OUTSIDE_SHARED),
    Case((SERVER, 710), 710, OUTSIDE_SHARED, 40001),
    Case((INSIDE_SHARED, 720), 720, CLIENT),
    Case((INSIDE_SHARED, 730), 731, CLIENT),
    Case((INSIDE_SHARED, 740), 741, OUTSIDE_SHARED, 40002),
]


class Conversation:
    """A client's and a server's socket."""

    def __init__(self, pair: FirewallPair, case: Case, stack: ExitStack) -> None:
        self.case = case
        ends = []
        for namespace, address in ((pair.client, (CLIENT, 0)), (pair.server, (SERVER, case.received_at))):
            with namespace.entered():
                end = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            end.settimeout(5.0)
            end.bind(address)
            ends.append(end)
        self.client, self.server = ends
        self.seen = (case.seen_address, case.seen_port or self.client.getsockname()[1])

    def exchange(self, text: bytes) -> None:
        """A question and its answer; TimeoutError where one of them does not arrive."""
        self.client.sendto(text, self.case.sent_to)
        assert self.server.recvfrom(100) == (text, self.seen)
        self.server.sendto(text[::-1], self.seen)
        assert self.client.recvfrom(100) == (text[::-1], self.case.sent_to)

    def is_cut(self) -> bool:
        """Whether a question does not arrive."""
        self.client.sendto(b"lost", self.case.sent_to)
        self.server.settimeout(0.2)
        try:
            self.server.recv(100)
        except TimeoutError:
            return True
        finally:
            self.server.settimeout(5.0)
        return False


def run_daemon(firewall: Firewall, kind: Kind) -> Conntrackd:
    configuration = Configuration([firewall.unicast_link()], ignore_addresses=["127.0.0.1", *DEDICATED])
    daemon = Conntrackd(firewall.namespace, command_of(kind), configuration)
    daemon.start()
    return daemon


def flows_at(daemon: Conntrackd) -> int:
    return daemon.client("-e").stdout.count("udp ")


@pytest.mark.parametrize(("sender", "receiver"), [("ours", "ours"), ("C", "ours"), ("ours", "C")])
def test_udp_goes_on_translated_through_the_firewall_that_committed(
    bed: Testbed, sender: Kind, receiver: Kind
) -> None:
    pair = FirewallPair(bed)
    pair.server.ip("route", "add", f"{CLIENT}/32", "via", OUTSIDE_SHARED)
    pair.first.namespace.nft(TRANSLATING)
    pair.second.namespace.nft(WITHOUT_RULES)
    first, second = run_daemon(pair.first, sender), run_daemon(pair.second, receiver)
    with ExitStack() as stack:
        conversations = [Conversation(pair, case, stack) for case in CASES]
        for conversation in conversations:
            conversation.exchange(b"before")
        wait_until(lambda: flows_at(second) == len(CASES), 10.0, "all flows at the peer", second.log)
        pair.first.lose_links()
        first.kill()
        pair.second.take_addresses()
        assert all(conversation.is_cut() for conversation in conversations)
        second.client("-c")
        for conversation in conversations:
            conversation.exchange(b"after")
