# SPDX-License-Identifier: GPL-2.0-or-later
"""By what a system runs the daemon: init script, unit, default configuration, logrotate, tmpfiles."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import (
    CommandFailedError,
    Configuration,
    Conntrackd,
    Testbed,
    UnicastLink,
    run_command,
    wait_until,
)
from tests.contrib.scripts import CONTRIB, OWN_DAEMON, ROOT

SYSTEM = CONTRIB / "system"
UNIT = ROOT / "docs" / "conntrackd.service"
LINK = UnicastLink("lo", "127.0.0.1", "127.0.0.2")
EXPOSURE = 4.0
"""What the unit's rating must stay below."""


def program(name: str) -> str:
    """Where it is; skips where it is not installed."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


class Service:
    """The init script with the settings that /etc/default/conntrackd would have."""

    def __init__(self, bed: Testbed, configuration: Configuration | str | None = None) -> None:
        self.daemon = Conntrackd(
            bed.namespace("host"), [str(OWN_DAEMON)], configuration or Configuration([LINK])
        )
        self.settings = self.daemon.configuration_file.with_suffix(".default")
        self.settings.write_text(
            f"DAEMON={OWN_DAEMON}\nCONFIG={self.daemon.configuration_file}\nSTOP_SECONDS=5\n"
        )

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        script = ["env", f"CONNTRACKD_DEFAULT={self.settings}", str(SYSTEM / "conntrackd.init"), *arguments]
        return run_command(self.daemon.namespace.command(script), timeout=60.0, check=False)

    def statuses(self, *actions: str) -> list[int]:
        return [self(action).returncode for action in actions]

    def pid(self) -> int:
        return int(self.daemon.lock.read_text())


def command_line(pid: int) -> str:
    """Empty for a process that has ended."""
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_text() if path.exists() else ""


@pytest.fixture
def service(bed: Testbed) -> Service:
    return Service(bed)


def test_start_status_restart_stop(service: Service) -> None:
    assert service.statuses("status", "stop", "try-restart", "reload") == [3, 0, 0, 7]
    assert service.statuses("start", "status") == [0, 0]
    first = service.pid()
    assert service.statuses("start") == [0]
    assert service.pid() == first
    assert service.statuses("restart", "status") == [0, 0]
    second = service.pid()
    assert second != first
    assert not command_line(first)
    assert service.statuses("force-reload", "status") == [0, 0]
    assert service.pid() != second
    assert service.statuses("stop", "status") == [0, 3]
    assert not service.daemon.socket.exists()
    assert not service.daemon.lock.exists()


def test_reload_opens_the_logs_anew(service: Service) -> None:
    assert service.statuses("start") == [0]
    log = service.daemon.log_file
    log.rename(log.with_suffix(".former"))
    assert service.statuses("reload") == [0]
    wait_until(log.exists, 10.0, "a new log")
    assert service.statuses("stop") == [0]


def test_after_a_crash(service: Service) -> None:
    assert service.statuses("start") == [0]
    os.kill(service.pid(), signal.SIGKILL)
    wait_until(lambda: not command_line(service.pid()), 10.0, "its end")
    assert service.statuses("status", "stop", "start", "status", "stop") == [3, 0, 0, 0, 0]


def test_a_daemon_that_does_not_end_is_killed(service: Service) -> None:
    assert service.statuses("start") == [0]
    pid = service.pid()
    service.settings.write_text(service.settings.read_text() + "STOP_SECONDS=1\n")
    os.kill(pid, signal.SIGSTOP)
    assert service.statuses("stop") == [0]
    wait_until(lambda: not command_line(pid), 10.0, "its end")


def test_a_bad_configuration_ends_nothing(service: Service) -> None:
    assert service.statuses("start") == [0]
    pid = service.pid()
    good = service.daemon.configuration_file.read_text()
    service.daemon.configuration_file.write_text(good + "Genral {\n}\n")
    assert service.statuses("restart") == [1]
    assert service.pid() == pid
    service.daemon.configuration_file.write_text(good)
    assert service.statuses("restart", "stop") == [0, 0]


def test_wrong_words_and_missing_parts(service: Service) -> None:
    done = service("begin")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: ")
    service.daemon.configuration_file.rename(service.daemon.configuration_file.with_suffix(".away"))
    assert service.statuses("start", "stop") == [6, 0]
    service.settings.write_text("DAEMON=/nowhere/conntrackd\n")
    assert service.statuses("start", "stop") == [5, 0]


def default_configuration(directory: Path) -> str:
    """As installed, but for the paths that are the test's own."""
    text = (SYSTEM / "conntrackd.conf").read_text()
    text, count = re.subn(r"(?<=Stats \{\n)    LogFile yes", f"    LogFile {directory}/host-stats.log", text)
    assert count == 1
    own = (
        f"LogFile {directory}/host.log\nLockFile {directory}/host.lock\nUNIX {{ Path {directory}/host.ctl }}"
    )
    text, count = re.subn(r"(?<=524288)(.*\n)    LogFile yes", rf"\1{own}", text)
    assert count == 1
    return text


@pytest.fixture
def installed(bed: Testbed) -> Iterator[Service]:
    """The daemon of the default configuration, started by the init script."""
    service = Service(bed, "")
    service.daemon.configure(default_configuration(service.daemon.namespace.directory))
    assert service.statuses("start") == [0]
    yield service
    assert service.statuses("stop") == [0]


