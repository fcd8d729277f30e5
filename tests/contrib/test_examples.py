# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon takes every example configuration, and there is one for each mode and kind of link."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.contrib.scripts import CONTRIB, OWN_DAEMON

EXAMPLES = sorted((CONTRIB / "examples").glob("*.conf"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_check(path: Path) -> None:
    done = subprocess.run(
        [OWN_DAEMON, "-C", path, "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    # The interfaces are those of somebody else's firewall.
    remarks = [line for line in done.stderr.splitlines() if not re.search(r"interface|eth[23]", line)]
    assert remarks == []


def test_each_mode_and_link() -> None:
    found = set()
    for path in EXAMPLES:
        text = path.read_text()
        mode = re.search(r"Mode (\w+)", text)
        links = re.findall(r"^    (UDP|TCP|Multicast)\b", text, re.MULTILINE)
        found |= {(mode[1] if mode else "stats", link) for link in links or ["none"]}
    modes_and_links = {(mode, link) for mode in ("FTFW", "NOTRACK", "ALARM") for link in ("UDP", "Multicast")}
    assert found == {*modes_and_links, ("FTFW", "TCP"), ("NOTRACK", "TCP"), ("stats", "none")}
