# SPDX-License-Identifier: GPL-2.0-or-later
"""A table of many kinds of flows: made by the C tool, and by traffic through NAT, marks, zones and labels."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

from testbed.interface import Interface
from testbed.namespace import Namespace

RULES = """
table inet mixed {
  chain output_nat { type nat hook output priority -100;
    ip daddr 127.0.0.20 udp dport 2000 dnat ip to 127.0.0.3:3000
    ip daddr 127.0.0.21 udp dport 2000 dnat ip to 127.0.0.3
    udp dport 2002 redirect to :3000
    ip6 daddr fd00::2 udp dport 2000 dnat ip6 to [fd00::3]:3000
    icmp type echo-request ip daddr 127.0.0.30 dnat to 127.0.0.3
  }
  chain input_nat { type nat hook input priority 100; }
  chain postrouting_nat { type nat hook postrouting priority 100;
    ip saddr 127.0.0.40 snat ip to 127.0.0.41
    ip saddr 127.0.0.42 udp sport 1042 snat ip to 127.0.0.42:1043
    ip saddr 127.0.0.43 udp sport 1042 snat ip to 127.0.0.44:1044
    ip6 saddr fd00::4 snat ip6 to fd00::5
    ip saddr 10.77.1.1 oifname "out" masquerade
    ip saddr 127.0.0.45 snat ip to 127.0.0.46
  }
  chain marks { type filter hook output priority -150;
    udp dport 4001 ct mark set 0x11
    udp dport 4002 ct mark set 0x22
    udp dport 4003 ct label set 1
    udp dport 4004 ct label set 2
    udp dport 4005 ct label set 1 ct label set 2 ct label set 127
    ct state invalid drop
  }
  chain zones { type filter hook output priority -350;
    udp dport 5001 ct zone set 5
    udp dport 5002 ct original zone set 6
    udp dport 5003 ct reply zone set 7
  }
}
"""
"""Loopback traffic meets all chains twice, as packets out and in."""

LONG = {"udp_timeout": 900, "udp_timeout_stream": 900, "icmp_timeout": 900, "icmpv6_timeout": 900}
"""Nothing may end while it is looked at."""

# Of each line, {n} goes from 1 to 3, and each lasts.
MADE = """
-I -s 10.0.{n}.1 -d 10.1.0.1 -p tcp --sport 100{n} --dport 80 --state ESTABLISHED -u ASSURED,SEEN_REPLY -m {n}
-I -s 10.0.{n}.2 -d 10.1.0.1 -p tcp --sport 110{n} --dport 443 --state SYN_SENT -m 0x11{n}
-I -s 10.0.{n}.13 -d 10.1.0.2 -p tcp --sport 110{n} --dport 443 --state TIME_WAIT -m 0xf000000{n}
-I -s 10.0.{n}.3 -d 10.1.0.1 -p udp --sport 120{n} --dport 53 -w {n}
-I -s 10.0.{n}.4 -d 10.1.0.1 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id {n}
-I -s 10.0.{n}.4 -d 10.1.0.2 -p icmp --icmp-type 13 --icmp-code 0 --icmp-id {n}
-I -s 10.0.{n}.5 -d 10.1.0.1 -p 50
-I -s 10.0.{n}.5 -d 10.1.0.1 -p 51
-I -s 10.0.{n}.5 -d 10.1.0.1 -p gre --srckey {n} --dstkey 7
-I -s 10.0.{n}.6 -d 10.1.0.1 -p sctp --sport {n} --dport 7 --state ESTABLISHED --orig-vtag {n} --reply-vtag 9
-I -s 10.0.{n}.16 -d 10.1.0.1 -p sctp --sport 1 --dport 8 --state CLOSED --orig-vtag 1 --reply-vtag 9
-I -s 10.0.{n}.7 -d 10.1.0.1 -p udplite --sport {n} --dport 7
-I -s fd00:{n}::1 -d fd00::ff -p tcp --sport {n} --dport 7 --state CLOSE -m 0x10{n}
-I -s fd00:{n}::2 -d fd00::ff -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id {n}
-I -s fd00:{n}::3 -d fd00::fe -p udp --sport {n} --dport 53 -u SEEN_REPLY
-I -s fd00:{n}::8 -d fd00::fe -p udp --sport {n} --dport 53 --src-nat fd09::{n}
-I -s 10.0.{n}.8 -d 10.1.0.1 -p udp --sport {n} --dport 7 --src-nat 10.9.0.{n}
-I -s 10.0.{n}.9 -d 10.1.0.1 -p udp --sport {n} --dport 7 --dst-nat 10.9.0.{n}:99
-I -s 10.0.{n}.14 -d 10.1.0.1 -p tcp --sport {n} --dport 7 --state ESTABLISHED --src-nat 10.9.0.{n}:77
-I -s 10.0.{n}.10 -d 10.1.0.1 -p udp --sport {n} --dport 7 --orig-zone {n}
-I -s 10.0.{n}.11 -d 10.1.0.1 -p udp --sport {n} --dport 7 --reply-zone {n}
-I -s 10.0.{n}.12 -d 10.1.0.1 -p udp --sport {n} --dport 7 -u FIXED_TIMEOUT,ASSURED
-I -s 10.0.{n}.15 -d 10.1.0.1 -p dccp --sport {n} --dport 7 --state OPEN --role client
"""

IPV4_EXCHANGES = [
    # From, to, where it arrives, whether it is answered.
    ("127.0.0.1", 1000, "127.0.0.20", 2000, "127.0.0.3", 3000, True),
    ("127.0.0.1", 1001, "127.0.0.21", 2000, "127.0.0.3", 2000, True),
    ("127.0.0.1", 1002, "127.0.0.1", 2002, "127.0.0.1", 3000, True),
    ("127.0.0.45", 1003, "127.0.0.20", 2000, "127.0.0.3", 3000, False),
    ("127.0.0.40", 1040, "127.0.0.1", 2040, "127.0.0.1", 2040, True),
    ("127.0.0.42", 1042, "127.0.0.1", 2040, "127.0.0.1", 2040, True),
    ("127.0.0.43", 1042, "127.0.0.1", 2040, "127.0.0.1", 2040, False),
    *(("127.0.0.1", 1100 + n, "127.0.0.1", 4001 + n, "127.0.0.1", 4001 + n, bool(n % 2)) for n in range(5)),
    *(("127.0.0.1", 1200 + n, "127.0.0.1", 5001 + n, "127.0.0.1", 5001 + n, False) for n in range(3)),
]
IPV6_EXCHANGES = [
    ("fd00::1", 1000, "fd00::2", 2000, "fd00::3", 3000, True),
    ("fd00::4", 1042, "fd00::1", 2040, "fd00::1", 2040, True),
]


def fill(namespace: Namespace) -> None:
    """All of it, into the table of a fresh namespace."""
    for number in range(1, 6):
        namespace.ip("address", "add", f"fd00::{number}/128", "dev", "lo", "nodad")
    namespace.ip("link", "add", "out", "type", "veth", "peer", "name", "nowhere")
    out = Interface(namespace, "out")
    out.up()
    Interface(namespace, "nowhere").up()
    out.add_address("10.77.0.1/24")
    out.add_address("10.77.1.1/32")
    namespace.ip("neigh", "add", "10.77.0.2", "lladdr", "02:00:00:00:00:01", "dev", "out")
    namespace.nft(RULES)
    for name, value in LONG.items():
        namespace.sysctl(f"net.netfilter.nf_conntrack_{name}", value)
    lines = "".join(MADE.format(n=number).replace("-I", "-I -t 9000") for number in range(1, 4))
    namespace.run(["conntrack", "-R", "-"], input=lines)
    with namespace.entered():
        for exchange in IPV4_EXCHANGES:
            exchange_datagrams(socket.AF_INET, *exchange)
        for exchange in IPV6_EXCHANGES:
            exchange_datagrams(socket.AF_INET6, *exchange)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as masqueraded:
            masqueraded.bind(("10.77.1.1", 1050))
            masqueraded.sendto(b"x", ("10.77.0.2", 2050))
        send_pings()
        open_and_close("127.0.0.1", socket.AF_INET)
        open_and_close("::1", socket.AF_INET6)


def exchange_datagrams(
    family: int,
    source: str,
    port: int,
    service: str,
    service_port: int,
    server: str,
    server_port: int,
    answered: bool,
) -> None:
    """A question through the rules, and where it is answered, enough of both for SEEN_REPLY and ASSURED."""
    with bound(family, source, port) as client, bound(family, server, server_port) as served:
        client.sendto(b"question", (service, service_port))
        _, peer = served.recvfrom(100)
        if answered:
            served.sendto(b"answer", peer)
            client.recv(100)


@contextlib.contextmanager
def bound(family: int, address: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.settimeout(10)
        made.bind((address, port))
        yield made


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return int(~(total + (total >> 16)) & 0xFFFF)


def send_pings() -> None:
    """Translated, not translated, and one whose id is just what libnetfilter_conntrack holds against it."""
    pings = [
        ("127.0.0.1", "127.0.0.30", 700),
        ("127.0.0.1", "127.0.0.31", 701),
        ("127.0.0.40", "127.0.0.1", 702),
    ]
    for source, destination, number in [
        *pings,
        ("127.0.0.1", "127.0.0.32", 0),
        ("127.0.0.1", "127.0.0.33", 0x800),
    ]:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as ping:
            ping.bind((source, 0))
            header = struct.pack(">BBHHH", 8, 0, 0, number, 1)
            ping.sendto(struct.pack(">BBHHH", 8, 0, checksum(header), number, 1), (destination, 0))
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as ping:
        ping.sendto(struct.pack(">BBHHH", 128, 0, 0, 800, 1), ("fd00::3", 0))


def open_and_close(address: str, family: int) -> None:
    with (
        socket.create_server((address, 6000), family=family) as server,
        socket.create_connection((address, 6000)) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"x")
            accepted.recv(1)
