# SPDX-License-Identifier: GPL-2.0-or-later
"""What the doctor says of the other nodes and of a daemon that runs; the command as it is run."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pyconntrack.cli.doctor.case import Case, counted
from pyconntrack.cli.doctor.finding import Finding, Severity
from pyconntrack.cli.doctor.machine import Machine
from pyconntrack.daemon.statistics import (
    CacheStatistics,
    LinkStatistics,
    NetworkStatistics,
    NodeStatistics,
    RuntimeStatistics,
    Statistics,
    format_statistics,
)
from testbed import Configuration, Conntrackd, MulticastLink, UnicastLink, in_user_namespace, wait_until
from tests.doctor.scene import LINK, Scene, bad
from tests.peer.nodes import OURS

C_DAEMON = Path("/usr/sbin/conntrackd")
needs_c_daemon = pytest.mark.skipif(not C_DAEMON.exists(), reason="Debian's conntrackd is not installed")
PEER_LINK = UnicastLink("link", own="10.9.0.2", peer="10.9.0.1")
MULTICAST = [MulticastLink("link", own=own) for own in ("10.9.0.1", "10.9.0.2")]


@contextmanager
def running(
    scene: Scene, command: list[str], configuration: Configuration, *, far: bool
) -> Iterator[Conntrackd]:
    namespace = scene.two if far else scene.one
    daemon = Conntrackd(namespace, command, configuration, name="two" if far else "one")
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.terminate()


def lines(findings: list[Finding]) -> str:
    return "\n".join(map(str, findings))


def test_a_host_that_is_not_there(scene: Scene) -> None:
    [finding] = scene.examine("peers", configuration=scene.with_link(peer="10.9.0.77"))
    assert finding.severity is Severity.PROBLEM
    assert "10.9.0.77 does not answer on the link" in finding.what


def test_a_host_that_says_nothing_but_its_hardware_address(scene: Scene) -> None:
    with scene.rules(
        "table ip quiet { chain in { type filter hook input priority 0; drop; }; }", at=scene.two
    ):
        findings = scene.examine("peers")
    assert bad(findings) == []
    assert "it sends no ICMP errors" in lines(findings)


def test_a_host_with_another_mtu(scene: Scene) -> None:
    scene.link.set_mtu(3000)
    try:
        [finding] = bad(scene.examine("peers"))
        assert "does not answer to packets of 3000 bytes" in finding.what
        scene.far.set_mtu(3000)
        assert bad(scene.examine("peers")) == []
    finally:
        scene.link.set_mtu(1500)
        scene.far.set_mtu(1500)


def test_the_peer_hears_nothing_of_it(scene: Scene) -> None:
    """All its messages go elsewhere than to the port of its conntrackd."""
    with scene.two.entered():
        heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        heard.bind(("10.9.0.2", LINK.port))
        heard.setblocking(False)
        stream = socket.create_server(("10.9.0.2", LINK.port))
        stream.setblocking(False)
    with heard, stream:
        for transport in ("UDP", "TCP"):
            scene.examine("peers", configuration=scene.with_link(transport=transport))
        with pytest.raises(BlockingIOError):
            heard.recv(1)
        with pytest.raises(BlockingIOError):
            stream.accept()


def test_nodes_that_hear_each_other(scene: Scene) -> None:
    configuration = scene.configuration
    with running(scene, OURS, configuration, far=False):
        findings = scene.examine("daemon", "other nodes", "what was counted", "peers")
        assert "heard of no other node" in lines(bad(findings))
        assert "the daemon runs and answers" in lines(findings)
        far = replace(configuration, links=[PEER_LINK])
        with running(scene, OURS, far, far=True):
            wait_until(lambda: not bad(scene.examine("other nodes")), 15.0, "the other node heard of")
            assert "of this package, was heard of" in lines(scene.examine("other nodes"))
            assert bad(scene.examine("daemon", "rules", "peers", "own addresses")) == []


@needs_c_daemon
def test_a_c_node_says_no_id(scene: Scene) -> None:
    far = replace(scene.configuration, links=[PEER_LINK])
    with (
        running(scene, OURS, scene.configuration, far=False),
        running(scene, [str(C_DAEMON)], far, far=True),
    ):
        wait_until(lambda: not bad(scene.examine("other nodes")), 15.0, "the other node heard of")
        assert "says no id, as the C daemon does" in lines(scene.examine("other nodes"))


@needs_c_daemon
def test_a_c_daemon_that_runs_here(scene: Scene) -> None:
    with running(scene, [str(C_DAEMON)], scene.configuration, far=False) as daemon:
        [finding] = bad(scene.examine("daemon", "other nodes", "what was counted"))
        assert "the C conntrackd runs here" in finding.what
        # It was not asked, in words that it does not know.
        assert re.search(r"local unknown request:\s+0$", daemon.client("-s", "runtime").stdout, re.MULTILINE)


def test_a_group_that_was_joined(scene: Scene) -> None:
    configuration = replace(scene.configuration, links=[MULTICAST[0]])
    with running(scene, OURS, configuration, far=False):
        other = replace(MULTICAST[0], group="225.0.0.51")
        assert bad(scene.examine("group", configuration=configuration)) == []
        elsewhere = replace(configuration, links=[other])
        assert "nobody here has joined" in lines(bad(scene.examine("group", configuration=elsewhere)))


def test_a_tcp_link_that_is_not_connected(scene: Scene) -> None:
    configuration = scene.with_link(transport="TCP")
    with running(scene, OURS, configuration, far=False):
        assert "not connected both ways" in lines(bad(scene.examine("TCP link", configuration=configuration)))
        far = replace(configuration, links=[replace(PEER_LINK, transport="TCP")])
        with running(scene, OURS, far, far=True):
            wait_until(
                lambda: not bad(scene.examine("TCP link", configuration=configuration)),
                15.0,
                "both connected",
            )


def test_what_the_daemon_counted(scene: Scene) -> None:
    configuration = scene.configuration
    with running(scene, OURS, configuration, far=False):
        assert bad(scene.examine("what was counted")) == []
        with scene.two.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("10.9.0.2", 0))
            sender.sendto(b"nonsense" * 4, ("10.9.0.1", LINK.port))
        wait_until(
            lambda: bool(bad(scene.examine("what was counted"))), 10.0, "the malformed message counted"
        )
        assert "malformed messages from the other nodes: 1 since" in lines(
            bad(scene.examine("what was counted"))
        )


def test_the_command(scene: Scene) -> None:
    file = scene.write(scene.configuration)
    done = scene.one.run([*OURS, "-C", str(file), "doctor"], check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok       UDP link on link: the interface is up" in done.stdout.splitlines()
    file = scene.write(scene.with_link(interface="nowhere"))
    done = scene.one.run([*OURS, "--doctor", "-C", str(file)], check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("problem  UDP link on nowhere: there is no such interface -> ")


def test_without_capabilities_it_says_what_it_could_not_see(scene: Scene) -> None:
    file = scene.write(scene.configuration)
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    done = scene.one.run([*powerless, *OURS, "-C", str(file), "doctor"], check=False)
    assert done.stderr == ""
    for words in (
        "this user lacks CAP_NET_ADMIN and CAP_NET_RAW",
        "the kernel's table was not asked for",
        "the firewall's rules were not looked at: to list them takes root",
    ):
        assert f"note     {words}" in done.stdout


def test_it_changes_nothing(scene: Scene) -> None:
    """Rules, sysctls and files are the same before and after."""

    def state() -> tuple[str, ...]:
        rules = scene.one.run(["nft", "list", "ruleset"]).stdout
        settings = scene.one.run(["sysctl", "-a"], check=False).stdout
        kept = [line for line in settings.splitlines() if "netfilter" in line or "forward" in line]
        files = sorted(path.name for path in scene.one.directory.iterdir())
        return rules, "\n".join(kept), *files

    scene.write(scene.configuration)
    before = state()
    scene.examine()
    assert state() == before


def test_other_commands_do_not_load_it() -> None:
    script = (
        "import sys; from pyconntrack.cli.conntrackd import main; main(['-h']);"
        "assert not [name for name in sys.modules if 'doctor' in name]"
    )
    done = subprocess.run([*OURS[:-2], "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_numbers_are_found_in_the_texts_of_the_statistics() -> None:
    runtime = RuntimeStatistics(overruns=3)
    cache = CacheStatistics("internal", no_space=4)
    link = LinkStatistics("UDP", "link", send_errors=5, receive_errors=6)
    network = NetworkStatistics(lost=7, malformed=8)
    external = CacheStatistics("external", no_space=9)
    statistics = Statistics(runtime, cache, external, network=network, links=[link])
    for subject, label, number in (
        ("runtime", "netlink overrun", 3),
        ("cache", "no space left in cache", 4 + 9),
        ("network", "Error send", 5),
        ("network", "Packets lost", 7),
        ("network", "Malformed messages", 8),
    ):
        assert counted(format_statistics(statistics, subject), label) == number


def test_a_node_that_fell_silent(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    node = NodeStatistics("10.9.0.2", 0xABC, True, 77, 0, 0, 0, 0, 0)
    statistics = Statistics(RuntimeStatistics(), CacheStatistics("internal"), nodes=[node])
    monkeypatch.setattr(Case, "ask", lambda *_: format_statistics(statistics, "nodes"))
    [finding] = scene.examine("other nodes")
    assert (finding.severity, "10.9.0.2 was last heard of 77 s ago" in finding.what) == (
        Severity.PROBLEM,
        True,
    )
    alarm = replace(scene.configuration, mode="ALARM")
    assert scene.examine("other nodes", configuration=alarm)[0].severity is Severity.NOTE


@pytest.mark.skipif(in_user_namespace(), reason="no buffers are asked for where they cannot be had")
def test_buffers_that_cannot_be_forced(scene: Scene) -> None:
    with scene.one.entered():
        limit = Machine().sysctl("net.core.rmem_max")
    if limit is None:
        pytest.skip("this kernel shows net.core.rmem_max in the first network namespace only")
    file = scene.write(scene.with_link(buffer_size=2 * limit))
    command = [*OURS, "-C", str(file), "doctor"]
    assert "rmem_max" not in scene.one.run(command).stdout
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    done = scene.one.run([*powerless, *command], check=False)
    assert f"warning  net.core.rmem_max is {limit}, and a link's buffer is to have {2 * limit}" in done.stdout
