# SPDX-License-Identifier: GPL-2.0-or-later
"""No rights, no /proc, nobody who reads, an interrupt: one line at most, and never a traceback."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from testbed import Namespace, Testbed, wait_until
from tests.conntrack.events import Listeners, sockets_in_groups
from tests.conntrack.kernel_table import KernelTable
from tests.conntrack.normal import normal
from tests.conntrack.scenes import SCENES
from tests.conntrack.surroundings import without_proc
from tests.conntrack.tools import NOBODY, OURS, C, Result, Tool, result_of

TOOLS = [C, OURS]


@pytest.fixture(scope="module")
def namespace(conntrack_bed: Testbed) -> Iterator[Namespace]:
    """A namespace with many flows."""
    made = conntrack_bed.namespace("surroundings")
    table = KernelTable(made)
    SCENES["many"].prepare(made)
    SCENES["many"].fill(made, table)
    yield made
    table.close()


REFUSED = "Operation failed: sorry, you must be root or get CAP_NET_ADMIN capability to do this\n"
# What the C tool says or prints where ours says nothing but that it is refused.
FALSE = {
    "-C expect": "0\n",
    "-F": "conntrack VERSION: connection tracking table has been emptied.\n",
    "-F expect": "conntrack VERSION: expectation table has been emptied.\n",
    "-E": "mnl_socket_bind: Operation not permitted\nconntrack VERSION: Can't open netlink socket\n",
    "-E expect": "conntrack VERSION: Can't open handler\n",
}
WITHOUT_RIGHTS = """
    -L
    -L -o xml
    -L expect
    -C
    -C expect
    -S
    -G -s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 1 --dport 2
    -I -s 1.1.1.1 -d 2.2.2.2 -p udp --sport 1 --dport 2 -t 100
    -A -s 1.1.1.1 -d 2.2.2.2 -p udp --sport 1 --dport 2 -t 100
    -U -s 1.1.1.1 -m 5
    -D -s 1.1.1.1
    -D
    -F
    -F expect
    -E
    -E expect
    -h
    -L -x
"""


@pytest.mark.parametrize("words", [line.strip() for line in WITHOUT_RIGHTS.strip().splitlines()])
def test_nobody_is_refused_as_by_the_c_tool(words: str, namespace: Namespace) -> None:
    first, second = (
        normal(tool.run(namespace, words.split(), user=NOBODY), words=words.split(), own_table=False)
        for tool in TOOLS
    )
    assert second.status == first.status
    if words in FALSE:
        assert second == Result("", f"conntrack VERSION: {REFUSED}", 1)
        assert FALSE[words] in first.output + first.errors
        return
    assert second.errors == first.errors
    assert words == "-h" or second.output == first.output


@pytest.mark.parametrize(
    "words", ["-L", "-C", "-S", "-L -o xml", "-D -s 9.9.9.9", "-L expect", "-R /dev/null"]
)
def test_without_proc(words: str, namespace: Namespace) -> None:
    mounts = without_proc()
    try:
        first, second = (
            normal(tool.run(namespace, words.split(), mounts=mounts), words=words.split(), own_table=False)
            for tool in TOOLS
        )
    finally:
        mounts.close()
    assert second == first


@pytest.mark.parametrize("words", ["-L", "-L -o xml", "-L -o save", "-L -o extended,id"])
def test_who_reads_one_line_ends_it_quietly(words: str, namespace: Namespace) -> None:
    process = OURS.start(namespace, words.split())
    assert process.stdout is not None and process.stderr is not None and process.stdin is not None
    process.stdin.close()
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(20) in (-signal.SIGPIPE, 0, 1, 128 + signal.SIGPIPE)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: str(tool.name))
def test_a_full_disk_is_told(tool: Tool, namespace: Namespace) -> None:
    with namespace.entered(), open("/dev/full", "wb") as full:  # noqa: PTH123
        ended = subprocess.run(
            [str(tool.directory / "conntrack"), "-L"],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=20,
            check=False,
        )
    assert b"Traceback" not in ended.stderr
    assert ended.stderr


@pytest.mark.parametrize("words", ["-E", "-E expect", "-E -o xml", "-E -o id -e NEW"])
def test_an_interrupt_ends_it_with_the_summary(words: str, namespace: Namespace) -> None:
    with Listeners(namespace, words.split()).listening() as listeners:
        pass
    first, second = listeners.results
    assert second == first
    assert "events have been shown." in second.errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_as_they_end_the_c_tool(number: signal.Signals, namespace: Namespace) -> None:
    ended = []
    for tool in TOOLS:
        process = tool.start(namespace, ["-E"])
        try:
            wait_until(lambda: sockets_in_groups(namespace), 20, "a listener")
            process.send_signal(number)
            output, errors = process.communicate(timeout=20)
        finally:
            process.kill()
        ended.append(normal(result_of(output, errors, process.returncode), words=["-E"], own_table=False))
    assert ended[1] == ended[0]
