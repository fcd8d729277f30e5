# SPDX-License-Identifier: GPL-2.0-or-later
"""Saved tables load back: what we write, the C tool reads and the kernel holds again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pyconntrack import ConntrackTable, Flow, Nat, Status, TcpInfo, Tuple
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.output import PLAIN, SAVE, WHOLE, format_batch
from pyconntrack.model.flow import SctpInfo
from testbed import Testbed
from testbed.namespace import Namespace

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
A6, B6 = "2001:db8::1", "2001:db8::2"
DAY = 86400
ASSURED = Status.SEEN_REPLY | Status.ASSURED

FLOWS = {
    "tcp": Flow(original=Tuple(A, B, 6, 1000, 80), tcp=TcpInfo(3), status=ASSURED),
    "tcp6": Flow(original=Tuple(A6, B6, 6, 1000, 80), tcp=TcpInfo(7), status=Status.SEEN_REPLY),
    "udp": Flow(original=Tuple(A, B, 17, 1000, 53)),
    "fixed": Flow(original=Tuple(A, B, 17, 1001, 53), status=Status.FIXED_TIMEOUT),
    "udplite": Flow(original=Tuple(A, B, 136, 1000, 53)),
    "icmp": Flow(original=Tuple(A, B, 1, icmp_type=8, icmp_id=77)),
    "icmpv6": Flow(original=Tuple(A6, B6, 58, icmp_type=128, icmp_id=77)),
    "sctp": Flow(original=Tuple(A, B, 132, 1000, 80), sctp=SctpInfo(4, 5, 6)),
    "gre": Flow(original=Tuple(A, B, 47, 0x10, 0x20)),
    "ospf": Flow(original=Tuple(A, B, 89)),
    "zone": Flow(original=Tuple(A, B, 17, 1000, 53), zone=9),
    "original zone": Flow(original=Tuple(A, B, 17, 1002, 53, zone=3)),
    "reply zone": Flow(original=Tuple(A, B, 17, 1003, 53), reply=Tuple(B, A, 17, 53, 1003, zone=4)),
    "source nat": Flow(original=Tuple(A, B, 17, 1004, 53), source_nat=Nat(C, 5000)),  # type: ignore[arg-type]
    "mark": Flow(original=Tuple(A, B, 17, 1006, 53), mark=0xFFFFFFFF),
}


@pytest.fixture
def namespace(bed: Testbed) -> Namespace:
    return bed.namespace("save")


@pytest.fixture
def table(namespace: Namespace) -> Iterator[ConntrackTable]:
    with ConntrackTable(namespace.name) as made:
        yield made


def saved(batch: FlowBatch, flags: int = 0) -> list[str]:
    """The lines, in order, but for what has passed of the timeouts since."""
    lines = format_batch(batch, 0, len(batch), SAVE, flags).decode().splitlines()
    return sorted(re.sub(r"-t (\d+)", lambda found: f"-t {round(int(found[1]), -4)}", line) for line in lines)


@pytest.mark.parametrize("name", FLOWS)
def test_a_saved_flow_is_the_c_tool_s_and_loads_back(
    table: ConntrackTable, namespace: Namespace, tmp_path: Path, name: str
) -> None:
    wanted = FLOWS[name]
    table.create(replace(wanted, timeout=2 * DAY))
    before = table.dump_batch()
    lines = saved(before)
    listed = namespace.run(["conntrack", "-L", "-o", "save"]).stdout
    assert lines == [re.sub(r"-t (\d+)", lambda found: f"-t {round(int(found[1]), -4)}", listed.rstrip("\n"))]
    (tmp_path / "saved").write_bytes(format_batch(before, 0, 1, SAVE, WHOLE))
    table.flush()
    namespace.run(["conntrack", "-R", str(tmp_path / "saved")])
    after = table.dump_batch()
    assert saved(after, WHOLE) == saved(before, WHOLE)
    forget_time = re.compile(rb"^(\S+ +\d+) \d+")
    shown = [forget_time.sub(rb"\1", format_batch(batch, 0, 1, PLAIN)) for batch in (before, after)]
    assert shown[0] == shown[1]
