# SPDX-License-Identifier: GPL-2.0-or-later
# ruff: noqa: E501 (a command line is a line)
"""The tables that the command lines are run on, each made in the same way in every namespace that needs it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from testbed import Namespace, run_command
from tests.conntrack.kernel_table import EXPECT, KernelTable
from tests.kernel.netlink_bytes import attribute, nest

# Labels, marks and helpers exist only in namespaces where a rule asks for them.
RULES = """
table inet surroundings {
    chain output { type filter hook output priority 0; ct label set 127 ct mark set 0; }
    chain translation { type nat hook output priority -100; }
}
"""


@dataclass(frozen=True)
class Scene:
    """A table: lines for the C tool's `-R`, and what that cannot make."""

    lines: tuple[str, ...] = ()
    more: Callable[[KernelTable], None] | None = None

    def prepare(self, namespace: Namespace) -> None:
        """What a namespace needs once."""
        namespace.nft(RULES)

    def fill(self, namespace: Namespace, table: KernelTable) -> None:
        """Make the table as it is at the start of a case, whatever it holds now."""
        table.flush()
        if self.lines:
            with namespace.entered():
                run_command(["/usr/sbin/conntrack", "-R", "-"], input="\n".join(self.lines) + "\n")
        if self.more is not None:
            self.more(table)


ONE = (
    "-I -s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 2005 --dport 21 --state ESTABLISHED -u SEEN_REPLY,ASSURED -t 5000",
)

_TCP_STATES = (
    "NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE LISTEN SYN_SENT2"
)
_SCTP_STATES = (
    "NONE CLOSED COOKIE_WAIT COOKIE_ECHOED ESTABLISHED SHUTDOWN_SENT SHUTDOWN_RECD SHUTDOWN_ACK_SENT"
)
_STATUSES = "UNSET SEEN_REPLY ASSURED SEEN_REPLY,ASSURED FIXED_TIMEOUT SEEN_REPLY,ASSURED,FIXED_TIMEOUT"
_MARKS = "1 2 0x10 0xff 0xff00 0x12345678 0xffffffff"
TCP_STATES, SCTP_STATES, STATUSES, MARKS = map(str.split, (_TCP_STATES, _SCTP_STATES, _STATUSES, _MARKS))
NUMBERED_PROTOCOLS = (0, 2, 4, 50, 51, 89, 112, 253, 255)

PORTS = "--sport {} --dport {}"


def _mixed() -> Iterator[str]:
    yield from _tcp()
    yield from _udp()
    yield from _icmp()
    yield from _other_protocols()
    yield from _translated()
    yield from _zones()


def _tcp() -> Iterator[str]:
    for number, state in enumerate(TCP_STATES[:-1]):
        yield f"-A -s 10.0.0.{number} -d 10.1.0.1 -p tcp {PORTS.format(1000 + number, 80)} --state {state} -t 2000"
    for number, status in enumerate(STATUSES):
        ports = PORTS.format(2000 + number, 443)
        yield f"-A -s 10.0.1.{number} -d 10.1.0.2 -p tcp {ports} --state ESTABLISHED -u {status} -t 3000"
        yield f"-A -s fd00::1:{number} -d fd01::2 -p tcp {ports} --state ESTABLISHED -u {status} -t 3000"
    for number, mark in enumerate(MARKS):
        ports = PORTS.format(3000 + number, 22)
        yield f"-A -s 10.0.2.1 -d 10.1.0.3 -p tcp {ports} --state ESTABLISHED -m {mark} -t 4000"
    yield "-A -s fd00::3 -d fd01::3 -p tcp --sport 65535 --dport 1 --state TIME_WAIT -m 7 -t 2000"


def _udp() -> Iterator[str]:
    for number, status in enumerate(STATUSES):
        yield f"-A -s 10.0.3.{number} -d 10.1.1.1 -p udp {PORTS.format(4000, 53)} -u {status} -t 2000"
    yield "-A -s 10.0.3.100 -d 10.1.1.1 -p udp --sport 0 --dport 0 -t 2000"
    yield "-A -s 10.0.3.101 -d 224.0.0.251 -p udp --sport 5353 --dport 5353 -m 5 -t 1000000"
    yield "-A -s fe80::1 -d ff02::fb -p udp --sport 5353 --dport 5353 -u UNSET -t 2000"
    yield "-A -s fd00::4 -d fd01::4 -p udp --sport 4000 --dport 53 -u SEEN_REPLY -m 0xff -t 2000"
    yield "-A -s 10.0.3.102 -d 10.1.1.1 -p udplite --sport 4000 --dport 53 -t 2000"
    yield "-A -s fd00::5 -d fd01::4 -p udplite --sport 4000 --dport 53 -u SEEN_REPLY,ASSURED -t 2000"


