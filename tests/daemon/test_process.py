# SPDX-License-Identifier: GPL-2.0-or-later
"""Into the background: what the process that waits is told, and what it returns."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from pyconntrack.daemon.process import daemonize
start = daemonize()
{}
"""


def run(child: str) -> subprocess.CompletedProcess[str]:
    """Run a program that goes into the background and then does what `child` says."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{}", child)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        check=False,
    )


@pytest.mark.parametrize(
    ("child", "status", "stderr"),
    [
        ("start.ready()", 0, ""),
        ("start.ready(); start.failed('too late'); sys.exit(3)", 0, ""),
        ("start.failed('no such interface')", 1, "no such interface\n"),
        ("start.failed('one\\ntwo')", 1, "one\ntwo\n"),
        ("sys.exit(3)", 1, "conntrackd ended with 3 before it was ready\n"),
        ("os.kill(os.getpid(), 9)", 1, "conntrackd ended with -9 before it was ready\n"),
        ("raise RuntimeError", 1, "conntrackd ended with 1 before it was ready\n"),
    ],
)
def test_the_caller_waits_and_tells(child: str, status: int, stderr: str) -> None:
    found = run(child)
    assert (found.returncode, found.stdout, found.stderr) == (status, "", stderr)


def test_the_daemon_lets_go_of_terminal_session_and_directory() -> None:
    found = run(
        "links = {os.readlink(f'/proc/self/fd/{number}') for number in (0, 1, 2)};"
        "start.failed(f'{links} {os.getsid(0) == os.getpid()} {os.getcwd()}')"
    )
    assert found.stderr == "{'/dev/null'} True /\n"
