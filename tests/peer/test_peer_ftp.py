# SPDX-License-Identifier: GPL-2.0-or-later
"""FTP lives through a fail-over: transfers on a control connection from before it, with NAT of both ends.

A real server and client; the helper follows them on both firewalls. Only the control connection may begin at
a firewall: data connections pass because they are expected. Where a daemon of ours sends, both addresses are
translated to longer ones: the helper changes the length of what is said, and sequence numbers must go on
adjusted. The C daemon does not hear of that from the kernel.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from collections.abc import Callable
from ftplib import FTP

import pytest

from testbed import Configuration, Conntrackd, Testbed, wait_until
from testbed.firewalls import CLIENT, DEDICATED, OUTSIDE_SHARED, SERVER, Firewall, FirewallPair
from testbed.ftp import helper_ruleset
from testbed.ftp_server import FILE, FtpServer
from tests.peer.nodes import Kind, command_of

LONGER = ("198.51.100.200", "192.0.2.100")
EQUAL = ("198.51.1.1", "192.0.2.1")
"""What the client takes for the server's address, and the server for the client's."""
CONTENT = random.Random(21).randbytes(300_000)
RULESET = """
    delete table inet firewall
    table inet firewall {{
        chain forward {{
            type filter hook forward priority filter; policy drop;
            ct state invalid drop
            ct state established,related accept
            iifname "inside" oifname "outside" tcp dport 21 ct state new accept
        }}
        chain input {{
            type filter hook input priority filter; policy drop;
            iifname {{ "lo", "dedicated" }} accept
        }}
        chain before {{
            type nat hook prerouting priority dstnat; policy accept;
            iifname "inside" ip daddr {seen_server} dnat ip to {server}
        }}
        chain after {{
            type nat hook postrouting priority srcnat; policy accept;
            iifname "inside" oifname "outside" snat ip to {seen_client}
        }}
    }}
"""


class LinkTap:
    """Hears what arrives on a firewall's dedicated link: sequence adjustments are shown by no daemon."""

    def __init__(self, firewall: Firewall) -> None:
        with firewall.namespace.entered():
            self._packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
            self._packets.bind((firewall.dedicated.name, 0x0800))
        self._packets.setblocking(False)
        self._last = (0, 0)

    def adjusted(self, reply: bool) -> int:
        """By how much the last message with an adjustment says that a direction is longer than it was."""
        with contextlib.suppress(BlockingIOError):
            while True:
                _, attribute, values = self._packets.recv(65536).rpartition(b"\0\x1c\0\x10")
                if attribute and len(values) >= 24:
                    words = struct.unpack(">6I", values[:24])
                    self._last = words[2], words[5]
        return self._last[reply]