def _icmp() -> Iterator[str]:
    for kind in (8, 13, 15, 17):
        yield f"-A -s 10.0.4.1 -d 10.1.2.1 -p icmp --icmp-type {kind} --icmp-code 0 --icmp-id {kind * 100} -t 2000"
    yield "-A -s 10.0.4.2 -d 10.1.2.1 -p icmp --icmp-type 8 --icmp-code 0 -u SEEN_REPLY -m 2 -t 2000"
    yield "-A -s fd00::6 -d fd01::6 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 65535 -t 2000"
    yield "-A -s fd00::6 -d fd01::7 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 -u SEEN_REPLY -t 2000"


def _other_protocols() -> Iterator[str]:
    for number, state in enumerate(SCTP_STATES):
        tags = f"--orig-vtag {number + 1} --reply-vtag {0xFFFFFFF0 + number}"
        ports = PORTS.format(5000 + number, 3868)
        yield f"-A -s 10.0.5.1 -d 10.1.3.1 -p sctp {ports} --state {state} {tags} -t 2000"
    yield "-A -s fd00::7 -d fd01::8 -p sctp --sport 5000 --dport 3868 --state ESTABLISHED --orig-vtag 0 --reply-vtag 1 -t 2000"
    yield "-A -s 10.0.5.2 -d 10.1.3.1 -p dccp --sport 5000 --dport 5001 --state OPEN --role client -t 2000"
    yield "-A -s 10.0.5.3 -d 10.1.3.1 -p gre --srckey 1 --dstkey 0x100 -t 2000"
    yield "-A -s fd00::8 -d fd01::9 -p gre --srckey 0xffff --dstkey 0 -u SEEN_REPLY,ASSURED -t 2000"
    for number in NUMBERED_PROTOCOLS:
        yield f"-A -s 10.0.6.1 -d 10.1.4.1 -p {number} -t 2000"
    yield "-A -s fd00::9 -d fd01::a -p 89 -m 3 -t 2000"


def _translated() -> Iterator[str]:
    tcp = "-p tcp --state ESTABLISHED -u SEEN_REPLY,ASSURED -t 2000 --dport 80"
    for number, translation in enumerate(
        (
            "-n 192.0.2.1",
            "-n 192.0.2.1:7000",
            "-g 192.0.2.2",
            "-g 192.0.2.2:8080",
            "-n 192.0.2.1 -g 192.0.2.2",
            "-n 192.0.2.1:7001 -g 192.0.2.2:8081",
            "-g 10.1.5.1:8082",
        )
    ):
        yield f"-A -s 10.0.7.{number} -d 10.1.5.1 {tcp} --sport {6000 + number} {translation}"
    for number, translation in enumerate(
        ("-n fd02::1", "-n [fd02::1]:7000", "-g fd02::2", "-g [fd02::2]:8080", "-n fd02::3 -g [fd02::2]:8081")
    ):
        yield f"-A -s fd00::7:{number} -d fd01::b {tcp} --sport {6000 + number} {translation}"
    yield "-A -s 10.0.7.50 -d 10.1.5.1 -p udp --sport 500 --dport 500 -n 192.0.2.1:4500 -t 2000"
    yield "-A -s 10.0.7.51 -d 10.1.5.1 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 9 -n 192.0.2.9 -t 2000"
    yield "-A -s 10.0.7.52 -d 10.1.5.1 -p 50 -g 192.0.2.10 -t 2000"


def _zones() -> Iterator[str]:
    udp = "-s 10.0.8.1 -d 10.1.6.1 -p udp --sport 1024 --dport 123 -t 2000"
    for options in ("-w 1", "-w 2", "-w 65535", "--orig-zone 3", "--reply-zone 4", "-w 5 -m 6", ""):
        yield f"-A {udp} {options}"
    yield "-A -s fd00::10 -d fd01::c -p udp --sport 1024 --dport 123 -w 1 -t 2000"
    yield "-A -s 10.0.8.2 -d 10.1.6.1 -p tcp --state CLOSE --sport 1 --dport 2 --orig-zone 3 -n 192.0.2.3 -t 2000"


# -- what no command line makes: helpers, labels, sequence numbers


def _tuple(kind: int, source: str, destination: str, protocol: int, first: int, second: int) -> bytes:
    ends = [ip_address(source), ip_address(destination)]
    base = 1 if ends[0].version == 4 else 3
    addresses = nest(1, attribute(base, ends[0].packed), attribute(base + 1, ends[1].packed))
    ports = [attribute(2, struct.pack(">H", first)), attribute(3, struct.pack(">H", second))]
    return nest(kind, addresses, nest(2, attribute(1, bytes([protocol])), *ports))


