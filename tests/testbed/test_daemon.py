# SPDX-License-Identifier: GPL-2.0-or-later
"""A conntrackd under the test bed, with Debian's one as the specimen."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import (
    Configuration,
    Conntrackd,
    DaemonDiedError,
    MulticastLink,
    Testbed,
    UnicastLink,
    find_daemon,
    veth,
    wait_until,
)

_C_DAEMON = Path("/usr/sbin/conntrackd")
_FLOW = (
    "--create -p tcp -s 10.1.0.1 -d 10.2.0.1 --sport 1234 --dport 80 --state ESTABLISHED -t 100 -u ASSURED"
)
_OWN = [("10.9.0.1", "10.9.0.2"), ("fd00:9::1", "fd00:9::2")]

Links = Callable[[int], UnicastLink | MulticastLink]

needs_c_daemon = pytest.mark.skipif(not _C_DAEMON.exists(), reason="Debian's conntrackd is not installed")


def _pair(bed: Testbed, links: Links, configuration: Configuration) -> list[Conntrackd]:
    namespaces = [bed.namespace("one"), bed.namespace("two")]
    veth(
        *(namespaces[0], "link", namespaces[1], "link"),
        first_addresses=[f"{_OWN[0][0]}/24", f"{_OWN[1][0]}/64"],
        second_addresses=[f"{_OWN[0][1]}/24", f"{_OWN[1][1]}/64"],
    )
    daemons = []
    for index, namespace in enumerate(namespaces):
        configuration.links = [links(index)]
        daemons.append(Conntrackd(namespace, find_daemon(_C_DAEMON), configuration))
    for daemon in daemons:
        daemon.start()
    return daemons


def _unicast(family: int) -> Links:
    return lambda index: UnicastLink("link", _OWN[family][index], _OWN[family][1 - index])


@needs_c_daemon
@pytest.mark.parametrize("mode", ["FTFW", "NOTRACK"])
@pytest.mark.parametrize(
    "links",
    [
        pytest.param(_unicast(0), id="UDP-IPv4"),
        pytest.param(_unicast(1), id="UDP-IPv6"),
        pytest.param(lambda index: MulticastLink("link", _OWN[0][index]), id="multicast-IPv4"),
        pytest.param(lambda index: MulticastLink("link", group="ff15::3780"), id="multicast-IPv6"),
    ],
)
def test_a_pair_replicates(bed: Testbed, links: Links, mode: str) -> None:
    configuration = Configuration(
        [],
        accept_protocols=["TCP"],
        ignore_addresses=["127.0.0.1", "fd00:9::/64"],
        accept_states=["ESTABLISHED"],
    )
    configuration.mode = "FTFW" if mode == "FTFW" else "NOTRACK"
    one, two = _pair(bed, links, configuration)
    one.namespace.run(["conntrack", *_FLOW.split()])
    wait_until(lambda: "sport=1234" in two.client("-e").stdout, 10.0, "the flow at the peer", two.log)
    assert [daemon.terminate() for daemon in (one, two)] == [0, 0]


@needs_c_daemon
def test_a_killed_daemon_is_seen_as_dead(bed: Testbed) -> None:
    one, _ = _pair(bed, _unicast(0), Configuration([]))
    assert one.process.cpu_seconds() >= 0
    assert one.process.resident_bytes() > 100_000
    assert one.kill() == -signal.SIGKILL
    assert one.client("-s", check=False).returncode != 0
    with pytest.raises(DaemonDiedError, match="ended with status -9"):
        one.wait_ready()


@needs_c_daemon
def test_a_daemon_that_refuses_its_configuration_is_reported_with_its_words(bed: Testbed) -> None:
    daemon = Conntrackd(bed.namespace("one"), find_daemon(_C_DAEMON), "Nonsense {\n}\n")
    with pytest.raises(DaemonDiedError, match="Nonsense"):
        daemon.start()


def test_a_missing_program_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="/nowhere/conntrackd"):
        find_daemon("/nowhere/conntrackd")
