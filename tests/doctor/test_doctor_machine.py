# SPDX-License-Identifier: GPL-2.0-or-later
"""Each fault of configuration, kernel, sysctls and links, made real, is found; a sound machine has none."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager as Context
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyconntrack.cli.doctor import check_sysctls
from pyconntrack.cli.doctor.examination import CHECKS
from pyconntrack.cli.doctor.finding import Severity
from pyconntrack.cli.doctor.machine import Machine
from testbed import MulticastLink, SysctlMissingError
from tests.doctor.scene import LINK, Scene, bad, set_down

NOTE, WARNING, PROBLEM = Severity.NOTE, Severity.WARNING, Severity.PROBLEM


def test_a_sound_machine_has_nothing_bad(scene: Scene) -> None:
    findings = scene.examine()
    assert bad(findings) == []
    assert len(findings) > 20
    assert all(finding.advice for finding in findings if finding.severity > Severity.OK)
    severities = [finding.severity for finding in findings]
    assert severities == sorted(severities, reverse=True)


def test_every_check_has_a_subject_of_its_own() -> None:
    subjects = [check.subject for check in CHECKS]
    assert len(set(subjects)) == len(subjects) == len({check.function for check in CHECKS})


def expect(findings: list[object], severity: Severity, words: str) -> None:
    """Exactly one finding has the words, and it is so bad."""
    found = [line for line in map(str, findings) if words in line]
    assert len(found) == 1, (words, [str(each) for each in findings])
    assert found[0].startswith(severity.name.lower()), found[0]
    assert severity is Severity.OK or " -> " in found[0]


SYSCTLS = [
    ("events", "net.netfilter.nf_conntrack_events", 0, PROBLEM, "tells the daemon nothing"),
    ("events", "net.netfilter.nf_conntrack_events", 2, NOTE, "ends are noticed late"),
    ("tcp_loose", "net.netfilter.nf_conntrack_tcp_loose", 1, NOTE, "picked up in its middle"),
    ("TCP windows", "net.netfilter.nf_conntrack_tcp_be_liberal", 1, NOTE, "outside of the window"),
    ("forwarding", "net.ipv4.ip_forward", 0, WARNING, "forwards nothing"),
    ("reverse paths", "net.ipv4.conf.inside.rp_filter", 1, NOTE, "rp_filter is strict on inside"),
]


@pytest.mark.parametrize(("subject", "name", "value", "severity", "words"), SYSCTLS)
def test_sysctls(scene: Scene, subject: str, name: str, value: int, severity: Severity, words: str) -> None:
    assert {finding.severity for finding in scene.examine(subject)} == {Severity.OK}
    try:
        with scene.sysctl(name, value):
            expect([*scene.examine(subject)], severity, words)
    except SysctlMissingError as error:
        pytest.skip(str(error))


def test_strict_reverse_paths_where_both_nodes_carry_traffic(scene: Scene) -> None:
    both = replace(scene.configuration, mode_lines=["DisableExternalCache yes"])
    with scene.sysctl("net.ipv4.conf.inside.rp_filter", 1):
        expect([*scene.examine("reverse paths", configuration=both)], WARNING, "halves of a flow")


def test_ipv6_that_is_not_forwarded(scene: Scene) -> None:
    scene.inside.add_address("2001:db8::1/64")
    try:
        assert [f.severity for f in scene.examine("forwarding")] == [Severity.OK]
        with scene.sysctl("net.ipv6.conf.all.forwarding", 0):
            expect([*scene.examine("forwarding")], NOTE, "2001:db8::1")
    finally:
        scene.inside.remove_address("2001:db8::1/64")


STATS = "Stats {{ LogFile {0}.flows }} General {{ LockFile {0}.lock UNIX {{ Path {0}.ctl }} }}"


def test_accounting_of_the_statistics_mode(scene: Scene) -> None:
    text = STATS.format(scene.one.directory / "one")
    with scene.sysctl("net.netfilter.nf_conntrack_acct", 0):
        expect([*scene.examine("accounting", configuration=text)], WARNING, "packets and bytes")
    with scene.sysctl("net.netfilter.nf_conntrack_timestamp", 0):
        expect([*scene.examine("accounting", configuration=text)], NOTE, "start and duration")
    with (
        scene.sysctl("net.netfilter.nf_conntrack_acct", 1),
        scene.sysctl("net.netfilter.nf_conntrack_timestamp", 1),
    ):
        assert {f.severity for f in scene.examine("accounting", configuration=text)} == {Severity.OK}


CLAUSES = [
    ("size of the table", {"hash_limit": 1000}, WARNING, "HashLimit 1000 is less than"),
    ("CommitTimeout", {"mode_lines": ["CommitTimeout 60"]}, NOTE, "CommitTimeout 60"),
    (
        "event buffer",
        {"netlink_buffer_size": 65536, "netlink_buffer_growth": 65536},
        NOTE,
        "bursts of events",
    ),
    ("own addresses", {"ignore_addresses": ["127.0.0.1"]}, NOTE, "10.9.0.1"),
    ("files", {"general_lines": ["LogFile /nowhere/at/all.log"]}, PROBLEM, "no directory /nowhere/at"),
    ("helpers", {"options": ["ExpectationSync { ssdp }"]}, WARNING, "the helper ssdp"),
    ("configuration", {"general_lines": ["HashSize 1"]}, WARNING, "HashSize"),
    ("redundancy", {"links": [LINK, replace(LINK, port=3781)]}, WARNING, "they fail together"),
    ("configuration", {"hash_limit": -1}, PROBLEM, "HashLimit"),
]


@pytest.mark.parametrize(("subject", "changes", "severity", "words"), CLAUSES)
def test_clauses(
    scene: Scene, subject: str, changes: dict[str, object], severity: Severity, words: str
) -> None:
    assert bad(scene.examine(subject)) == []
    configuration = replace(scene.configuration, **changes)  # type: ignore[arg-type]
    expect([*scene.examine(subject, configuration=configuration)], severity, words)


def test_what_does_not_need_a_configuration_is_looked_at_without(scene: Scene) -> None:
    findings = scene.examine(configuration="Sync {")
    assert findings[0].severity is PROBLEM
    assert any("kernel" in finding.what for finding in findings)


LINKS = [
    ("interfaces", {"interface": "nowhere"}, PROBLEM, "there is no such interface"),
    ("addresses", {"own": "10.9.0.9"}, PROBLEM, "does not have the address 10.9.0.9"),
    ("addresses", {"own": "10.8.0.1"}, PROBLEM, "the address 10.8.0.1 is on inside"),
    ("routes", {"peer": "10.8.0.2"}, WARNING, "the way to 10.8.0.2 is by inside"),
    ("routes", {"peer": "198.51.100.1"}, PROBLEM, "no route to the peer"),
    ("routes", {"peer": "10.8.0.1"}, PROBLEM, "one of this machine's own"),
]


@pytest.mark.parametrize(("subject", "changes", "severity", "words"), LINKS)
def test_links(
    scene: Scene, subject: str, changes: dict[str, object], severity: Severity, words: str
) -> None:
    expect([*scene.examine(subject, configuration=scene.with_link(**changes))], severity, words)


def test_a_receive_buffer_that_cannot_be_had(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that a link is to have by itself is worth a note; one that was asked for, a warning."""
    largest = int(Path("/proc/sys/net/core/rmem_max").read_text())
    monkeypatch.setattr(check_sysctls, "_forces_buffers", lambda size: False)
    monkeypatch.setattr(check_sysctls, "RECEIVE_BUFFER", largest + 1)
    for size, severity in ((0, NOTE), (largest + 2, WARNING)):
        configuration = scene.with_link(buffer_size=size)
        words = f"net.core.rmem_max is {largest}"
        expect([*scene.examine("link buffers", configuration=configuration)], severity, words)
    monkeypatch.setattr(check_sysctls, "_forces_buffers", lambda size: True)
    assert bad(scene.examine("link buffers", configuration=scene.with_link(buffer_size=0))) == []


