# SPDX-License-Identifier: GPL-2.0-or-later
"""The README's script for keepalived gives the commands that a change of role needs, in their order."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pyconntrack.cli.options import parse_options
from tests.docs.blocks import blocks_of

(SCRIPT,) = blocks_of("README.md", "sh")


def commands(state: str, directory: Path) -> list[str]:
    """The options with which the script calls conntrackd when keepalived tells it a state."""
    calls = directory / "calls"
    script, daemon = directory / "role", directory / "conntrackd"
    script.write_text(SCRIPT.text)
    daemon.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    daemon.chmod(0o755)
    path = os.pathsep.join([str(directory), os.environ.get("PATH", os.defpath)])
    subprocess.run(
        ["sh", "-eu", str(script), "GROUP", "firewall", state, "100"],
        env={"PATH": path},
        check=True,
        timeout=10,
    )
    return calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.parametrize(
    ("state", "expected"),
    [("MASTER", ["-c", "-f", "-R", "-B"]), ("BACKUP", ["-t", "-n"]), ("FAULT", ["-t"]), ("STOP", [])],
)
def test_the_script(state: str, expected: list[str], tmp_path: Path) -> None:
    called = commands(state, tmp_path)
    assert called == expected
    assert [parse_options([option]).action for option in called] == ["request"] * len(called)
