# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual pages: sound, and complete beside the command line and the configuration's schema."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyconntrack.cli.options import USAGE
from pyconntrack.config import General, Sync, parse
from pyconntrack.config.schema import FILE, MODES, Clause, Section
from tests.docs.blocks import ROOT, blocks_of

PAGES = ROOT / "docs" / "man"
COMMAND = PAGES / "conntrackd.8"
CONFIGURATION = PAGES / "conntrackd.conf.5"


def plain(text: str) -> str:
    """Without the escapes that fonts and dashes need."""
    return re.sub(r"\\f.", "", text).replace("\\-", "-")


def clauses(section: Section) -> Iterator[Clause]:
    for clause in section.clauses:
        yield clause
        if clause.section is not None:
            yield from clauses(clause.section)


ALL_CLAUSES = [clause for section in (FILE, *MODES.values()) for clause in clauses(section)]


@pytest.mark.parametrize("page", [COMMAND, CONFIGURATION], ids=lambda page: page.name)
def test_groff_has_no_complaint(page: Path) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    # A width, since the terminal's, or the lack of one, is no matter of the page.
    arguments = ["groff", "-t", "-man", "-Tutf8", "-ww", "-z", "-rLL=80n", str(page)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_option_is_in_the_manual() -> None:
    page = plain(COMMAND.read_text())
    options = re.findall(r"^  (--?\w+)", USAGE, re.MULTILINE)
    assert len(options) == 18
    entries = [
        line
        for entry in re.findall(r"^\.TP(?: \d+)?\n(.*)$", page, re.MULTILINE)
        for line in re.findall(r"--?\w+", entry)
    ]
    assert sorted(set(options) - set(entries)) == []


def test_every_word_of_the_statistics_is_in_the_manual() -> None:
    words = re.search(r"-s \[([\w|]+)\]", USAGE)
    assert words is not None
    page = COMMAND.read_text()
    assert [
        word for word in words[1].split("|") if not re.search(rf"^\.BR? .*\b{word}\b", page, re.MULTILINE)
    ] == []


@pytest.mark.parametrize(
    "name",
    sorted({name for clause in ALL_CLAUSES if not clause.old for name in (clause.name, *clause.spelled)}),
)
def test_every_clause_is_in_the_manual(name: str) -> None:
    page = CONFIGURATION.read_text()
    assert re.search(rf'^\.(?:BI|BR|B|SS|SH)\b.*"?\b{re.escape(name)}\b', page, re.MULTILINE | re.IGNORECASE)


@pytest.mark.parametrize("name", sorted({clause.name for clause in ALL_CLAUSES if clause.old}))
def test_every_old_clause_is_in_the_table(name: str) -> None:
    table = CONFIGURATION.read_text().partition(".TS")[2].partition(".TE")[0]
    assert re.search(rf"^{re.escape(name)}\b[^|]*\|", table, re.MULTILINE)


def test_the_table_has_only_old_clauses() -> None:
    table = CONFIGURATION.read_text().partition("Old|In|Today\n")[2].partition(".TE")[0]
    old = {clause.name for clause in ALL_CLAUSES if clause.old}
    assert {line.split("|")[0].split()[0] for line in table.splitlines()} - old == {"Mode"}


def entry_of(name: str) -> str:
    """What the manual says of a clause, up to the next one."""
    page = plain(CONFIGURATION.read_text())
    match = re.search(rf"^\.B[IR] {name} .*?(?=^\.TP|^\.S[HS])", page, re.MULTILINE | re.DOTALL)
    assert match is not None, name
    return match[0]


@pytest.mark.parametrize(
    "clause",
    [
        clause
        for clause in ALL_CLAUSES
        if not clause.old and clause.field and (hasattr(General, clause.field) or hasattr(Sync, clause.field))
    ],
    ids=lambda clause: clause.name,
)
def test_defaults_are_those_of_the_settings(clause: Clause) -> None:
    defaults = {**_defaults(General()), **_sync_defaults()}
    value = defaults[clause.field]
    told = re.search(r"^Default: (.*?)\.?$", entry_of(clause.name), re.MULTILINE)
    assert told is not None
    if isinstance(value, bool):
        assert told[1] == ("yes" if value else "no")
    elif isinstance(value, Path) or (isinstance(value, int) and clause.name != "NetlinkOverrunResync"):
        assert told[1] == str(value)
    else:
        assert not told[1].isdigit()


def _defaults(settings: object) -> dict[str, object]:
    return {name: getattr(settings, name) for name in type(settings).__dataclass_fields__}  # type: ignore[attr-defined]


def _sync_defaults() -> dict[str, object]:
    sync = parse(
        "Sync { Mode FTFW { } UDP { IPv4_address 10.0.0.1 IPv4_Destination_Address 10.0.0.2 Port 1"
        " Interface lo } }"
    ).settings.sync
    assert sync is not None
    return _defaults(sync)


EXAMPLES = [
    *((block.name, block.text) for block in blocks_of("README.md", "conntrackd.conf")),
    *(
        (f"conntrackd.conf.5:{number}", text)
        for number, text in enumerate(
            re.findall(r"^\.EX\n(.*?)^\.EE", CONFIGURATION.read_text(), re.M | re.S)
        )
        if "Sync" in text
    ),
]


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_the_examples_pass_without_a_remark(name: str, text: str) -> None:
    loaded = parse(plain(text), name)
    assert loaded.warnings == []
    assert loaded.settings.sync is not None


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) == 3