def test_links_over_ipv6_are_sound(scene: Scene) -> None:
    configuration = scene.with_link(own="fd09::1", peer="fd09::2")
    assert bad(scene.examine("addresses", "routes", "rules", "peers", configuration=configuration)) == []


@contextlib.contextmanager
def mtu(scene: Scene, size: int) -> Iterator[None]:
    scene.link.set_mtu(size)
    try:
        yield
    finally:
        scene.link.set_mtu(1500)


@contextlib.contextmanager
def default_route(scene: Scene) -> Iterator[None]:
    scene.one.ip("route", "add", "default", "via", "10.9.0.2")
    try:
        yield
    finally:
        scene.one.ip("route", "del", "default")


STATES: list[tuple[str, Callable[[Scene], Context[None]], Severity, str]] = [
    ("interfaces", lambda scene: set_down(scene.link), PROBLEM, "the interface is down"),
    ("interfaces", lambda scene: set_down(scene.far), PROBLEM, "no carrier"),
    ("MTU", lambda scene: mtu(scene, 1400), NOTE, "its MTU is 1400 bytes"),
    ("MTU", lambda scene: mtu(scene, 500), WARNING, "its MTU is 500 bytes only"),
    ("default route", default_route, NOTE, "the default route is by it"),
]


@pytest.mark.parametrize(("subject", "fault", "severity", "words"), STATES)
def test_states_of_the_link(
    scene: Scene, subject: str, fault: Callable[[Scene], Context[None]], severity: Severity, words: str
) -> None:
    assert bad(scene.examine(subject)) == []
    with fault(scene):
        expect([*scene.examine(subject)], severity, words)
    scene.link.up()


