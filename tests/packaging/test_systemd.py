# SPDX-License-Identifier: GPL-2.0-or-later
"""The package's unit under a systemd that runs: from its boot to the daemon's end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.waiting import wait_until
from tests.packaging.booted import BootedDebian, control_groups
from tests.packaging.chroot import Chroot

pytestmark = pytest.mark.systemd

UNIT = "conntrackd.service"
DEADLINE = 30.0
CONFIGURATION = """
Sync {
    Mode FTFW {
    }
    UDP {
        IPv4_address 172.31.0.1
        IPv4_Destination_Address 172.31.0.2
        Port 3780
        Interface sync
    }
}
General {
    LogFile yes
    HashLimit 524288
    Scheduler {
        Type FIFO
        Priority 50
    }
}
"""
FLOW = ["-s", "10.0.1.10", "-d", "192.0.2.10", "-p", "tcp", "--sport", "40000", "--dport", "443"]
WATCHDOG = "[Service]\nWatchdogSec=2\n"
# Each is to be carried out, in the order of a fail-over; what they do is the matter of other tests.
COMMANDS = ("-s", "-i", "-e", "-c", "-f", "-R", "-B", "-n", "-t")


@pytest.fixture(scope="module")
def booted(debian: Chroot, package: Path) -> Iterator[BootedDebian]:
    groups = control_groups()
    if groups is None:
        pytest.skip("no control groups of version 2 are mounted")
    debian.apt("install", "systemd", "systemd-sysv", "dbus", "iproute2", str(package))
    with BootedDebian(debian, groups) as machine:
        yield machine


def write_configuration(booted: BootedDebian, text: str) -> None:
    (booted.root / "etc/conntrackd/conntrackd.conf").write_text(text)


def restart(booted: BootedDebian) -> str:
    """Restart the daemon, and give its process id."""
    booted.run("systemctl", "reset-failed", UNIT)
    booted.run("systemctl", "restart", UNIT)
    return booted.show(UNIT, "MainPID")


@pytest.fixture(scope="module")
def replicating(booted: BootedDebian) -> BootedDebian:
    """With one end of a link, and a configuration for it."""
    booted.run("ip", "link", "add", "sync", "type", "veth", "peer", "name", "other")
    booted.run("ip", "link", "set", "other", "up")
    booted.run("ip", "address", "add", "172.31.0.1/24", "dev", "sync")
    booted.run("ip", "link", "set", "sync", "up")
    write_configuration(booted, CONFIGURATION)
    return booted


def test_it_starts_at_boot_with_the_configuration_that_comes_with_it(booted: BootedDebian) -> None:
    assert booted.show(UNIT, "ActiveState") == "active"
    assert "statistics mode" in booted.show(UNIT, "StatusText")
    assert "initialization completed" in booted.run("journalctl", "-u", UNIT)


def test_nothing_that_the_unit_forbids_is_needed(replicating: BootedDebian) -> None:
    process = restart(replicating)
    assert replicating.show(UNIT, "ActiveState") == "active"
    replicating.run("conntrack", "-I", *FLOW, "--state", "ESTABLISHED", "-t", "600")
    wait_until(
        lambda: "1 flows in the internal cache" in replicating.show(UNIT, "StatusText"),
        DEADLINE,
        "the status to tell of the flow",
        lambda: replicating.run("systemctl", "status", UNIT, check=False),
    )
    for command in COMMANDS:
        replicating.run("conntrackd", command)
    assert "SCHED_FIFO" in replicating.run("chrt", "-p", process)
    told = ["journalctl", "-u", UNIT, "-o", "cat", f"_PID={process}"]
    assert "resync requested" in replicating.run(*told, "-p", "notice").splitlines()
    assert replicating.run(*told, "-p", "warning") == ""
    assert replicating.show(UNIT, "MainPID") == process


def test_reload_goes_on_in_a_new_log_file(replicating: BootedDebian) -> None:
    process = restart(replicating)
    log = replicating.root / "var/log/conntrackd.log"
    log.rename(log.with_suffix(".old"))
    replicating.run("systemctl", "reload", UNIT)
    wait_until(log.exists, DEADLINE, "a new log file")
    assert replicating.show(UNIT, "MainPID") == process
    assert replicating.show(UNIT, "ActiveState") == "active"


def test_a_daemon_that_stands_still_is_replaced(replicating: BootedDebian) -> None:
    replicating.run("mkdir", "-p", f"/run/systemd/system/{UNIT}.d")
    replicating.run("sh", "-c", f"printf '{WATCHDOG}' >/run/systemd/system/{UNIT}.d/watchdog.conf")
    replicating.run("systemctl", "daemon-reload")
    process = restart(replicating)
    replicating.run("kill", "-STOP", process)
    wait_until(
        lambda: replicating.show(UNIT, "MainPID") not in ("0", process), DEADLINE, "another daemon's process"
    )
    wait_until(lambda: replicating.show(UNIT, "ActiveState") == "active", DEADLINE, "that to be ready")
    assert replicating.show(UNIT, "NRestarts") == "1"
    replicating.run("conntrackd", "-s")


def test_it_waits_for_an_interface_that_comes_late(replicating: BootedDebian) -> None:
    replicating.run("systemctl", "stop", UNIT)
    late = CONFIGURATION.replace("Interface sync", "Interface late")
    write_configuration(replicating, late.replace("172.31.0.", "172.31.1."))
    replicating.run("systemctl", "reset-failed", UNIT)
    replicating.run("systemctl", "start", "--no-block", UNIT)
    wait_until(lambda: int(replicating.show(UNIT, "NRestarts")) > 1, DEADLINE, "some attempts")
    # By default systemd gives up after five in ten seconds.
    assert replicating.show(UNIT, "StartLimitIntervalUSec") == "0"
    replicating.run("ip", "link", "set", "other", "down")
    replicating.run("ip", "link", "set", "other", "name", "late", "up")
    replicating.run("ip", "address", "add", "172.31.1.1/24", "dev", "late")
    wait_until(lambda: replicating.show(UNIT, "ActiveState") == "active", DEADLINE, "it to be ready")
    write_configuration(replicating, CONFIGURATION)


def test_it_ends_in_good_order(replicating: BootedDebian) -> None:
    restart(replicating)
    replicating.run("systemctl", "stop", UNIT)
    assert replicating.show(UNIT, "ActiveState") == "inactive"
    assert replicating.show(UNIT, "Result") == "success"
    assert "shutdown received" in replicating.run("journalctl", "-u", UNIT)
    left = replicating.run(
        "find", "/run", "/run/lock", "-maxdepth", "1", "-name", "*conntrack*", "!", "-type", "d"
    )
    assert left == ""
