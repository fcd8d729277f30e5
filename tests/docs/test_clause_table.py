# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of every clause and command: nothing is missing, and what is different is told why."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pyconntrack.cli.options import USAGE
from pyconntrack.config.schema import FILE, MODES, Clause, Section
from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "clauses.md"
DIFFERENCES = ROOT / "docs" / "differences.md"
VERDICTS = {"same", "better", "different", "old", "ours"}

# What the table has under the heading of the section around it.
HEADINGS = {"": "File", "IgnoreTrafficFor": "File", "Address": "Filter"}


class Row(NamedTuple):
    heading: str
    names: tuple[str, ...]
    verdict: str
    text: str


def rows() -> list[Row]:
    found = []
    heading = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.startswith("| `"):
            names, verdict, text = (cell.strip() for cell in line.strip("|").split(" | "))
            found.append(Row(heading, tuple(re.findall(r"`([^`]+)`", names)), verdict, text))
    return found


ROWS = rows()


def clauses(section: Section, heading: str) -> Iterator[tuple[str, Clause]]:
    """Each clause with the heading that it is to stand under."""
    for clause in section.clauses:
        yield heading, clause
        if clause.section is not None:
            inner = clause.section.name
            inner = "Helper" if heading == "Helper" else HEADINGS.get(inner, inner)
            yield from clauses(clause.section, inner)


ALL = [
    *clauses(FILE, "File"),
    *(pair for section in MODES.values() for pair in clauses(section, section.name)),
]


def test_every_clause_has_a_row_where_it_belongs() -> None:
    told = {(row.heading, name) for row in ROWS for name in row.names}
    known = {(heading, clause.name) for heading, clause in ALL}
    assert known - told == set()
    assert {(heading, name) for heading, name in told - known if heading != "Commands"} == set()


def test_old_clauses_are_called_old_and_no_others() -> None:
    old = {(heading, clause.name) for heading, clause in ALL if clause.old}
    # What stands within an old section is as old.
    old |= {("File", name) for name in ("IPv4_address", "IPv6_address")}
    for row in ROWS:
        for name in row.names:
            if row.heading != "Commands" and name != "Nice":
                assert (row.verdict == "old") == ((row.heading, name) in old), (row.heading, name)


def test_every_command_has_a_row() -> None:
    told = [name for row in ROWS if row.heading == "Commands" for name in row.names]
    options = re.findall(r"^  (--?\w+)", USAGE, re.MULTILINE)
    words = re.search(r"-s \[([\w|]+)\]", USAGE)
    assert words is not None
    known = [*options, *(f"-s {subject}" for subject in words[1].split("|"))]
    assert sorted(told) == sorted(known)


def test_verdicts_are_known_and_differences_are_told() -> None:
    sections = {
        re.sub(r"[^\w -]", "", part.splitlines()[0]).lower().replace(" ", "-"): part
        for part in re.split(r"^## ", DIFFERENCES.read_text(), flags=re.MULTILINE)[1:]
    }
    for row in ROWS:
        assert row.verdict in VERDICTS, row
        if row.verdict != "different":
            continue
        link = re.search(r"\(differences\.md#([\w-]+)\)", row.text)
        assert link is not None, row
        names = ("Helper",) if row.heading == "Helper" else row.names
        for name in names:
            assert f"`{name}" in sections[link[1]], f"{name} is not told in {link[1]}"


def c_page(name: str) -> str:
    path = Path("/usr/share/man") / name
    if not path.exists():
        pytest.skip("Debian's manual of conntrackd is not installed")
    return gzip.decompress(path.read_bytes()).decode()


def test_every_clause_of_the_c_daemon_s_manual_has_a_row() -> None:
    page = c_page("man5/conntrackd.conf.5.gz")
    names = set(re.findall(r'^\.(?:BI|B|TP) "?(\w+)', page, re.MULTILINE))
    told = {name.lower() for row in ROWS for name in row.names} | {"ipv6_destionation_address"}
    assert {name for name in names if name.lower() not in told} == set()
    assert len(names) > 40


def test_every_option_of_the_c_daemon_s_manual_has_a_row() -> None:
    names = set(re.findall(r'^\.BI "(-\w)', c_page("man8/conntrackd.8.gz"), re.MULTILINE))
    assert names - {name for row in ROWS for name in row.names} == set()
    assert len(names) == 16


def test_the_c_daemon_knows_no_subject_that_has_no_row() -> None:
    """By its help, which names them."""
    program = Path("/usr/sbin/conntrackd")
    if not program.exists():
        pytest.skip("Debian's conntrackd is not installed")
    shown = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    options = set(re.findall(r"^\s+(-\w)\b", shown, re.MULTILINE))
    assert options - {name for row in ROWS for name in row.names} == set()
    assert options