def test_default_configuration_is_correct() -> None:
    done = subprocess.run(
        [OWN_DAEMON, "-C", SYSTEM / "conntrackd.conf", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_logrotate_rotates_what_the_daemon_then_opens_anew(installed: Service) -> None:
    """Its log and the ended flows, of the default configuration, under real logrotate."""
    daemon = installed.daemon
    directory = daemon.namespace.directory
    ended = directory / "host-stats.log"
    text = (SYSTEM / "conntrackd.logrotate").read_text()
    for old, new in (
        ("/var/log/conntrackd.log", str(daemon.log_file)),
        ("/var/log/conntrackd-stats.log", str(ended)),
        ("/etc/conntrackd/conntrackd.conf", str(daemon.configuration_file)),
    ):
        assert old in text
        text = text.replace(old, new)
    snippet = directory / "host.logrotate"
    snippet.write_text(text)
    state = directory / "host.logrotate.state"
    one_flow_ends(installed)
    wait_until(lambda: "tcp" in ended.read_text(), 20.0, "a line for the flow that ended", daemon.log)
    rotate = [program("logrotate"), "--force", "--state", str(state), str(snippet)]
    done = run_command(rotate, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "tcp" in ended.with_suffix(".log.1").read_text()
    one_flow_ends(installed)
    wait_until(lambda: "tcp" in ended.read_text(), 20.0, "the next one's line in the new file", daemon.log)
    for path in (ended, daemon.log_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # Once more: the former one is compressed.
    assert run_command(rotate, check=False).returncode == 0
    assert ended.with_suffix(".log.2.gz").exists()


def one_flow_ends(service: Service) -> None:
    flow = ["-p", "tcp", "-s", "10.9.0.1", "-d", "10.9.0.2", "--sport", "1", "--dport", "2"]
    run = service.daemon.namespace.run
    run(["conntrack", "-I", *flow, "--state", "ESTABLISHED", "--timeout", "100"])
    wait_until(lambda: "10.9.0.1" in service.daemon.client("-i").stdout, 20.0, "the flow at the daemon")
    run(["conntrack", "-D", *flow])


def test_tmpfiles_makes_what_the_scripts_need(tmp_path: Path) -> None:
    systemd_tmpfiles = program("systemd-tmpfiles")
    left = [tmp_path / "run" / "conntrackd.ctl", tmp_path / "run" / "lock" / "conntrack.lock"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tmp_path / "etc" / "group").write_text("root:x:0:\n")
    copy = tmp_path / "conntrackd.conf"
    shutil.copy(SYSTEM / "conntrackd.tmpfiles", copy)
    command = [systemd_tmpfiles, f"--root={tmp_path}", "--create", "--remove"]
    run_command([*command, str(copy)])
    assert all(path.exists() for path in left)
    run_command([*command, "--boot", str(copy)])
    assert not any(path.exists() for path in left)
    made = tmp_path / "run" / "conntrackd"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def allowed_calls(group: str) -> set[str]:
    """The system calls of one of systemd's groups, those of the groups in it included."""
    lines = run_command([program("systemd-analyze"), "syscall-filter", group]).stdout.splitlines()
    names = [line.strip() for line in lines[1:] if line.strip() and not line.strip().startswith("#")]
    return set().union(*(allowed_calls(name) if name.startswith("@") else {name} for name in names))


def test_the_unit_forbids_nothing_that_the_daemon_does(bed: Testbed) -> None:
    """System calls beyond those allowed, and memory that is writable and executable."""
    strace = program("strace")
    (group,) = re.findall(r"^SystemCallFilter=(\S+)$", UNIT.read_text(), re.MULTILINE)
    calls = bed.namespace("host").directory / "calls"
    tracing = [strace, "-f", "-qq", "-o", str(calls), str(OWN_DAEMON)]
    daemon = Conntrackd(bed.namespace("traced"), tracing, Configuration([LINK], general_lines=["Nice -5"]))
    daemon.launch()
    daemon.command = [str(OWN_DAEMON)]
    daemon.wait_ready(30.0)
    for option in ("-c", "-f", "-R", "-B", "-n", "-t", "-k"):
        daemon.client(option)
    wait_until(lambda: daemon.process.poll() is not None, 30.0, "its end", daemon.log)
    traced = calls.read_text()
    used = set(re.findall(r"^\d+ +(\w+)\(", traced, re.MULTILINE))
    assert {"sendto", "capset", "setpriority"} <= used
    assert used - {"execve"} - allowed_calls(group) == set()
    assert "MemoryDenyWriteExecute=yes" in UNIT.read_text()
    assert "PROT_WRITE|PROT_EXEC" not in traced


def test_the_unit_is_correct_and_little_exposed(tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    # Whether the programs are installed is not the unit's matter.
    unit = tmp_path / "conntrackd.service"
    text = UNIT.read_text()
    assert "/usr/sbin/conntrackd" in text
    unit.write_text(text.replace("/usr/sbin/conntrackd", str(OWN_DAEMON)))
    try:
        done = run_command([analyze, "verify", "--man=no", str(unit)], check=False)
        rated = run_command([analyze, "security", "--offline=yes", "--no-pager", str(unit)])
    except CommandFailedError as error:
        pytest.skip(f"systemd-analyze does not work here: {error}")
    assert [line for line in done.stderr.splitlines() if "conntrackd.service" in line] == []
    found = re.search(r"exposure level for \S+: ([0-9.]+)", rated.stdout)
    assert found
    assert float(found[1]) < EXPOSURE
