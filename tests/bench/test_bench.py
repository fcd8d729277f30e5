# SPDX-License-Identifier: GPL-2.0-or-later
"""The short jobs of the benchmarks run to their end, on a small table, and measure every row."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.rows import COMMANDS, EVENTS, TABLES
from testbed import Testbed

pytestmark = pytest.mark.alone


def test_measures_every_row(bed: Testbed, tmp_path: Path) -> None:
    jobs = ["--only", "commands,tables,events,client"]
    small = ["--sizes", "2k", "--rates", "10k", "--rounds", "1", "--seconds", "0.3"]
    ran = subprocess.run(
        [sys.executable, "-m", "bench", *jobs, *small, "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    text = (tmp_path / "benchmarks.md").read_text()
    for group in (COMMANDS, TABLES, EVENTS):
        assert group.title in text
        for row in group.rows:
            assert f"| {row.title} | {row.unit} | " in ran.stdout, ran.stderr
            assert f"| {row.title} | {row.unit} | " in text
