# SPDX-License-Identifier: GPL-2.0-or-later
"""The README's script for keepalived gives the commands that a change of role needs, in their order."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pyconntrack.cli.options import parse_options
from testbed import Testbed
from tests.docs.blocks import blocks_of

(SCRIPT,) = blocks_of("README.md", "sh")


def commands(state: str, directory: Path) -> list[str]:
    """The options with which the script calls conntrackd when keepalived tells it a state."""
    calls = directory / "calls"
    script, daemon = directory / "role", directory / "conntrackd"
    script.write_text(SCRIPT.text)
    daemon.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {calls}\n')
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


def test_keepalived_takes_the_group(bed: Testbed) -> None:
    keepalived = shutil.which("keepalived", path="/usr/sbin:/sbin")
    if keepalived is None:
        pytest.skip("keepalived is not installed")
    (text,) = (block.text for block in blocks_of("README.md", "") if "vrrp_sync_group" in block.text)
    firewall = bed.namespace("firewall")
    firewall.ip("link", "add", "inside", "type", "veth", "peer", "name", "outside")
    instances = ""
    for number, name in enumerate(("inside", "outside"), start=10):
        firewall.ip("addr", "add", f"10.0.{number}.2/24", "dev", name)
        firewall.ip("link", "set", name, "up")
        instances += f"vrrp_instance {name} {{\ninterface {name}\nvirtual_router_id {number}\n"
        instances += f"virtual_ipaddress {{\n10.0.{number}.1/24\n}}\n}}\n"
    path = bed.directory / "keepalived.conf"
    # A script that is there, below directories that only root can write to.
    path.write_text(text.replace("/etc/conntrackd/role", "/bin/true") + instances)
    done = firewall.run([keepalived, "-t", "-l", "-f", str(path)], check=False)
    assert (done.returncode, done.stderr) == (0, "")
