# SPDX-License-Identifier: GPL-2.0-or-later
"""Each attribute with each protocol and family.

What we write is what the C tool reads, and what it writes is what we read.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pyconntrack import (
    ConntrackTable,
    Flow,
    Helper,
    Nat,
    Protocol,
    SctpInfo,
    SctpState,
    SequenceAdjust,
    Status,
    SynProxy,
    TcpFlag,
    TcpFlags,
    TcpInfo,
    TcpState,
    Tuple,
)
from testbed.namespace import Namespace

ENDS = {4: ("10.1.0.1", "10.1.0.2"), 6: ("fd00::1", "fd00::2")}
OTHER = {4: "192.0.2.9", 6: "2001:db8::9"}
ALL_LABELS = """
table inet labels { chain c { type filter hook output priority 0; ct mark 0x7fffffff ct label set 1; }; }
"""


def tuple_of(protocol: int, version: int) -> Tuple:
    source, destination = ENDS[version]
    if protocol == Protocol.ICMP:
        return Tuple(source, destination, protocol, icmp_type=8, icmp_id=77)
    if protocol == Protocol.ICMPV6:
        return Tuple(source, destination, protocol, icmp_type=128, icmp_id=77)
    if protocol in (Protocol.TCP, Protocol.UDP, Protocol.UDPLITE, Protocol.SCTP, Protocol.GRE):
        return Tuple(source, destination, protocol, 1000, 80)
    return Tuple(source, destination, protocol)


def kernel_flow(protocol: int, version: int) -> Flow:
    """A flow with everything that a kernel without ruleset keeps."""
    flow = Flow(
        original=tuple_of(protocol, version),
        timeout=3000,
        mark=0x12345678,
        status=Status.CONFIRMED | Status.SEEN_REPLY | Status.ASSURED,
    )
    if protocol == Protocol.TCP:
        scaled = TcpFlags(TcpFlag.WINDOW_SCALE | TcpFlag.SACK_PERM, TcpFlag.WINDOW_SCALE | TcpFlag.SACK_PERM)
        return replace(flow, tcp=TcpInfo(TcpState.ESTABLISHED, scaled, scaled, 7, 9))
    if protocol == Protocol.SCTP:
        return replace(flow, sctp=SctpInfo(SctpState.ESTABLISHED, 0xDEADBEEF, 17))
    return flow


KINDS = [
    (protocol, version)
    for version in (4, 6)
    for protocol in (Protocol.TCP, Protocol.UDP, Protocol.UDPLITE, Protocol.SCTP, Protocol.GRE, 50, 89)
] + [(Protocol.ICMP, 4), (Protocol.ICMPV6, 6)]


def lasting(flow: Flow) -> Flow:
    """Without what changes as time passes and as others look."""
    return replace(flow, timeout=None, use=None)


def remains(flow: Flow, timeout: int) -> bool:
    """Whether a flow was made with this timeout, a slow machine granted."""
    return flow.timeout is not None and timeout - 45 <= flow.timeout <= timeout


CTool = Callable[..., str]
# All that the C tool reads of /etc.
SYSTEM_FILES = ("ld.so.cache", "protocols", "services", "nsswitch.conf")
OVER_ETC = 'mount --bind "$0" /etc && exec conntrack "$@"'


@pytest.fixture
def c_tool(namespace: Namespace, tmp_path: Path) -> CTool:
    """The C tool in the namespace, with an /etc of its own: it wants names for labels there."""
    etc = tmp_path / "etc"
    (etc / "xtables").mkdir(parents=True)
    (etc / "xtables" / "connlabel.conf").write_text("1 one\n127 last\n")
    for name in SYSTEM_FILES:
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(Path("/etc", name), etc / name)

    def run(*arguments: str) -> str:
        return namespace.run(["unshare", "-m", "sh", "-c", OVER_ETC, str(etc), *arguments]).stdout

    return run


def listed(c_tool: CTool) -> list[str]:
    """The lines of the C tool for both families."""
    lines: list[str] = []
    for family in ("ipv4", "ipv6"):
        lines += c_tool("-L", "-f", family, "-o", "extended,id,labels").splitlines()
    return lines


@pytest.mark.parametrize(("protocol", "version"), KINDS)
def test_what_we_create_is_there(table: ConntrackTable, c_tool: CTool, protocol: int, version: int) -> None:
    flow = kernel_flow(protocol, version)
    assert flow.original is not None
    table.create(flow)
    (found,) = table
    assert lasting(found) == lasting(table.get(flow.original))
    assert (found.original, found.reply) == (flow.original, flow.original.inverse())
    assert (found.mark, found.status) == (flow.mark, flow.status)
    assert remains(found, 3000)
    if flow.tcp is not None:
        assert found.tcp is not None
        assert found.tcp.state == flow.tcp.state
        assert (found.tcp.window_scale_original, found.tcp.window_scale_reply) == (7, 9)
        assert found.tcp.flags_reply == TcpFlags(TcpFlag.WINDOW_SCALE | TcpFlag.SACK_PERM, TcpFlag(0))
    assert found.sctp == flow.sctp
    (line,) = listed(c_tool)
    original = flow.original
    assert line.startswith(f"ipv{version}")
    assert f" {int(protocol)} " in line
    ends = f"src={original.source} dst={original.destination} "
    reply_ends = f"src={original.destination} dst={original.source} "
    if protocol in (Protocol.TCP, Protocol.UDP, Protocol.UDPLITE, Protocol.SCTP):
        ends, reply_ends = ends + "sport=1000 dport=80 ", reply_ends + "sport=80 dport=1000 "
    elif protocol == Protocol.GRE:
        ends, reply_ends = ends + "srckey=0x3e8 dstkey=0x50 ", reply_ends + "srckey=0x50 dstkey=0x3e8 "
    elif protocol in (Protocol.ICMP, Protocol.ICMPV6):
        request, answer = (8, 0) if protocol == Protocol.ICMP else (128, 129)
        ends += f"type={request} code=0 id=77 "
        reply_ends += f"type={answer} code=0 id=77 "
    assert ends + reply_ends + "[ASSURED] mark=305419896" in line
    assert f"id={found.id}" in line
    if protocol in (Protocol.TCP, Protocol.SCTP):
        assert " ESTABLISHED " in line


@pytest.mark.parametrize("nat", ["source", "destination", "both"])
@pytest.mark.parametrize(("protocol", "version"), KINDS)
def test_nat_is_set_up_and_can_be_restored(
    table: ConntrackTable, protocol: int, version: int, nat: str
) -> None:
    original = tuple_of(protocol, version)
    with_ports = protocol in (Protocol.TCP, Protocol.UDP, Protocol.UDPLITE, Protocol.SCTP)
    with_id = protocol in (Protocol.ICMP, Protocol.ICMPV6)
    port = 4444 if with_ports else None
    made = kernel_flow(protocol, version)
    if nat in ("source", "both"):
        made = replace(
            made, source_nat=Nat(Tuple(OTHER[version], OTHER[version]).source, 99 if with_id else port)
        )
    if nat in ("destination", "both"):
        made = replace(made, destination_nat=Nat(Tuple(OTHER[version], OTHER[version]).source, port))
    table.create(made)
    found = table.get(original)
    reply = original.inverse()
    wanted = Status.CONFIRMED | Status.SEEN_REPLY | Status.ASSURED
    wanted |= Status.SRC_NAT_DONE | Status.DST_NAT_DONE
    if nat in ("source", "both"):
        wanted |= Status.SRC_NAT
        reply = replace(reply, destination=Tuple(OTHER[version], OTHER[version]).source)
        reply = replace(reply, destination_port=4444) if with_ports else reply
        reply = replace(reply, icmp_id=99) if with_id else reply
    if nat in ("destination", "both"):
        wanted |= Status.DST_NAT
        reply = replace(reply, source=Tuple(OTHER[version], OTHER[version]).source)
        reply = replace(reply, source_port=4444) if with_ports else reply
    assert found.reply == reply
    assert found.status is not None
    # A destination translation may need the source port kept free: the kernel then notes a source one, too.
    assert found.status & wanted == wanted
    table.delete(found)
    table.create(found)
    again = table.get(original)
    assert replace(lasting(again), id=None) == replace(lasting(found), id=None)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    "extra",
    [
        Flow(zone=5),
        Flow(sequence_adjust_original=SequenceAdjust(1, 2, 3), sequence_adjust_reply=SequenceAdjust(4, 5, 6)),
        Flow(syn_proxy=SynProxy(1, 2, 3)),
        Flow(helper=Helper("ftp")),
        Flow(status=Status.CONFIRMED | Status.FIXED_TIMEOUT),
        Flow(labels=bytes([2] + [0] * 14 + [0x80])),
        Flow(timeout=432000),
    ],
    ids=["zone", "sequence", "synproxy", "helper", "fixed", "labels", "timeout"],
)
def test_rare_attributes_are_kept(
    table: ConntrackTable, namespace: Namespace, c_tool: CTool, extra: Flow, version: int
) -> None:
    namespace.nft(ALL_LABELS)
    names = [name for name in Flow.__slots__ if name != "event" and getattr(extra, name) is not None]
    flow = replace(kernel_flow(Protocol.TCP, version), **{name: getattr(extra, name) for name in names})
    assert flow.original is not None
    table.create(flow)
    found = table.get(flow.original, zone=flow.zone)
    for name in names:
        if name == "timeout":
            assert extra.timeout is not None
            assert remains(found, extra.timeout)
        elif name == "status":
            assert found.status == flow.status
        else:
            assert getattr(found, name) == getattr(extra, name)
    (line,) = listed(c_tool)
    if extra.zone is not None:
        assert " zone=5 " in line
    if extra.helper is not None:
        assert "helper=ftp" in line
    if extra.labels is not None:
        assert "labels=one,last" in line
        assert found.label_bits == {1, 127}
    if extra.sequence_adjust_original is not None:
        assert found.status is not None
        assert Status.SEQ_ADJUST in found.status


@pytest.mark.parametrize("direction", ["original", "reply"])
def test_a_zone_of_one_direction(table: ConntrackTable, c_tool: CTool, direction: str) -> None:
    flow = kernel_flow(Protocol.UDP, 4)
    original = tuple_of(Protocol.UDP, 4)
    if direction == "original":
        table.create(replace(flow, original=replace(original, zone=9)))
    else:
        table.create(replace(flow, reply=replace(original.inverse(), zone=9)))
    (found,) = table
    assert found.original is not None
    assert found.reply is not None
    assert (found.original.zone, found.reply.zone) == ((9, None) if direction == "original" else (None, 9))
    (line,) = listed(c_tool)
    assert f"zone-{'orig' if direction == 'original' else 'reply'}=9" in line


def test_a_master_is_named(table: ConntrackTable) -> None:
    master = Flow(original=Tuple("10.1.0.1", "10.1.0.2", Protocol.TCP, 2000, 21), timeout=100)
    child = replace(kernel_flow(Protocol.TCP, 4), master=master.original)
    table.create(master)
    table.create(child)
    assert child.original is not None
    found = table.get(child.original)
    assert found.master == master.original
    assert found.status is not None
    assert Status.EXPECTED in found.status
    table.delete(found)
    table.create(found)
    assert table.get(child.original).master == master.original


# What the C tool makes, and how we read it.
MADE_BY_C: list[tuple[str, Flow]] = [
    (
        "-s 10.1.0.1 -d 10.1.0.2 -p tcp --sport 1 --dport 2 --state SYN_SENT -t 50 -m 7",
        Flow(original=Tuple("10.1.0.1", "10.1.0.2", 6, 1, 2), tcp=TcpInfo(TcpState.SYN_SENT), mark=7),
    ),
    (
        "-s 10.1.0.1 -d 10.1.0.2 -p udp --sport 1 --dport 2 -t 50 -w 3",
        Flow(original=Tuple("10.1.0.1", "10.1.0.2", 17, 1, 2), zone=3),
    ),
    (
        "-s fd00::1 -d fd00::2 -p udplite --sport 1 --dport 2 -t 50 -u ASSURED,SEEN_REPLY",
        Flow(
            original=Tuple("fd00::1", "fd00::2", 136, 1, 2),
            status=Status.CONFIRMED | Status.ASSURED | Status.SEEN_REPLY,
        ),
    ),
    (
        "-s 10.1.0.1 -d 10.1.0.2 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 5 -t 50",
        Flow(original=Tuple("10.1.0.1", "10.1.0.2", 1, icmp_type=8, icmp_id=5)),
    ),
    (
        "-s fd00::1 -d fd00::2 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 5 -t 50",
        Flow(original=Tuple("fd00::1", "fd00::2", 58, icmp_type=128, icmp_id=5)),
    ),
    (
        # The C tool swaps the bytes of a tag that it is given, which these do not show.
        "-s 10.1.0.1 -d 10.1.0.2 -p sctp --sport 1 --dport 2 --state ESTABLISHED -t 50"
        " --orig-vtag 16843009 --reply-vtag 33686018",
        Flow(
            original=Tuple("10.1.0.1", "10.1.0.2", 132, 1, 2),
            sctp=SctpInfo(SctpState.ESTABLISHED, 16843009, 33686018),
        ),
    ),
    (
        "-s 10.1.0.1 -d 10.1.0.2 -p gre --srckey 1 --dstkey 2 -t 50",
        Flow(original=Tuple("10.1.0.1", "10.1.0.2", 47, 1, 2)),
    ),
    (
        "-s 10.1.0.1 -d 10.1.0.2 -p tcp --sport 1 --dport 2 --state LISTEN -t 50 -n 192.0.2.1:77",
        Flow(
            original=Tuple("10.1.0.1", "10.1.0.2", 6, 1, 2),
            reply=Tuple("10.1.0.2", "192.0.2.1", 6, 2, 77),
            status=Status.CONFIRMED | Status.SRC_NAT | Status.SRC_NAT_DONE | Status.DST_NAT_DONE,
        ),
    ),
    (
        "-s 10.1.0.1 -d 10.1.0.2 -p udp --sport 1 --dport 2 -t 50 -g 192.0.2.1:77",
        Flow(
            original=Tuple("10.1.0.1", "10.1.0.2", 17, 1, 2), reply=Tuple("192.0.2.1", "10.1.0.1", 17, 77, 1)
        ),
    ),
    (
        "-s 10.1.0.1 -d 10.1.0.2 -p tcp --sport 1 --dport 21 --state ESTABLISHED -t 50 --label-add one",
        Flow(original=Tuple("10.1.0.1", "10.1.0.2", 6, 1, 21), labels=bytes([2]) + bytes(15)),
    ),
]


@pytest.mark.parametrize(("options", "expected"), MADE_BY_C, ids=[made[0] for made in MADE_BY_C])
def test_what_the_c_tool_creates_is_read(
    table: ConntrackTable, namespace: Namespace, c_tool: CTool, options: str, expected: Flow
) -> None:
    namespace.nft(ALL_LABELS)
    c_tool("-I", *options.split())
    (found,) = table
    assert found.original == expected.original
    assert found.original is not None
    assert found.reply == (expected.reply or found.original.inverse())
    assert remains(found, 50)
    for name in ("mark", "zone", "sctp", "status", "labels"):
        if getattr(expected, name) is not None:
            assert getattr(found, name) == getattr(expected, name)
    if expected.tcp is not None:
        assert found.tcp is not None
        assert found.tcp.state == expected.tcp.state
    (line,) = listed(c_tool)
    assert re.search(rf"\bid={found.id}\b", line)


def test_labels_of_any_length_are_set_and_added(table: ConntrackTable, namespace: Namespace) -> None:
    namespace.nft(ALL_LABELS)
    call = tuple_of(Protocol.UDP, 4)
    table.create(Flow(call, timeout=100, labels=b"\x02"))
    assert table.get(call).label_bits == {1}
    assert table.update_selected(None, Flow(labels=b"\x04\x01")) == 1
    assert table.get(call).label_bits == {1, 2, 8}
