# SPDX-License-Identifier: GPL-2.0-or-later
"""Configurations that administrators have: of 2007, of 2010, and Debian's."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from pyconntrack.config import (
    Link,
    Mode,
    Policy,
    Settings,
    Transport,
    load,
)

SEEDS = Path(__file__).parents[2].parent / "shared" / "seeds"
DEBIAN = Path("/etc/conntrackd/conntrackd.conf")
EXAMPLES = Path("/usr/share/doc/conntrackd/examples")

pytestmark = pytest.mark.skipif(not SEEDS.is_dir(), reason="the folder of seed configurations is absent")

NICE = 'old clause "Nice"; the modern form is "Scheduler { Type RR Priority 99 }"'
BACKLOG = 'old clause "Backlog"; remove it'
CHECKSUM = 'old clause "Checksum"; the modern form is "Checksum yes (within Multicast, UDP or TCP)"'
BUFFER = 'old clause "SocketBufferSize"; the modern form is "NetlinkBufferSize 262142"'
GROWTH = 'old clause "SocketBufferSizeMaxGrown"; the modern form is "NetlinkBufferSizeMaxGrowth 655355"'
TRAFFIC = 'old clause "IgnoreTrafficFor"; the modern form is "Filter { Address Ignore { … } }'
PROTOCOL = 'old clause "IgnoreProtocol"; the modern form is "Filter { Protocol Ignore { … } }'
RESEND = 'old clause "ResendBufferSize"; the modern form is "ResendQueueSize 131072"'

WARNINGS_OF_2007 = {
    "alarm/node1": [
        (45, CHECKSUM),
        (102, BACKLOG),
        (108, BUFFER),
        (113, GROWTH),
        (122, TRAFFIC),
        (134, PROTOCOL),
    ],
    "alarm/node2": [
        (45, CHECKSUM),
        (102, BACKLOG),
        (108, BUFFER),
        (113, GROWTH),
        (122, TRAFFIC),
        (134, PROTOCOL),
    ],
    "ftfw/node1": [
        (10, RESEND),
        (40, CHECKSUM),
        (97, BACKLOG),
        (103, BUFFER),
        (108, GROWTH),
        (117, TRAFFIC),
        (129, PROTOCOL),
    ],
    "ftfw/node2": [
        (10, RESEND),
        (39, CHECKSUM),
        (96, BACKLOG),
        (102, BUFFER),
        (107, GROWTH),
        (116, TRAFFIC),
        (128, PROTOCOL),
    ],
}
WARNINGS_OF_2010 = {
    "stats/conntrackd.conf": [(11, NICE), (57, BACKLOG)],
    "stats/conntrackd.conf.orig": [(11, NICE), (46, BACKLOG)],
    "sync/alarm/conntrackd.conf": [(197, NICE), (247, BACKLOG)],
    "sync/alarm/conntrackd.conf.orig": [(197, NICE), (236, BACKLOG)],
    "sync/ftfw/conntrackd.conf": [(221, NICE), (271, BACKLOG)],
    "sync/ftfw/conntrackd.conf.orig": [(206, NICE), (256, BACKLOG)],
    "sync/notrack/conntrackd.conf": [(259, NICE), (309, BACKLOG)],
}


def warned(path: Path, expected: list[tuple[int, str]]) -> Settings:
    """Load a file whose warnings are the expected ones: their lines, and how their text begins."""
    loaded = load(path)
    assert [problem.line for problem in loaded.warnings] == [line for line, _ in expected]
    for problem, (_, text) in zip(loaded.warnings, expected, strict=True):
        assert problem.message.startswith(text)
        assert problem.file == str(path)
    return loaded.settings


def test_every_configuration_of_the_seeds_is_in_the_tables_here() -> None:
    found = {str(path.relative_to(SEEDS)) for path in SEEDS.rglob("conntrackd.conf*")}
    listed = {f"2007/doc/sync/{name}/conntrackd.conf" for name in WARNINGS_OF_2007}
    assert found == listed | {f"2010/doc/{name}" for name in WARNINGS_OF_2010}


@pytest.mark.parametrize("name", WARNINGS_OF_2007)
def test_a_configuration_of_2007_works(name: str) -> None:
    settings = warned(SEEDS / "2007/doc/sync" / name / "conntrackd.conf", WARNINGS_OF_2007[name])
    own = 1 if name.endswith("node1") else 2
    general, sync = settings.general, settings.sync
    assert (general.netlink_buffer_size, general.netlink_buffer_size_max_growth) == (262142, 655355)
    assert general.unix_path == Path("/tmp/sync.sock")
    assert general.unix_backlog == 20
    assert (general.hash_size, general.hash_limit) == (8192, 65535)
    assert general.filter.protocol is not None
    assert general.filter.protocol.policy is Policy.IGNORE
    assert general.filter.protocol.numbers == {17, 1, 2, 112}
    assert general.filter.address is not None
    assert general.filter.address.policy is Policy.IGNORE
    assert general.filter.address.networks == tuple(
        ip_network(text)
        for text in (
            "127.0.0.1",
            f"192.168.0.{own}",
            f"192.168.1.{own}",
            f"192.168.100.{own}00",
            f"192.168.0.{own}00",
            f"192.168.1.{own}00",
        )
    )
    assert general.filter.state is None
    assert sync is not None
    assert sync.commit_timeout == 180
    if name.startswith("alarm"):
        assert (sync.mode, sync.refresh_time, sync.cache_timeout) == (Mode.ALARM, 15, 180)
    else:
        assert (sync.mode, sync.resend_queue_size, sync.ack_window_size) == (Mode.FTFW, 131072, 20)
    assert sync.links == (
        Link(
            Transport.MULTICAST,
            IPv4Address("225.0.0.50"),
            3780,
            "eth2",
            interface_address=IPv4Address(f"192.168.100.{own}00"),
            checksum=True,
            default=True,
        ),
    )


@pytest.mark.parametrize("name", WARNINGS_OF_2010)
def test_a_configuration_of_2010_works(name: str) -> None:
    settings = warned(SEEDS / "2010/doc" / name, WARNINGS_OF_2010[name])
    general = settings.general
    assert general.filter.address is not None
    assert general.filter.address.policy is Policy.IGNORE
    assert ip_network("127.0.0.1") in general.filter.address.networks
    assert general.filter.protocol is not None
    assert general.filter.protocol.policy is Policy.ACCEPT
    if name.startswith("stats"):
        assert settings.sync is None
        assert settings.stats is not None
        assert settings.stats.log_file == Path("/var/log/conntrackd-stats.log")
        assert general.nice == -1
        return
    assert settings.stats is None
    assert settings.sync is not None
    assert settings.sync.mode.value == name.split("/")[1].upper()
    (link,) = settings.sync.links
    assert (link.send_buffer, link.receive_buffer, link.checksum) == (1249280, 1249280, True)
    assert general.log_file == Path("/var/log/conntrackd.log")
    assert (general.nice, general.netlink_buffer_size) == (-20, 2097152)
    assert general.netlink_buffer_size_max_growth == 8388608


@pytest.mark.skipif(not DEBIAN.is_file(), reason="Debian's conntrackd package is not installed")
def test_the_configuration_that_debian_installs_works() -> None:
    loaded = load(DEBIAN)
    assert [problem.line for problem in loaded.warnings] == [13, 16, 17]
    settings = loaded.settings
    assert settings.general.syslog == "daemon"
    assert settings.general.lock_file == Path("/var/lock/conntrackd.lock")
    assert settings.general.unix_path == Path("/var/run/conntrackd.sock")
    assert settings.general.netlink_buffer_size_max_growth == 655355
    assert settings.general.systemd is True
    assert settings.stats is not None
    assert settings.stats.log_file == Path("/var/log/conntrackd-stats.log")


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="Debian's conntrackd package is not installed")
@pytest.mark.parametrize("name", ["stats", "sync/alarm", "sync/ftfw", "sync/notrack"])
def test_the_examples_of_debian_work(name: str) -> None:
    loaded = load(EXAMPLES / name / "conntrackd.conf")
    assert loaded.warnings == []
    assert (loaded.settings.stats is None) == name.startswith("sync")
