# SPDX-License-Identifier: GPL-2.0-or-later
"""The table read as a whole: all of it, parts of it, in another namespace, beside the C tool."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Generator

import pytest

from pyconntrack import ConntrackTable, Flow, Status, TableFilter, Tuple, TupleFilter
from pyconntrack.core.batch import FlowBatch
from testbed import Testbed
from testbed.namespace import Namespace

LINE = re.compile(r"src=(\S+) dst=(\S+) (?:sport=(\d+) dport=(\d+) )?(?:type=\d+ code=\d+ id=(\d+) )?")
PROTOCOLS = (6, 17, 132, 136, 1, 50)


def mixed(count: int) -> FlowBatch:
    """Flows of both families and several protocols, some of them translated, marked, in zones."""
    batch = FlowBatch()
    for number in range(count):
        protocol = PROTOCOLS[number % len(PROTOCOLS)]
        low = number.to_bytes(4, "big")
        six = number % 5 == 0
        family, lead = (10, bytes([0xFD]) + bytes(11)) if six else (2, b"")
        source, destination = (
            (lead + low, lead + b"\xff\xff\xff\1") if six else (b"\x0a" + low[1:], b"\x0b\0\0\1")
        )
        if six and protocol == 1:
            protocol = 58
        ports = (number % 60000 + 1, 80) if protocol in (6, 17, 132, 136) else (0, 0)
        icmp = (number % 60000, 128 if six else 8, 0) if protocol in (1, 58) else (0, 0, 0)
        values: dict[str, object] = {
            "original": (family, protocol, source, destination, *ports, *icmp),
            "timeout": 3000,
            "mark": number,
            "status": 0x0E if number % 2 else 0x08,
        }
        if number % 7 == 0:
            values["zone"] = number % 3 + 1
        if number % 11 == 0 and not six and protocol != 50:
            values["source_nat_address"] = b"\xc0\0\2" + bytes([number % 250 + 1])
        if protocol == 132:
            values |= {"sctp_state": 4, "sctp_vtag_original": number, "sctp_vtag_reply": 1}
        batch.pack(values)
    return batch


def c_tool_lines(namespace: Namespace) -> dict[int, tuple[str, ...]]:
    """What the C tool lists, by id: mark, zone and both tuples."""
    found = {}
    for family in ("ipv4", "ipv6"):
        output = namespace.run(["conntrack", "-L", "-f", family, "-o", "extended,id"]).stdout
        for line in output.splitlines():
            fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
            both = [part or "" for match in LINE.findall(line) for part in match]
            assured = "assured" if "[ASSURED]" in line else ""
            found[int(fields["id"])] = (
                line.split()[3],
                fields["mark"],
                fields.get("zone", ""),
                assured,
                *both,
            )
    return found


def our_line(flow: Flow) -> tuple[str, ...]:
    assert flow.original is not None
    assert flow.reply is not None
    both: list[str] = []
    for direction in (flow.original, flow.reply):
        ports = direction.protocol in (6, 17, 132, 136)
        both += [str(direction.source), str(direction.destination)]
        both += [str(direction.source_port), str(direction.destination_port)] if ports else ["", ""]
        both += [str(direction.icmp_id)] if direction.protocol in (1, 58) else [""]
    assert flow.status is not None
    assured = "assured" if Status.ASSURED in flow.status else ""
    zone = "" if flow.zone is None else str(flow.zone)
    return (str(int(flow.original.protocol)), str(flow.mark), zone, assured, *both)


def test_ten_thousand_flows_are_those_of_the_c_tool(table: ConntrackTable, namespace: Namespace) -> None:
    assert table.create_batch(mixed(10000)) == []
    assert len(table) == 10000
    ours = {flow.id: our_line(flow) for flow in table}
    assert len(ours) == 10000
    assert ours == c_tool_lines(namespace)
    assert len(table.dump_batch()) == 10000
    sizes = [len(batch) for batch in table.dump_batches()]
    assert sum(sizes) == 10000
    assert len(sizes) > 1
    ahead = FlowBatch()
    for batch in table.dump_batches(ahead=True):
        ahead.extend(batch)
    assert {ahead.unpack(index)["id"] for index in range(len(ahead))} == ours.keys()
    assert len(ahead) == 10000
    odd = TableFilter(status=Status.ASSURED)
    assert sum(len(batch) for batch in table.dump_batches(odd, ahead=True)) == 5000


def test_a_dump_that_reads_ahead_may_be_left(table: ConntrackTable) -> None:
    assert table.create_batch(mixed(10000)) == []
    batches = table.dump_batches(ahead=True)
    before = threading.active_count()
    next(batches)
    next(batches)
    assert threading.active_count() == before + 1
    assert isinstance(batches, Generator)
    batches.close()
    assert threading.active_count() == before


def test_a_dump_that_is_not_read_on_does_not_keep_the_process(namespace: Namespace) -> None:
    program = (
        "import pyconntrack; table = pyconntrack.ConntrackTable()\n"
        "batches = table.dump_batches(ahead=True); next(batches); next(batches)"
    )
    with ConntrackTable(namespace.name) as table:
        assert table.create_batch(mixed(10000)) == []
    with namespace.entered():
        environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
        subprocess.run([sys.executable, "-c", program], env=environment, timeout=20.0, check=True)


def test_a_dump_reads_on_where_no_thread_can_be_had(
    table: ConntrackTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    assert table.create_batch(mixed(10000)) == []
    batches = table.dump_batches(ahead=True)
    count = len(next(batches))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert count + sum(len(batch) for batch in batches) == 10000


def marks(table: ConntrackTable, selected: TableFilter) -> list[int]:
    batch = table.dump_batch(selected)
    return sorted(batch.unpack(index)["mark"] for index in range(len(batch)))


@pytest.fixture
def filled(table: ConntrackTable) -> ConntrackTable:
    assert table.create_batch(mixed(600)) == []
    return table


def test_the_kernel_selects(filled: ConntrackTable) -> None:
    everything = range(600)
    assert marks(filled, TableFilter()) == list(everything)
    assert marks(filled, TableFilter(mark=17)) == [17]
    assert marks(filled, TableFilter(mark=1, mark_mask=3)) == [n for n in everything if n & 3 == 1]
    assert marks(filled, TableFilter(family=10)) == [n for n in everything if n % 5 == 0]
    assert marks(filled, TableFilter(family=2)) == [n for n in everything if n % 5]
    assert marks(filled, TableFilter(status=Status.ASSURED)) == [n for n in everything if n % 2]
    unassured = TableFilter(status=0, status_mask=Status.ASSURED)
    assert marks(filled, unassured) == [n for n in everything if not n % 2]
    assert marks(filled, TableFilter(zone=2)) == [n for n in everything if n % 7 == 0 and n % 3 == 1]
    both = TableFilter(family=2, zone=2, status=Status.ASSURED)
    assert marks(filled, both) == [n for n in everything if n % 7 == 0 and n % 3 == 1 and n % 5 and n % 2]


def test_the_kernel_selects_by_tuple(filled: ConntrackTable) -> None:
    everything = range(600)
    four = [n for n in everything if n % 5]
    by_source = TableFilter(original=TupleFilter(source="10.0.0.8"))
    assert marks(filled, by_source) == [8]
    by_reply = TableFilter(reply=TupleFilter(destination="192.0.2.12"))
    assert marks(filled, by_reply) == [n for n in four if n % 11 == 0 and n % 250 == 11 and n % 6 != 5]
    udp = TableFilter(family=2, original=TupleFilter(protocol=17))
    assert marks(filled, udp) == [n for n in four if n % 6 == 1]
    port = TableFilter(family=2, original=TupleFilter(protocol=17, source_port=8))
    assert marks(filled, port) == [7]
    icmp = TableFilter(family=2, original=TupleFilter(protocol=1, icmp_id=4, icmp_type=8, icmp_code=0))
    assert marks(filled, icmp) == [4]
    icmpv6 = TableFilter(family=10, original=TupleFilter(protocol=58, icmp_id=10))
    assert marks(filled, icmpv6) == [10]
    # Addresses of IPv6 are left out of the question, and compared here.
    six = TableFilter(original=TupleFilter(source="fd00::5"))
    assert marks(filled, six) == [5]
    to_all = TableFilter(original=TupleFilter(destination="fd00::ffff:ff01", protocol=17))
    assert marks(filled, to_all) == [n for n in everything if n % 5 == 0 and n % 6 == 1]
    assert marks(filled, TableFilter(reply=TupleFilter(destination="fd00::a"))) == [10]
    neither = TableFilter(original=TupleFilter(source="fd00::5"), reply=TupleFilter(destination="fd00::a"))
    assert marks(filled, neither) == []
    both = TableFilter(original=TupleFilter(protocol=17))
    assert marks(filled, both) == [n for n in everything if n % 6 == 1]
    with pytest.raises(ValueError, match="family"):
        marks(filled, TableFilter(family=2, original=TupleFilter(source="fd00::5")))


def test_a_dump_is_no_event(filled: ConntrackTable) -> None:
    assert {int(flow.event) for flow in filled.dump(mark=3, mark_mask=3)} == {0}


def test_the_table_can_be_changed_while_it_is_read(filled: ConntrackTable) -> None:
    for flow in filled:
        filled.delete(flow)
    assert len(filled) == 0


def test_counters_are_zeroed_as_they_are_read(table: ConntrackTable, namespace: Namespace) -> None:
    namespace.sysctl("net.netfilter.nf_conntrack_acct", 1)
    namespace.sysctl("net.netfilter.nf_conntrack_timestamp", 1)
    namespace.nft("table inet t { chain c { type filter hook output priority 0; ct state new accept; }; }")
    with namespace.entered(), contextlib.ExitStack() as stack:
        one, other = (stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2))
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        one.sendto(b"x" * 100, other.getsockname())
        other.sendto(b"x", one.getsockname())
    (first,) = table.dump(zero_counters=True)
    assert first.counters_original is not None
    assert first.counters_reply is not None
    assert (first.counters_original.packets, first.counters_reply.packets) == (1, 1)
    assert first.counters_original.bytes == 128
    assert first.timestamp_start is not None
    (second,) = table
    assert second.counters_original is not None
    assert second.counters_original.packets == 0


def test_statistics(filled: ConntrackTable) -> None:
    statistics = filled.statistics()
    assert statistics.entries == 600
    assert statistics.max_entries > 600
    processors = filled.processor_statistics()
    assert [processor.cpu for processor in processors] == list(range(len(processors)))
    assert sum(processor.insert for processor in processors) == 600


def test_a_namespace_by_name_and_by_path(bed: Testbed, filled: ConntrackTable) -> None:
    threads = threading.active_count()
    other = bed.namespace("other")
    with ConntrackTable(other.name) as table:
        assert len(table) == 0
    with ConntrackTable(f"/run/netns/{filled.namespace}") as table:
        assert len(table) == 600
    with other.entered(), ConntrackTable() as table:
        table.create(Flow(original=Tuple("10.0.0.1", "10.0.0.2"), timeout=100))
        assert len(table) == 1
    with pytest.raises(FileNotFoundError):
        ConntrackTable("no-such-namespace")
    with pytest.raises(OSError, match="Invalid argument: '/proc/self/ns/uts'"):
        ConntrackTable("/proc/self/ns/uts")
    assert threading.active_count() == threads


def test_reading_as_nobody_says_what_is_missing(namespace: Namespace) -> None:
    for action in ("list(table)", "table.create_batch(batch)"):
        program = (
            "import pyconntrack; table = pyconntrack.ConntrackTable(); batch = pyconntrack.FlowBatch()\n"
            f"batch.pack({{}}); batch.pack({{}}); {action}"
        )
        python = ["env", f"PYTHONPATH={':'.join(sys.path)}", sys.executable, "-c", program]
        run = namespace.run(["setpriv", "--bounding-set=-net_admin", *python], check=False)
        assert "ConntrackError" in run.stderr
        assert "CAP_NET_ADMIN" in run.stderr


def test_a_whole_filter_stands_alone(namespace: Namespace) -> None:
    with ConntrackTable(namespace.name) as table, pytest.raises(ValueError, match="whole filter"):
        next(table.dump(selected=TableFilter(mark=1), mark=2))
