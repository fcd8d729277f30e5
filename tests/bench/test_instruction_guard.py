# SPDX-License-Identifier: GPL-2.0-or-later
"""The guard of instruction counts: what it reads out of callgrind's files, and when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.callgrind import read_part
from guard.limits import HEADROOM, compare, read_limits

PART = """\
version: 1
desc: Trigger: Client Request: format_plain

events: Ir
summary: 9999

ob=/src/pyconntrack/core/output.so
fl=???
fn=format
0 100
cob=/lib/libc.so.6
cfn=memcpy
calls=7 0
0 5000
cob=/usr/lib/libpython3.11.so.1.0
cfn=PyBytes_New
calls=3 0
0 600
cfn=another_of_ours
calls=2 0
0 70
cob=/lib/python3.11/site-packages/pyconntrack/core/text.so
cfn=write
calls=4 0
0 800
1 20

fn=another_of_ours
0 3

ob=/lib/libc.so.6
fn=memcpy
0 5000

ob=/lib/python3.11/site-packages/pyconntrack/core/text.so
fn=write
0 4000
"""


def test_only_the_core_s_own_instructions_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "jobs.1"
    path.write_text(PART)
    name, cost = read_part(path)
    assert name == "format_plain"
    assert cost.instructions == 100 + 20 + 3 + 4000
    assert cost.python_calls == 3


@pytest.mark.parametrize(("now", "fails"), [(50.0, False), (114.9, False), (115.1, True)])
def test_what_is_dearer_than_its_limit_fails(now: float, fails: bool) -> None:
    lines, wrong = compare({"job": now}, {"job": 100.0})
    assert HEADROOM == 0.15
    assert len(lines) == 1
    assert bool(wrong) == fails


def test_a_job_without_a_limit_and_a_limit_without_a_job_fail() -> None:
    _, wrong = compare({"new": 1.0, "job": 1.0}, {"job": 1.0, "gone": 1.0})
    assert wrong == ["new is not in limits.toml", "gone was not measured"]


def test_every_job_has_a_limit() -> None:
    from guard.jobs import JOBS

    names = {job.__name__ for job in JOBS}
    assert len(names) == len(JOBS)
    assert names | {"start_modules", "start_instructions"} == read_limits().keys()
