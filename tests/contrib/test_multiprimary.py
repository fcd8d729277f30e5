# SPDX-License-Identifier: GPL-2.0-or-later
"""multiprimary.sh: arguments, order of steps, exit status, and the shares that it lets through."""

from __future__ import annotations

import re

import pytest

from testbed import Testbed
from tests.contrib.scripts import Played, guard

SCRIPT = "multiprimary.sh"
PRIMARY = ["-c", "-f", "-R", "-B", "-n"]


@pytest.fixture(params=["iptables", "nftables"])
def node(request: pytest.FixtureRequest, bed: Testbed) -> Played:
    node = Played(bed.namespace("node"))
    node.settings["CLUSTER_FILTER"] = request.param
    return node


def shares(node: Played) -> list[str]:
    """What the filter lets through, for each family in turn."""
    if node.settings["CLUSTER_FILTER"] == "nftables":
        rules = node.namespace.run(["nft", "list", "table", "inet", "conntrackd_cluster"]).stdout
        return ["".join(re.findall(r"chain share_(\d) \{\s+meta", rules))] * 2
    found = []
    for program in ("iptables", "ip6tables"):
        rules = node.namespace.run([program, "-t", "mangle", "-S", "CONNTRACKD-CLUSTER"]).stdout
        assert rules.splitlines()[-1] == "-A CONNTRACKD-CLUSTER -j DROP"
        # A mask with a bit for each share.
        found.append("".join(sorted(re.findall(r"nodemask 0x0*(\d)", rules))))
    return found


def test_shares_come_and_go_with_roles(node: Played) -> None:
    assert node.run(SCRIPT, "start").returncode == 0
    assert node.calls() == []
    assert shares(node) == ["1", "1"]
    for words, called, now in (
        ("backup 1", ["-s", "-t", "-n"], ""),
        ("backup 2", [], ""),
        ("primary 1", PRIMARY, "1"),
        ("primary 1", PRIMARY, "1"),
        ("primary 2", PRIMARY, "12"),
        ("backup 2", [], "1"),
        ("fault 1", ["-t"], ""),
        ("fault 2", ["-t"], ""),
    ):
        assert node.run(SCRIPT, *words.split()).returncode == 0
        assert (words, node.calls()) == (words, called)
        assert (words, shares(node)) == (words, [now, now])
    assert node.run(SCRIPT, "stop").returncode == 0
    assert "luster" not in node.namespace.run(["nft", "list", "ruleset"]).stdout
    assert node.said() == []


def test_start_after_a_start(node: Played) -> None:
    for _ in range(2):
        assert node.run(SCRIPT, "start").returncode == 0
    assert shares(node) == ["1", "1"]
    assert node.said() == []


def test_the_guard_stands_beside_a_primary_too(node: Played) -> None:
    node.run(SCRIPT, "start")
    node.run(SCRIPT, "primary", "1")
    assert "tcp" in guard(node.namespace)
    assert "expires" not in guard(node.namespace)


def test_a_daemon_that_does_not_start(node: Played) -> None:
    node.run(SCRIPT, "start")
    node.fails("-s")
    node.fails("-d")
    assert node.run(SCRIPT, "backup", "1").returncode == 1
    assert shares(node) == ["", ""]


@pytest.mark.parametrize("words", ["", "primary", "primary 3", "primary one", "primary 1 2", "master 1"])
def test_wrong_arguments(bed: Testbed, words: str) -> None:
    node = Played(bed.namespace("node"))
    done = node.run(SCRIPT, *words.split())
    assert done.returncode == 1
    assert done.stdout == "Usage: multiprimary.sh {primary|backup|fault|start|stop} {nodeid}\n"
    assert node.calls() == []
    assert [line.split()[0] for line in node.said()] == ["ERROR:"]


def test_a_filter_that_is_not_there_is_logged(bed: Testbed) -> None:
    node = Played(bed.namespace("node"))
    node.settings["CLUSTER_FILTER"] = "nftables"
    assert node.run(SCRIPT, "primary", "1").returncode == 0
    assert node.calls() == PRIMARY
    assert [line.split(":")[:2] for line in node.said()] == [["ERROR", " the cluster's packet filter"]]
