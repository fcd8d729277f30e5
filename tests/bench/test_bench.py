# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmarks run to their end, on a small table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.report import COMMAND_ROWS, DAEMON_ROWS
from testbed import Testbed


def test_measures_every_row(bed: Testbed, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    small = ["--quick", "--flows", "2000", "--command-flows", "2000", "--seconds", "0.3", "--rate", "5000"]
    ran = subprocess.run(
        [sys.executable, "-m", "bench", *small, "--output", str(page)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    for row in (*COMMAND_ROWS, *DAEMON_ROWS):
        assert f"| {row.title} | {row.unit} | " in ran.stdout
    for part in ran.stdout.split("\n\n"):
        assert part in page.read_text()
