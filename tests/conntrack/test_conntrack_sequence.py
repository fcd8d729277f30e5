# SPDX-License-Identifier: GPL-2.0-or-later
# ruff: noqa: E501 (a command line is a line)
"""A table through its life, command by command, as the C project's own check of its command line has it."""

from __future__ import annotations

import shlex

import pytest

from testbed import Testbed
from testbed.namespace import Namespace
from tests.conntrack.kernel_table import KernelTable
from tests.conntrack.normal import normal
from tests.conntrack.scenes import SCENES
from tests.conntrack.tools import OURS, C, Result, Tool

FLOW = "-s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 2005 --dport 21"
EXPECTED = "--orig-src 4.4.4.4 --orig-dst 5.5.5.5 -p tcp --orig-port-src 10240 --orig-port-dst 10241"

LIVES = {
    "a flow": f"""
        -L
        -F
        -I --orig-src 1.1.1.1 --orig-dst 2.2.2.2 --reply-src 2.2.2.2 --reply-dst 1.1.1.1 -p tcp --orig-port-src 2005 --orig-port-dst 21 --reply-port-src 21 --reply-port-dst 2005 --state LISTEN -u SEEN_REPLY -t 500
        -I {FLOW} --state LISTEN -u SEEN_REPLY -t 500
        -L
        -G {FLOW}
        -U {FLOW} --state TIME_WAIT -u ASSURED,SEEN_REPLY -t 500
        -L
        -D {FLOW}
        -D {FLOW}
        -G {FLOW}
        -U {FLOW} -t 500
        -L
        """,
    "a flow, simply": f"""
        -I {FLOW} --state LISTEN -u SEEN_REPLY -t 500
        -G {FLOW}
        -U {FLOW} --state TIME_WAIT -u ASSURED,SEEN_REPLY -t 500
        -G {FLOW}
        -D {FLOW}
        """,
    "a translated flow": f"""
        -I {FLOW} --state LISTEN -u SEEN_REPLY -t 500 --dst-nat 8.8.8.8
        -G {FLOW}
        -L -g
        -U {FLOW} --state TIME_WAIT -u ASSURED,SEEN_REPLY -t 500
        -L -o extended
        -D {FLOW}
        -L
        """,
    "an expectation": f"""
        -L expect
        -F expect
        -I {FLOW} --state LISTEN -u SEEN_REPLY -t 500
        -I expect --orig-src 1.1.1.1 --orig-dst 2.2.2.2 --tuple-src 4.4.4.4 --tuple-dst 5.5.5.5 --mask-src 255.255.255.0 --mask-dst 255.255.255.255 -p tcp --orig-port-src 2005 --orig-port-dst 21 -t 200 --tuple-port-src 10240 --tuple-port-dst 10241 --mask-port-src 10 --mask-port-dst 300
        -G expect --orig-src 4.4.4.4 --orig-dst 5.5.5.5 --p tcp --orig-port-src 10240 --orig-port-dst 10241
        -G expect {EXPECTED}
        -L expect
        -D expect {EXPECTED}
        -L expect
        """,
    "an expectation of a followed flow": f"""
        -I expect --orig-src 10.0.10.1 --orig-dst 10.1.8.1 --tuple-src 4.4.4.4 --tuple-dst 5.5.5.5 --mask-src 255.255.255.0 --mask-dst 255.255.255.255 -p tcp --orig-port-src 1024 --orig-port-dst 21 -t 200 --tuple-port-src 10240 --tuple-port-dst 10241 --mask-port-src 10 --mask-port-dst 300
        -G expect {EXPECTED}
        -L expect
        -D expect {EXPECTED}
        -D expect {EXPECTED}
        -L expect
        -F expect
        -L expect
        """,
}


@pytest.mark.parametrize("life", LIVES)
def test_each_command_does_what_the_c_tool_does(life: str, conntrack_bed: Testbed) -> None:
    namespace = conntrack_bed.namespace("sequence")
    table = KernelTable(namespace)
    SCENES["empty"].prepare(namespace)
    try:
        first, second = (_lived(tool, LIVES[life], life, namespace, table) for tool in (C, OURS))
    finally:
        table.close()
    for expected, found in zip(first, second, strict=True):
        assert found == expected


def _maker(line: str, tool: Tool) -> Tool:
    """Who carries out a line: expectations of the C tool's have no ports, so that ours makes them for both."""
    return OURS if line.startswith("-I expect --orig-src 10.0.10.1 ") else tool


def _lived(
    tool: Tool, lines: str, life: str, namespace: Namespace, table: KernelTable
) -> list[tuple[str, Result, list[str]]]:
    SCENES["expectations" if "followed" in life else "empty"].fill(namespace, table)
    lived = []
    for line in lines.strip().splitlines():
        words = shlex.split(line)
        result = normal(_maker(line.strip(), tool).run(namespace, words), words=words, own_table=True)
        lived.append((line.strip(), result, table.state()))
    return lived
