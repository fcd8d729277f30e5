# SPDX-License-Identifier: GPL-2.0-or-later
"""nfct does what Debian's does: output, messages, exit status, and what the kernel has afterwards.

Each tool runs the same command lines in a namespace of its own.
"""

from __future__ import annotations

import shlex
import shutil

import pytest

from testbed import Namespace, Testbed
from tests.nfct import command_lines
from tests.nfct.tools import C_TOOL, OURS, Outcome, run_tool

GROUPS = {
    "words": command_lines.WORDS,
    "policies": command_lines.POLICIES,
    "numbers": command_lines.NUMBERS,
    "names": command_lines.NAMES,
    "mistakes": command_lines.MISTAKES,
    "defaults": command_lines.DEFAULTS,
    "helpers": command_lines.HELPERS,
}

MISSING = b": this kernel has no nfnetlink_cthelper (try: modprobe nfnetlink_cthelper)\n"
NO_RIGHT = b": this needs CAP_NET_ADMIN in this network namespace (or root)\n"


@pytest.fixture
def pair(bed: Testbed) -> tuple[Namespace, Namespace]:
    if shutil.which("nfct") is None:
        pytest.skip("nfct is not installed")
    return bed.namespace("c"), bed.namespace("ours")


def lines_of(group: str) -> list[list[str]]:
    return [shlex.split(line) for line in group.splitlines()[1:]]


def state(namespace: Namespace) -> Outcome:
    return run_tool(C_TOOL, ["list", "timeout"], namespace)


def test_there_are_many_command_lines() -> None:
    assert sum(len(lines_of(group)) for group in GROUPS.values()) > 250


@pytest.mark.parametrize("name", GROUPS)
def test_same_as_c(name: str, pair: tuple[Namespace, Namespace]) -> None:
    theirs, ours = pair
    for words in lines_of(GROUPS[name]):
        expected, got = run_tool(C_TOOL, words, theirs), run_tool(OURS, words, ours)
        assert got == expected, shlex.join(words)
        assert state(ours) == state(theirs), shlex.join(words)


def test_the_release(pair: tuple[Namespace, Namespace]) -> None:
    """The same but for who has the copyright."""
    theirs, ours = pair
    for words in ("list version", "version list extra", "v l", "'' v"):
        expected, got = (
            run_tool(tool, shlex.split(words), namespace)
            for tool, namespace in ((C_TOOL, theirs), (OURS, ours))
        )
        assert (got.status, got.errors) == (expected.status, expected.errors) == (0, b"")
        differing = [
            number
            for number, pair_of_lines in enumerate(
                zip(expected.output.splitlines(), got.output.splitlines(), strict=True)
            )
            if pair_of_lines[0] != pair_of_lines[1]
        ]
        assert differing == [1]


@pytest.mark.parametrize("words", lines_of(command_lines.UNSUPPORTED), ids=shlex.join)
def test_helpers_where_the_kernel_has_none(words: list[str], pair: tuple[Namespace, Namespace]) -> None:
    theirs, ours = pair
    if run_tool(C_TOOL, ["list", "helper"], theirs).status == 0:
        pytest.skip("this kernel has user-space helpers")
    expected, got = run_tool(C_TOOL, words, theirs), run_tool(OURS, words, ours)
    assert expected.errors == b"nfct vX: netlink error: Invalid argument\n"
    assert got == expected._replace(errors=expected.errors.rstrip(b"\n") + MISSING)


@pytest.mark.parametrize(
    "words", ["list timeout", "add timeout a inet tcp close 1", "default-get timeout inet tcp", "list helper"]
)
def test_without_the_right(words: str, pair: tuple[Namespace, Namespace]) -> None:
    theirs, ours = pair
    powerless = ["setpriv", "--bounding-set", "-net_admin", "--"]
    expected = run_tool([*powerless, *C_TOOL], shlex.split(words), theirs)
    got = run_tool([*powerless, *OURS], shlex.split(words), ours)
    assert expected.errors == b"nfct vX: netlink error: Operation not permitted\n"
    assert got == expected._replace(errors=expected.errors.rstrip(b"\n") + NO_RIGHT)


def test_a_policy_in_use(pair: tuple[Namespace, Namespace]) -> None:
    if shutil.which("iptables") is None:
        pytest.skip("iptables is not installed")
    for tool, namespace in zip((C_TOOL, OURS), pair, strict=True):
        assert run_tool(tool, shlex.split("add timeout used inet udp unreplied 5"), namespace).status == 0
        namespace.run(["iptables", "-t", "raw", "-A", "OUTPUT", "-p", "udp", "-j", "CT", "--timeout", "used"])
    for words in ("delete timeout used", "flush timeout", "get timeout used"):
        expected, got = (
            run_tool(tool, words.split(), namespace)
            for tool, namespace in zip((C_TOOL, OURS), pair, strict=True)
        )
        assert got == expected, words
    assert b".UNREPLIED = 5" in got.output
