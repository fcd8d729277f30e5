# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad messages never read past their end.

Each is put right before a page that cannot be read, in a process of its own: one byte too far kills it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("kind", ["random", "mutated", "truncated"])
def test_bad_messages_are_survived(kind: str) -> None:
    run = subprocess.run(
        [sys.executable, str(HERE / "fuzz_decoder.py"), kind, "80000", "1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    )
    assert run.returncode == 0, run.stderr
    decoded, malformed = map(int, run.stdout.split())
    assert malformed > 1000
    if kind == "mutated":
        assert decoded > 1000


def test_the_page_behind_cannot_be_read() -> None:
    run = subprocess.run(
        [sys.executable, str(HERE / "fuzz_decoder.py"), "overrun", "1", "1"],
        capture_output=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    )
    assert run.returncode < 0
