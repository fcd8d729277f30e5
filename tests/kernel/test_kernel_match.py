# SPDX-License-Identifier: GPL-2.0-or-later
"""Selections beside the C tool: what it lists with each filter, on a table of many kinds of flows."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyconntrack import ConntrackTable, FlowBatch, Nat, Status, TableFilter, TupleFilter
from pyconntrack.core.match import FlowMatch
from pyconntrack.kernel.selection import match_of
from testbed import PrivilegeError, Testbed, require_root
from testbed.namespace import Namespace
from tests.kernel.mixed_table import fill

if TYPE_CHECKING:
    from pyconntrack.kernel.selection import Selection

LABELS = "0 zero\n1 one\n2 two\n127 last\n"
# What the C tool reads of /etc.
NEEDED = ("protocols", "services", "nsswitch.conf", "hosts")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Namespace, Path]]:
    """A namespace with the table, which no test changes, and a directory to serve as /etc, with labels."""
    try:
        require_root()
    except PrivilegeError as error:
        pytest.skip(str(error))
    etc = tmp_path_factory.mktemp("etc")
    for name in NEEDED:
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), etc)
    (etc / "xtables").mkdir()
    (etc / "xtables" / "connlabel.conf").write_text(LABELS)
    with Testbed() as bed:
        namespace = bed.namespace("mixed")
        fill(namespace)
        yield namespace, etc


def c_tool_ids(mixed: tuple[Namespace, Path], words: str) -> list[int]:
    namespace, etc = mixed
    script = f'mount --bind {etc} /etc && exec conntrack "$@"'
    run = namespace.run(["unshare", "-m", "sh", "-c", script, "conntrack", "-L", *words.split(), "-o", "id"])
    ids = sorted(int(found) for found in re.findall(r" id=(\d+)(?: labels=\S*)?$", run.stdout, re.MULTILINE))
    shown = re.search(r"(\d+) flow entries have been shown", run.stderr)
    assert shown is not None
    assert len(ids) == int(shown[1])
    return ids


def ids_of(batch: FlowBatch) -> list[int]:
    return sorted(batch.unpack(index)["id"] for index in range(len(batch)))


def by_original(**fields: object) -> TableFilter:
    return TableFilter(original=TupleFilter(**fields))  # type: ignore[arg-type]


def by_reply(**fields: object) -> TableFilter:
    return TableFilter(reply=TupleFilter(**fields))  # type: ignore[arg-type]


def status(bits: Status) -> TableFilter:
    return TableFilter(status=bits)


def zone_of_one_direction(name: str, zone: int) -> FlowMatch:
    return FlowMatch(values={f"{name}_zone": zone})


def nat(address: str | None = None, port: int | None = None) -> Nat:
    return Nat(None if address is None else ip_address(address), port)


UDP, TCP, SCTP, UDPLITE, ICMP, ICMPV6 = 17, 6, 132, 136, 1, 58
# What is listed, the same as a selection, and whether there is such a flow.
CASES: list[tuple[str, Selection, bool]] = [
    ("", TableFilter(), True),
    ("-f ipv4", TableFilter(family=2), True),
    ("-f ipv6", TableFilter(family=10), True),
    ("-m 0", TableFilter(mark=0), True),
    ("-m 1", TableFilter(mark=1), True),
    ("-m 0x1/0x1", TableFilter(mark=1, mark_mask=1), True),
    ("-m 0/0xff", TableFilter(mark=0, mark_mask=0xFF), True),
    ("-m 0x11/0x1", TableFilter(mark=0x11, mark_mask=1), False),
    ("-m 0xf0000000/0xff000000", TableFilter(mark=0xF0000000, mark_mask=0xFF000000), True),
    ("-m 5/0", TableFilter(mark=5, mark_mask=0), False),
    ("-u ASSURED", status(Status.ASSURED), True),
    ("-u SEEN_REPLY", status(Status.SEEN_REPLY), True),
    ("-u ASSURED,SEEN_REPLY", status(Status.ASSURED | Status.SEEN_REPLY), True),
    ("-u FIXED_TIMEOUT", status(Status.FIXED_TIMEOUT), True),
    ("-u FIXED_TIMEOUT,SEEN_REPLY", status(Status.FIXED_TIMEOUT | Status.SEEN_REPLY), False),
    ("-u EXPECTED", status(Status.EXPECTED), False),
    ("-u UNSET,ASSURED", status(Status.ASSURED), True),
    ("-w 0", TableFilter(zone=0), True),
    ("-w 2", TableFilter(zone=2), True),
    ("-w 5", TableFilter(zone=5), True),
    ("-w 6", TableFilter(zone=6), False),
    ("-w 7", TableFilter(zone=7), False),
    ("-w 9", TableFilter(zone=9), False),
    ("--orig-zone 6", zone_of_one_direction("original", 6), True),
    ("--orig-zone 2", zone_of_one_direction("original", 2), True),
    ("--orig-zone 5", zone_of_one_direction("original", 5), False),
    ("--orig-zone 0", zone_of_one_direction("original", 0), True),
    ("--reply-zone 7", zone_of_one_direction("reply", 7), True),
    ("--reply-zone 0", zone_of_one_direction("reply", 0), True),
    ("--reply-zone 5", zone_of_one_direction("reply", 5), False),
    ("-l one", TableFilter(labels={1}), True),
    ("-l two", TableFilter(labels={2}), True),
    ("-l one,last", TableFilter(labels={1, 127}), True),
    ("-l zero", TableFilter(labels={0}), False),
    ("-p tcp", by_original(protocol=TCP), True),
    ("-p udp", by_original(protocol=UDP), True),
    ("-p sctp", by_original(protocol=SCTP), True),
    ("-p gre", by_original(protocol=47), True),
    ("-p 50", by_original(protocol=50), True),
    ("-p 99", by_original(protocol=99), False),
    ("-p icmpv6", by_original(protocol=ICMPV6), True),
    ("-f ipv4 -p icmp", TableFilter(family=2, original=TupleFilter(protocol=ICMP)), True),
    ("-p tcp --state ESTABLISHED", TableFilter(tcp_state=3), True),
    ("-p tcp --state TIME_WAIT", TableFilter(tcp_state=7), True),
    ("-p tcp --state LISTEN", TableFilter(tcp_state=9), False),
    ("-p sctp --state ESTABLISHED", TableFilter(sctp_state=4), True),
    ("-p dccp --state OPEN", TableFilter(dccp_state=4), False),
    ("-p icmp --icmp-type 8", by_original(protocol=ICMP, icmp_type=8), True),
    ("-p icmp --icmp-type 0", by_original(protocol=ICMP, icmp_type=0), False),
    ("-p icmp --icmp-type 13", by_original(protocol=ICMP, icmp_type=13), True),
    ("-p icmp --icmp-code 0", by_original(protocol=ICMP, icmp_code=0), True),
    ("-p icmp --icmp-code 1", by_original(protocol=ICMP, icmp_code=1), False),
    ("-p icmp --icmp-id 3", by_original(protocol=ICMP, icmp_id=3), True),
    ("-p icmp --icmp-id 3 --icmp-type 13", by_original(protocol=ICMP, icmp_id=3, icmp_type=13), True),
    ("-p icmp --icmp-id 3 -d 10.1.0.1", by_original(protocol=ICMP, icmp_id=3, destination="10.1.0.1"), True),
    ("-p icmpv6 --icmpv6-type 128", by_original(protocol=ICMPV6, icmp_type=128), True),
    (
        "-p icmpv6 --icmpv6-id 2 -f ipv6",
        TableFilter(family=10, original=TupleFilter(protocol=ICMPV6, icmp_id=2)),
        True,
    ),
    ("-p udp --sport 1000", by_original(protocol=UDP, source_port=1000), True),
    ("-p udp --dport 2040", by_original(protocol=UDP, destination_port=2040), True),
    (
        "-p udp --dport 2040 --sport 1042",
        by_original(protocol=UDP, destination_port=2040, source_port=1042),
        True,
    ),
    ("-p udp --reply-port-src 3000", by_reply(protocol=UDP, source_port=3000), True),
    ("-p udp --reply-port-dst 1000", by_reply(protocol=UDP, destination_port=1000), True),
    ("-p sctp --sport 2", by_original(protocol=SCTP, source_port=2), True),
    ("-p sctp --reply-port-src 8", by_reply(protocol=SCTP, source_port=8), True),
    ("-p udplite --sport 2", by_original(protocol=UDPLITE, source_port=2), True),
    (
        "-p tcp --dport 443 -f ipv4",
        TableFilter(2, original=TupleFilter(protocol=6, destination_port=443)),
        True,
    ),
    ("-s 10.0.1.1", by_original(source="10.0.1.1"), True),
    ("-s 10.0.1.1 -p tcp", by_original(source="10.0.1.1", protocol=6), True),
    ("-d 10.1.0.1", by_original(destination="10.1.0.1"), True),
    (
        "-d 10.1.0.1 -p tcp --dport 7",
        by_original(destination="10.1.0.1", protocol=6, destination_port=7),
        True,
    ),
    ("-s 10.0.1.1/24", by_original(source="10.0.1.1/24"), True),
    ("-s 10.0.0.0/22 -d 10.1.0.2/31", by_original(source="10.0.0.0/22", destination="10.1.0.2/31"), True),
    ("-s 10.0.1.77 --mask-src 255.255.255.0", by_original(source="10.0.1.77/255.255.255.0"), True),
    ("-d 10.1.9.9 --mask-dst 255.255.0.0", by_original(destination="10.1.0.0/16"), True),
    ("-s 0.0.0.0/0", by_original(source="0.0.0.0/0"), True),
    ("-s 0.0.0.0", by_original(source="0.0.0.0"), False),
    ("-s ::/0", by_original(source="::/0"), True),
    ("-s fd00:1::1", by_original(source="fd00:1::1"), True),
    ("-s fd00:1::1/32", by_original(source="fd00:1::/32"), True),
    ("-s fd00::/16 -d fd00::fe", by_original(source="fd00::/16", destination="fd00::fe"), True),
    ("-r 10.9.0.1", by_reply(source="10.9.0.1"), True),
    ("-q 10.9.0.2", by_reply(destination="10.9.0.2"), True),
    ("-r 127.0.0.3 -q 127.0.0.1", by_reply(source="127.0.0.3", destination="127.0.0.1"), True),
    ("-q fd09::2", by_reply(destination="fd09::2"), True),
    (
        "-s 10.0.1.8 -q 10.9.0.1",
        TableFilter(original=TupleFilter(source="10.0.1.8"), reply=TupleFilter(destination="10.9.0.1")),
        True,
    ),
    ("-n", TableFilter(source_nat=True), True),
    ("-g", TableFilter(destination_nat=True), True),
    ("-j", TableFilter(any_nat=True), True),
    ("-n -g", TableFilter(source_nat=True, destination_nat=True), True),
    ("-n 10.9.0.1", TableFilter(source_nat=nat("10.9.0.1")), True),
    ("-n 10.9.0.1:77", TableFilter(source_nat=nat("10.9.0.1", 77)), True),
    ("-n 10.9.0.1:78", TableFilter(source_nat=nat("10.9.0.1", 78)), False),
    ("-n 127.0.0.42:1043", TableFilter(source_nat=nat("127.0.0.42", 1043)), False),
    ("-n 127.0.0.44:1044", TableFilter(source_nat=nat("127.0.0.44", 1044)), True),
    ("-n 10.77.0.1", TableFilter(source_nat=nat("10.77.0.1")), True),
    ("-n 10.9.0.1:1", TableFilter(source_nat=nat("10.9.0.1", 1)), False),
    ("-g 10.9.0.1", TableFilter(destination_nat=nat("10.9.0.1")), True),
    ("-g 10.9.0.1:99", TableFilter(destination_nat=nat("10.9.0.1", 99)), True),
    ("-g 127.0.0.3", TableFilter(destination_nat=nat("127.0.0.3")), True),
    ("-g 127.0.0.3:2000", TableFilter(destination_nat=nat("127.0.0.3", 2000)), False),
    ("-j 10.9.0.1", TableFilter(any_nat=nat("10.9.0.1")), True),
    ("-j 127.0.0.3:3000", TableFilter(any_nat=nat("127.0.0.3", 3000)), True),
    (
        "-n 127.0.0.46 -g 127.0.0.3",
        TableFilter(source_nat=nat("127.0.0.46"), destination_nat=nat("127.0.0.3")),
        True,
    ),
    ("-n -p udp", TableFilter(source_nat=True, original=TupleFilter(protocol=UDP)), True),
    (
        "-g -s 127.0.0.0/8 -m 0",
        TableFilter(0, 0, destination_nat=True, original=TupleFilter("127.0.0.0/8")),
        True,
    ),
]


@pytest.mark.parametrize(("words", "selected", "found"), CASES, ids=[words or "all" for words, _, _ in CASES])
def test_what_the_c_tool_lists_is_selected(
    mixed: tuple[Namespace, Path], words: str, selected: Selection, found: bool
) -> None:
    expected = c_tool_ids(mixed, words)
    assert bool(expected) == found
    with ConntrackTable(mixed[0].name) as table:
        # By kernel and core together.
        assert ids_of(table.dump_batch(selected)) == expected
        # By the core alone.
        everything = table.dump_batch()
        match_of(selected).select(everything, 0)
        assert ids_of(everything) == expected


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("-c 5", FlowMatch(values={"secmark": 5})),
        ("-n fd00::99", TableFilter(family=10, source_nat=nat("fd00::99")).match()),
        (
            "-p gre --srckey 2 --reply-key-src 9",
            FlowMatch(
                values={
                    "original": (2, 47, bytes(4), bytes(4), 2, 0, 0, 0, 0),
                    "reply": (2, 47, bytes(4), bytes(4), 9, 0, 0, 0, 0),
                },
                original_fields=0x18,
                reply_fields=0x18,
            ),
        ),
    ],
)
def test_what_the_c_tool_does_not_compare(
    mixed: tuple[Namespace, Path], words: str, match: FlowMatch
) -> None:
    assert c_tool_ids(mixed, words)
    with ConntrackTable(mixed[0].name) as table:
        assert len(table.dump_batch(match)) == 0


def test_the_table_has_what_it_takes(mixed: tuple[Namespace, Path]) -> None:
    """Without such flows, the comparisons would say little."""
    with ConntrackTable(mixed[0].name) as table:
        flows = list(table)
    assert len(flows) > 90
    assert {flow.zone for flow in flows} >= {None, 1, 2, 3, 5}
    assert any(flow.labels and flow.label_bits == {1, 2, 127} for flow in flows)
    assert sum(bool(flow.status and flow.status & Status.SRC_NAT) for flow in flows) >= 15
    assert sum(bool(flow.status and flow.status & Status.DST_NAT) for flow in flows) >= 9


def test_networks_of_the_reply(mixed: tuple[Namespace, Path]) -> None:
    """What the C tool refuses to take."""
    with ConntrackTable(mixed[0].name) as table:
        found = table.dump(reply=TupleFilter(source="10.9.0.0/16"))
        assert {str(flow.reply.source) for flow in found if flow.reply} == {f"10.9.0.{n}" for n in (1, 2, 3)}
        found = table.dump(reply=TupleFilter(destination="fd09::/16"))
        assert {str(flow.reply.destination) for flow in found if flow.reply} == {
            "fd09::1",
            "fd09::2",
            "fd09::3",
        }


def test_a_zone_of_a_direction_may_be_that_of_both(mixed: tuple[Namespace, Path]) -> None:
    with ConntrackTable(mixed[0].name) as table:
        found = list(table.dump(original=TupleFilter(zone=2)))
    assert sorted(str(flow.original.source) for flow in found if flow.original) == ["10.0.2.10", "10.0.2.3"]


def test_by_id_and_what_is_not_set(mixed: tuple[Namespace, Path]) -> None:
    with ConntrackTable(mixed[0].name) as table:
        some = next(iter(table))
        assert [flow.id for flow in table.dump(selected=TableFilter(id=some.id))] == [some.id]
        unreplied = table.dump_batch(TableFilter(status=0, status_mask=Status.SEEN_REPLY))
        assert 0 < len(unreplied) < len(table)
        values = (unreplied.unpack(index)["status"] for index in range(len(unreplied)))
        assert not any(bits & Status.SEEN_REPLY for bits in values)
