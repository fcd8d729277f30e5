# SPDX-License-Identifier: GPL-2.0-or-later
"""The Filter clause: of the same flows, our daemon holds those that the C daemon beside it holds."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from testbed import Configuration, Conntrackd, Testbed, UnicastLink, find_daemon, wait_until

C_DAEMON = Path("/usr/sbin/conntrackd")
OURS = [sys.executable, "-m", "pyconntrack.cli.conntrackd"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

ASSURED = "-u SEEN_REPLY,ASSURED"
FLOWS = [
    f"-p tcp -s 10.1.0.1 -d 10.2.0.1 --sport 1 --dport 80 --state ESTABLISHED {ASSURED}",
    f"-p tcp -s 10.2.0.1 -d 10.1.0.1 --sport 2 --dport 80 --state ESTABLISHED {ASSURED}",
    f"-p tcp -s 10.3.0.1 -d 10.4.0.1 --sport 3 --dport 80 --state ESTABLISHED {ASSURED}",
    f"-p tcp -s 10.3.0.1 -d 10.4.0.1 --sport 4 --dport 80 --state ESTABLISHED {ASSURED} --dst-nat 10.1.0.1",
    f"-p tcp -s 10.3.0.1 -d 10.4.0.1 --sport 5 --dport 80 --state ESTABLISHED {ASSURED} --src-nat 10.1.0.1",
    f"-p tcp -s 10.3.0.1 -d 10.1.0.1 --sport 6 --dport 80 --state ESTABLISHED {ASSURED} --dst-nat 10.4.0.1",
    f"-p tcp -s 10.3.0.1 -d 10.4.0.1 --sport 7 --dport 80 --state TIME_WAIT {ASSURED}",
    f"-p tcp -s 10.1.0.77 -d 10.4.0.1 --sport 8 --dport 80 --state CLOSE_WAIT {ASSURED}",
    f"-p tcp -s fd00::1 -d fd00::2 --sport 9 --dport 80 --state ESTABLISHED {ASSURED}",
    f"-p tcp -s fd00::77 -d fd00::2 --sport 10 --dport 80 --state ESTABLISHED {ASSURED}",
    "-p udp -s 10.3.0.1 -d 10.4.0.1 --sport 11 --dport 53",
    "-p udp -s 10.1.0.1 -d 10.4.0.1 --sport 12 --dport 53",
    "-p icmp -s 10.3.0.1 -d 10.4.0.1 --icmp-type 8 --icmp-code 0 --icmp-id 13",
]


@pytest.mark.skipif(not C_DAEMON.exists(), reason="Debian's conntrackd is not installed")
@pytest.mark.parametrize(
    "clauses",
    [
        "Protocol Accept { TCP }",
        "Protocol Ignore { TCP }",
        "Address Accept { IPv4_address 10.1.0.1 }",
        "Address Ignore { IPv4_address 10.1.0.1 IPv6_address fd00::1 }",
        "Address Accept { IPv4_address 10.1.0.0/24 }",
        "Address Ignore { IPv4_address 10.1.0.0/24 IPv4_address 10.3.0.0/16 }",
        "Address Accept { IPv6_address fd00::/120 }",
        "State Accept { ESTABLISHED TIME_WAIT for TCP }",
        "State Ignore { ESTABLISHED for TCP }",
        "Protocol Accept { TCP } Address Ignore { IPv4_address 10.1.0.1 }"
        " State Accept { ESTABLISHED for TCP }",
    ],
)
@pytest.mark.parametrize("before", [True, False], ids=["dumped", "events"])
def test_both_daemons_hold_the_same_flows(bed: Testbed, clauses: str, before: bool) -> None:
    namespace = bed.namespace("one")
    create = [["conntrack", "-I", "-t", "1000", *line.split()] for line in FLOWS]
    daemons = [
        Conntrackd(namespace, command, configuration(clauses, port), name=name, environment=ENVIRONMENT)
        for name, command, port in (("ours", OURS, 3780), ("reference", find_daemon(C_DAEMON), 3781))
    ]
    if before:
        for command in create:
            namespace.run(command)
    for daemon in daemons:
        daemon.start()
    if not before:
        for command in create:
            namespace.run(command)
    ours, reference = daemons
    wait_until(
        lambda: held(ours) == held(reference) != set(),
        5.0,
        "the same flows in both",
        lambda: f"ours: {held(ours)}\nthe C daemon's: {held(reference)}",
    )
    assert len(held(ours)) < len(FLOWS)


def configuration(clauses: str, port: int) -> Configuration:
    made = Configuration([UnicastLink("lo", "127.0.0.1", "127.0.0.2", port=port)])
    made.general_lines = ["Filter From Userspace {", clauses, "}"]
    return made


def held(daemon: Conntrackd) -> set[int]:
    """The flows, by their number, which is their first port or id."""
    lines = [line for line in daemon.client("-i").stdout.splitlines() if "127.0.0" not in line]
    return {int(number) for line in lines for number in re.findall(r"(?:sport|id)=(\d+)", line)[:1]}
