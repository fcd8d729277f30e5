# SPDX-License-Identifier: GPL-2.0-or-later
"""primary-backup.sh: arguments, order of steps, exit status, log, and its guard."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from testbed import Testbed, wait_until
from tests.contrib.scripts import CONTRIB, Played, guard

SCRIPT = "primary-backup.sh"


@pytest.fixture
def node(bed: Testbed) -> Played:
    return Played(bed.namespace("node"))


@pytest.mark.parametrize(
    ("role", "options"),
    [("primary", ["-c", "-f", "-R", "-B"]), ("backup", ["-s", "-t", "-n"]), ("fault", ["-t"])],
)
def test_steps(node: Played, role: str, options: list[str]) -> None:
    assert node.run(SCRIPT, role).returncode == 0
    assert node.calls() == options
    assert node.said() == []


@pytest.mark.parametrize(
    ("role", "options"), [("primary", ["-c", "-f", "-R", "-B"]), ("backup", ["-t", "-n"]), ("fault", ["-t"])]
)
def test_a_command_that_fails_is_logged_and_the_others_run(
    node: Played, role: str, options: list[str]
) -> None:
    for option in options:
        node.fails(option)
    assert node.run(SCRIPT, role).returncode == 0
    assert [call for call in node.calls() if call != "-s"] == options
    assert node.said() == [f"ERROR: conntrackd {option} failed: no, not this" for option in options]


def test_backup_starts_the_daemon(node: Played) -> None:
    node.fails("-s")
    assert node.run(SCRIPT, "backup").returncode == 0
    assert node.calls() == ["-s", "-d", "-t", "-n"]
    assert node.said() == []


def test_backup_without_a_daemon(node: Played) -> None:
    node.fails("-s")
    node.fails("-d")
    assert node.run(SCRIPT, "backup").returncode == 1
    assert node.calls() == ["-s", "-d"]
    assert node.said() == ["ERROR: conntrackd cannot be started"]


def test_a_lock_file_left_behind_is_removed(node: Played) -> None:
    node.fails("-s")
    node.lock.touch()
    assert node.run(SCRIPT, "backup").returncode == 0
    assert not node.lock.exists()
    assert [line.split()[0] for line in node.said()] == ["WARNING:"]


def test_a_lock_that_is_held_is_left_alone(node: Played) -> None:
    node.fails("-s")
    with node.lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert node.run(SCRIPT, "backup").returncode == 0
    assert node.lock.exists()
    assert [line.split()[0] for line in node.said()] == ["WARNING:"]


@pytest.mark.parametrize("arguments", [[], ["master"], ["--help"]])
def test_wrong_arguments(node: Played, arguments: list[str]) -> None:
    done = node.run(SCRIPT, *arguments)
    assert (done.returncode, done.stdout) == (1, "Usage: primary-backup.sh {primary|backup|fault}\n")
    assert node.calls() == []
    assert [line.split()[0] for line in node.said()] == ["ERROR:"]


def test_settings_may_stand_in_a_file(node: Played) -> None:
    settings = node.namespace.directory / "node.scripts.conf"
    settings.write_text(f"CONNTRACKD_BIN={node.daemon}\nGUARD=no\n")
    node.daemon, played = node.namespace.directory / "none", node.daemon
    assert node.run(SCRIPT, "primary").returncode == 0
    assert node.calls() == ["-c", "-f", "-R", "-B"]
    assert played.exists()
    assert node.guarded() == []


def test_two_changes_of_role_do_not_mix(node: Played) -> None:
    """keepalived starts a script while the one of the role before still runs."""
    gate = node.namespace.directory / "gate"
    node.daemon.write_text(
        node.daemon.read_text() + f"[ $3 != -c ] || while [ ! -e {gate} ]; do sleep 0.05; done\n"
    )
    node.daemon.write_text(node.daemon.read_text().replace("exit 0\n[", "["))
    settings = [f"{name}={value}" for name, value in node.environment().items()]
    script = str(CONTRIB / SCRIPT)
    first = node.namespace.popen(["env", "-i", *settings, script, "primary"], name="first")
    wait_until(lambda: node.noted.exists(), 10.0, "the commit")
    second = node.namespace.popen(["env", "-i", *settings, script, "backup"], name="second")
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(0.3)
    gate.touch()
    assert (first.wait(10.0), second.wait(10.0)) == (0, 0)
    assert node.calls() == ["-c", "-f", "-R", "-B", "-s", "-t", "-n"]


def _changed(path: Path, before: str) -> bool:
    return path.exists() and path.read_text() not in ("", before)


def test_of_those_that_wait_only_the_newest_counts(node: Played) -> None:
    """Whoever is woken first: a node that became backup and primary again is primary in the end."""
    turn = Path(node.environment()["FAILOVER_LOCK"])
    settings = [f"{name}={value}" for name, value in node.environment().items()]
    newest = Path(f"{turn}.newest")
    waiting = []
    with turn.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for number, role in enumerate(("fault", "backup", "primary")):
            before = newest.read_text() if newest.exists() else ""
            command = ["env", "-i", *settings, str(CONTRIB / SCRIPT), role]
            waiting.append(node.namespace.popen(command, name=f"{role}{number}"))
            wait_until(partial(_changed, newest, before), 10.0, f"{role} to wait")
    assert [each.wait(10.0) for each in waiting] == [0, 0, 0]
    # The backup that came too late has still made sure that a daemon runs.
    assert sorted(node.calls()) == sorted(["-s", "-c", "-f", "-R", "-B"])


def test_the_guard_stands_until_the_flows_are_there(node: Played) -> None:
    node.run(SCRIPT, "backup")
    assert "tcp" in guard(node.namespace)
    assert "expires" not in guard(node.namespace)
    node.run(SCRIPT, "primary")
    assert guard(node.namespace) == ""
    assert node.guarded() == ["-s", "-t", "-n", "-c"]
    node.run(SCRIPT, "fault")
    assert guard(node.namespace)
    assert node.said() == []


def test_the_guard_goes_by_itself(node: Played) -> None:
    """Nobody is left to take it away: the script is killed, and its commit hangs."""
    node.settings["GUARD_SECONDS"] = "3"
    node.daemon.write_text("#!/bin/sh\nexec sleep 1000\n")
    settings = [f"{name}={value}" for name, value in node.environment().items()]
    script = node.namespace.popen(["env", "-i", *settings, str(CONTRIB / SCRIPT), "primary"])
    wait_until(lambda: "tcp" in guard(node.namespace), 10.0, "the guard")
    script.kill()
    assert guard(node.namespace)
    wait_until(lambda: "tcp" not in guard(node.namespace), 20.0, "its end")


@pytest.mark.parametrize(("setting", "guarded"), [("commit", ["-c"]), ("no", [])])
def test_less_of_a_guard(node: Played, setting: str, guarded: list[str]) -> None:
    node.settings["GUARD"] = setting
    for role in ("backup", "primary", "fault"):
        node.run(SCRIPT, role)
    assert node.guarded() == guarded
    assert guard(node.namespace) == ""


def test_shellcheck() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    scripts = [str(path) for path in CONTRIB.rglob("*") if path.suffix in (".sh", ".init")]
    done = subprocess.run(
        [shellcheck, "-x", *scripts],
        cwd=CONTRIB.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")