@dataclass(frozen=True)
class Ends:
    """A flow's two ends, to be made with attributes of any kind."""

    source: str
    destination: str
    protocol: int
    ports: tuple[int, int]

    @property
    def family(self) -> int:
        return socket.AF_INET if ip_address(self.source).version == 4 else socket.AF_INET6

    def tuple(self, kind: int) -> bytes:
        return _tuple(kind, self.source, self.destination, self.protocol, *self.ports)

    def reply(self, kind: int) -> bytes:
        return _tuple(kind, self.destination, self.source, self.protocol, *reversed(self.ports))

    def create(self, table: KernelTable, *attributes: bytes, status: int = 0xE) -> None:
        state = nest(4, nest(1, attribute(1, b"\x03"))) if self.protocol == socket.IPPROTO_TCP else b""
        common = attribute(3, struct.pack(">I", status)) + attribute(7, struct.pack(">I", 2000))
        table.create(self.tuple(1), self.reply(2), common, state, *attributes, family=self.family)


def _labels(*numbers: int) -> bytes:
    return attribute(22, sum(1 << number for number in numbers).to_bytes(16, "little"))


def _helper(name: str) -> bytes:
    return nest(5, attribute(1, name.encode() + b"\0"))


def _words(kind: int, *values: int) -> bytes:
    return nest(kind, *(attribute(place, struct.pack(">I", value)) for place, value in enumerate(values, 1)))


def _special(table: KernelTable) -> None:
    for number, labels in enumerate(((0,), (1,), (0, 1), (0, 1, 63), (127,), (2,), (), (5, 77, 126))):
        Ends(f"10.0.9.{number}", "10.1.7.1", 6, (1024, 80)).create(table, _labels(*labels))
    Ends("fd00::20", "fd01::d", 17, (1024, 53)).create(table, _labels(0, 127))
    Ends("10.0.9.20", "10.1.7.1", 6, (1024, 21)).create(table, _helper("ftp"))
    Ends("fd00::21", "fd01::d", 6, (1024, 21)).create(table, _helper("ftp"))
    Ends("10.0.9.21", "10.1.7.1", 17, (1024, 69)).create(table, _helper("tftp"))
    Ends("10.0.9.22", "10.1.7.1", 6, (1024, 80)).create(
        table, _words(15, 100, 1, 2), _words(16, 200, 3, 0xFFFFFFFE)
    )
    Ends("10.0.9.23", "10.1.7.1", 6, (1024, 80)).create(table, _words(24, 1, 2, 3))


# -- expectations

FTP_MASTERS = [
    Ends("10.0.10.1", "10.1.8.1", 6, (1024, 21)),
    Ends("10.0.10.2", "10.1.8.1", 6, (1024, 21)),
    Ends("fd00::30", "fd01::e", 6, (1024, 21)),
]
TFTP_MASTER = Ends("10.0.10.3", "10.1.8.1", 17, (1024, 69))
SIP_MASTERS = [Ends(f"10.0.10.{last}", "10.1.8.1", 17, (5060, 5060)) for last in (4, 5)]
WHOLE = {4: "255.255.255.255", 6: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}


def _expect(
    table: KernelTable, master: Ends, expected: Ends, *more: bytes, ports: tuple[int, int] = (0, 0xFFFF)
) -> None:
    whole = WHOLE[ip_address(master.source).version]
    mask = _tuple(3, whole, whole, expected.protocol, *ports)
    table.create(
        *(master.tuple(1), expected.tuple(2), mask, attribute(4, struct.pack(">I", 300)), *more),
        family=master.family,
        subsystem=EXPECT,
    )


def _expectations(table: KernelTable) -> None:
    for master in FTP_MASTERS:
        master.create(table, _helper("ftp"))
    TFTP_MASTER.create(table, _helper("tftp"))
    for master in SIP_MASTERS:
        master.create(table, _helper("sip"))
    first, second, third = FTP_MASTERS
    _expect(table, first, Ends("10.1.8.1", "10.0.10.1", 6, (0, 2000)))
    _expect(table, second, Ends("10.1.8.1", "10.0.10.2", 6, (20, 2001)), ports=(0xFFFF, 0xFFFF))
    _expect(table, third, Ends("fd01::e", "fd00::30", 6, (0, 2002)))
    _expect(table, TFTP_MASTER, Ends("10.1.8.1", "10.0.10.3", 17, (0, 1024)))
    for flags, master in enumerate(SIP_MASTERS, 1):
        answer = Ends(master.destination, master.source, 17, (0, 5060))
        _expect(table, master, answer, attribute(8, struct.pack(">I", flags)))


def _everything(table: KernelTable) -> None:
    _special(table)
    _expectations(table)


MANY = tuple(
    f"-A -s 10.{number >> 8}.{number & 255}.1 -d 10.255.0.1 -p tcp --sport {1024 + number} --dport {80 + number % 3} "
    f"--state ESTABLISHED -u SEEN_REPLY,ASSURED -m {number % 4} -t 5000"
    for number in range(2500)
)

SCENES = {
    "empty": Scene(),
    "one": Scene(ONE),
    "mixed": Scene(tuple(_mixed()), _everything),
    "expectations": Scene(more=_expectations),
    "many": Scene(MANY),
}