class Cluster:
    """Two firewalls with daemons, an FTP server behind them and a client before them."""

    def __init__(self, bed: Testbed, first: Kind, second: Kind, options: list[str]) -> None:
        self.seen_server, self.seen_client = LONGER if first == "ours" else EQUAL
        self.pair = FirewallPair(bed)
        self._link = LinkTap(self.pair.second)
        self.daemons = [
            self._firewall(firewall, kind, options)
            for firewall, kind in ((self.pair.first, first), (self.pair.second, second))
        ]
        if self.seen_client != OUTSIDE_SHARED:
            self.pair.first.outside.add_address(f"{self.seen_client}/24")
        FtpServer(self.pair.server, SERVER, CONTENT)
        self.ftp = FTP(timeout=15.0)
        self.patience = 10.0
        """Seconds for a data connection to be made."""
        # Believe what the helper made of the server's answer.
        vars(self.ftp)["trust_server_pasv_ipv4_address"] = True

    def _firewall(self, firewall: Firewall, kind: Kind, options: list[str]) -> Conntrackd:
        names = {"seen_server": self.seen_server, "seen_client": self.seen_client, "server": SERVER}
        firewall.namespace.nft(RULESET.format(**names))
        firewall.namespace.nft(helper_ruleset())
        configuration = Configuration(
            [firewall.unicast_link()], ignore_addresses=["127.0.0.1", *DEDICATED], options=options
        )
        daemon = Conntrackd(firewall.namespace, command_of(kind), configuration)
        daemon.start()
        return daemon

    def log_in(self) -> None:
        with self.pair.client.entered():
            self.ftp.connect(self.seen_server)
            self.ftp.login()
            self.ftp.voidcmd("TYPE I")

    def fetch(self, *, passive: bool) -> bytes:
        """A whole transfer."""
        pieces: list[bytes] = []
        with self.pair.client.entered():
            self.ftp.set_pasv(passive)
            self.ftp.retrbinary(f"RETR {FILE}", pieces.append)
        return b"".join(pieces)

    def announce(self, *, passive: bool) -> Callable[[], bytes]:
        """Announce a data connection. What is returned makes the transfer, later."""
        with self.pair.client.entered():
            return self._announce_passive() if passive else self._announce_active()

    def _announce_passive(self) -> Callable[[], bytes]:
        target = self.ftp.makepasv()
        assert target[0] == self.seen_server

        def transfer() -> bytes:
            with self.pair.client.entered(), socket.create_connection(target, self.patience) as data:
                self.ftp.sendcmd(f"RETR {FILE}")
                return self._receive(data)

        return transfer

    def _announce_active(self) -> Callable[[], bytes]:
        listener = self.ftp.makeport()

        def transfer() -> bytes:
            with listener:
                listener.settimeout(10.0)
                self.ftp.sendcmd(f"RETR {FILE}")
                with listener.accept()[0] as data:
                    data.settimeout(10.0)
                    return self._receive(data)

        return transfer

    def _receive(self, data: socket.socket) -> bytes:
        received = b""
        while piece := data.recv(65536):
            received += piece
        self.ftp.voidresp()
        return received

    def wait_replicated(self, *, expectations: int, announced: int = 0, passive: bool = True) -> None:
        """Wait until the second daemon has the control connection as it is, and what is expected.

        `announced` is how many data connections the control connection told of.
        """
        said, heard = (SERVER, self.seen_server) if passive else (CLIENT, self.seen_client)
        longer = announced * (len(heard) - len(said))
        backup = self.daemons[1]

        def arrived() -> bool:
            flows = backup.client("-e").stdout
            expected = backup.client("-e", "expect").stdout.splitlines()
            return "ESTABLISHED" in flows and "helper=ftp" in flows and len(expected) == expectations

        wait_until(arrived, 15.0, f"{expectations} expectations at the peer", self.logs)
        if longer:
            wait_until(
                lambda: self._link.adjusted(passive) == longer,
                15.0,
                "sequence adjustment at the peer",
                self.logs,
            )

    def fail_over(self) -> None:
        self.pair.first.lose_links()
        self.daemons[0].kill()
        if self.seen_client != OUTSIDE_SHARED:
            self.pair.second.outside.add_address(f"{self.seen_client}/24")
            self.pair.second.outside.announce(self.seen_client)
        self.pair.second.take_addresses()
        self.daemons[1].client("-c")

    def logs(self) -> str:
        return "\n".join(daemon.log() for daemon in self.daemons)


# The C daemon commits expectations without their translation: no active transfer reaches the client then.
CASES: list[tuple[Kind, Kind, bool]] = [
    ("ours", "ours", True),
    ("ours", "ours", False),
    ("C", "ours", True),
    ("C", "ours", False),
    ("ours", "C", True),
]


@pytest.mark.parametrize(
    ("first", "second", "passive"),
    CASES,
    ids=lambda value: ("active", "passive")[value] if isinstance(value, bool) else value,
)
def test_transfers_go_on_after_the_fail_over(bed: Testbed, first: Kind, second: Kind, passive: bool) -> None:
    """One was announced before it, and begins after it; the next one is announced after it."""
    cluster = Cluster(bed, first, second, ["ExpectationSync on"])
    cluster.log_in()
    assert cluster.fetch(passive=passive) == CONTENT
    transfer = cluster.announce(passive=passive)
    cluster.wait_replicated(expectations=1, announced=2, passive=passive)
    cluster.fail_over()
    assert transfer() == CONTENT, cluster.logs()
    assert cluster.fetch(passive=passive) == CONTENT, cluster.logs()


def test_without_expectation_sync_what_was_announced_before_is_lost(bed: Testbed) -> None:
    cluster = Cluster(bed, "ours", "ours", [])
    cluster.log_in()
    transfer = cluster.announce(passive=True)
    cluster.wait_replicated(expectations=0)
    cluster.fail_over()
    cluster.patience = 2.0
    with pytest.raises(TimeoutError):
        transfer()