def test_groups(scene: Scene) -> None:
    group = MulticastLink("link", own="10.9.0.1", group="224.0.0.18")
    configuration = replace(scene.configuration, links=[group])
    expect([*scene.examine("routes", configuration=configuration)], WARNING, "belongs to another protocol")
    sound = replace(scene.configuration, links=[replace(group, group="225.0.0.50")])
    assert scene.examine("routes", configuration=sound) == []
    expect([*scene.examine("peers", configuration=sound)], NOTE, "cannot be known without a daemon")


def test_whose_the_lock_is(scene: Scene) -> None:
    lock = scene.one.directory / "one.lock"
    expect([*scene.examine("daemon")], NOTE, "no daemon runs, so")
    with lock.open("w") as file:
        expect([*scene.examine("daemon")], NOTE, "one that ended left its lock file")
        fcntl.flock(file, fcntl.LOCK_EX)
        expect([*scene.examine("daemon")], PROBLEM, f"process {os.getpid()}")
    lock.unlink()


def test_little_space(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def little(path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=1 << 10, f_frsize=4096, f_blocks=1 << 20)

    monkeypatch.setattr(os, "statvfs", little)
    assert "4 MiB left" in str(bad(scene.examine("files"))[0])


@pytest.mark.parametrize(
    ("answer", "words"), [(0, "is synchronized"), (5, "not synchronized"), (-1, "not known")]
)
def test_the_clock(scene: Scene, monkeypatch: pytest.MonkeyPatch, answer: int, words: str) -> None:
    assert "clock" in scene.examine("clock")[0].what
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(adjtimex=lambda _: answer))
    assert words in scene.examine("clock")[0].what


# What a namespace cannot have of its own is shown by files in another root.


def machine_with(root: Path, **sysctls: int) -> Machine:
    for name, value in sysctls.items():
        file = root / "proc/sys/net/netfilter" / f"nf_conntrack_{name}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    return Machine(root)


@pytest.mark.parametrize(
    ("sysctls", "subject", "severity", "words"),
    [
        ({"max": 1000, "count": 800}, "size of the table", WARNING, "800 of 1000 flows"),
        ({"max": 1000, "count": 950}, "size of the table", PROBLEM, "950 of 1000 flows"),
        ({"max": 1000, "count": 799}, "size of the table", Severity.OK, "hold what the table can"),
        ({"max": 1000, "buckets": 100}, "buckets", WARNING, "10 times"),
        ({"max": 1000, "buckets": 250}, "buckets", Severity.OK, "buckets is 250"),
    ],
)
def test_the_table(
    scene: Scene, tmp_path: Path, sysctls: dict[str, int], subject: str, severity: Severity, words: str
) -> None:
    expect([*scene.examine(subject, machine=machine_with(tmp_path, **sysctls))], severity, words)


def test_the_options_of_the_kernel(scene: Scene, tmp_path: Path) -> None:
    config = tmp_path / "proc/config.gz"
    config.parent.mkdir()
    machine = Machine(tmp_path)
    expect([*scene.examine("kernel's options", machine=machine)], NOTE, "are not told")
    options = "CONFIG_NF_CONNTRACK=y\nCONFIG_NF_CT_NETLINK=m\n# CONFIG_NF_CONNTRACK_EVENTS is not set\n"
    config.write_bytes(gzip.compress(options.encode()))
    expect([*scene.examine("kernel's options", machine=machine)], PROBLEM, "CONFIG_NF_CONNTRACK_EVENTS")
    config.unlink()
    boot = tmp_path / "boot" / f"config-{os.uname().release}"
    boot.parent.mkdir()
    boot.write_text(options + "CONFIG_NF_CONNTRACK_EVENTS=y\n")
    assert [f.severity for f in scene.examine("kernel's options", machine=machine)] == [Severity.OK]


def test_a_helper_is_built_in_or_loaded(scene: Scene, tmp_path: Path) -> None:
    configuration = replace(scene.configuration, options=["ExpectationSync { ftp }"])
    machine = Machine(tmp_path)
    expect([*scene.examine("helpers", configuration=configuration, machine=machine)], WARNING, "modprobe")
    (tmp_path / "sys/module/nf_conntrack_ftp").mkdir(parents=True)
    assert bad(scene.examine("helpers", configuration=configuration, machine=machine)) == []
