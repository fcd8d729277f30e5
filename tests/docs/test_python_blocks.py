# SPDX-License-Identifier: GPL-2.0-or-later
"""Every Python block of the README and of docs/python.md runs, as it stands there."""

from __future__ import annotations

import sys
from ipaddress import ip_address

import pytest

from pyconntrack import ConntrackTable, Flow, Nat, Protocol, Status, TcpInfo, TcpState, Tuple
from testbed import Namespace, Testbed
from tests.docs.blocks import Block, blocks_of

README = blocks_of("README.md", "python")
GUIDE = blocks_of("docs/python.md", "python")


def run_block(block: Block, namespace: Namespace) -> str:
    """Run it as a program of its own, its errors with the line numbers of the document; what it printed."""
    text = "\n" * (block.line - 1) + block.text
    script = namespace.directory / "block.py"
    script.write_text(text)
    return namespace.run([sys.executable, "-W", "error", str(script)]).stdout


def fill(namespace: Namespace) -> None:
    """The table that docs/python.md tells of."""
    established = TcpInfo(TcpState.ESTABLISHED)
    first = Tuple("10.0.1.10", "192.0.2.10", source_port=40000, destination_port=443)
    second = Tuple("10.0.1.11", "192.0.2.10", source_port=40001, destination_port=443)
    query = Tuple("10.0.1.10", "192.0.2.53", Protocol.UDP, source_port=5353, destination_port=53)
    with ConntrackTable(namespace=namespace.name) as table:
        table.create(Flow(first, timeout=600, status=Status.ASSURED, tcp=established, mark=1))
        table.create(Flow(second, timeout=600, tcp=established, source_nat=Nat(ip_address("192.0.2.1"))))
        table.create(Flow(query, timeout=30))


def test_the_readme_has_ten_lines_of_python() -> None:
    assert [len(block.text.splitlines()) for block in README] == [10]


@pytest.mark.parametrize("block", README, ids=lambda block: block.name)
def test_the_readme(block: Block, bed: Testbed) -> None:
    printed = run_block(block, bed.namespace("reader"))
    assert "ESTABLISHED" in printed
    assert printed.splitlines()[-1] == "['NEW', 'UPDATE', 'DESTROY']"


@pytest.mark.parametrize("block", GUIDE, ids=lambda block: block.name)
def test_the_guide(block: Block, bed: Testbed) -> None:
    if "numpy" in block.text:
        pytest.importorskip("numpy")
    namespace = bed.namespace("reader")
    fill(namespace)
    run_block(block, namespace)


def test_the_guide_names_everything_that_is_public() -> None:
    import pyconntrack

    text = "".join(block.text for block in GUIDE)
    for name in ("ConntrackTable", "EventStream", "Flow", "FlowBatch", "TableFilter", "TupleFilter", "Nat"):
        assert name in pyconntrack.__all__
        assert name in text
