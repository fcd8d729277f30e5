# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documentation points at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

SOURCE = ROOT / "src" / "pyconntrack"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[\w-]+)?\)")
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w./-]+(?:\.(?:pyx|pxd|pyi|py|md|toml|conf\.5|8)|/)$")


def test_there_are_pages() -> None:
    assert {"README.md", "differences.md", "protocol.md", "architecture.md", "python.md"} <= {
        p.name for p in PAGES
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    """A path is told from the repository's root, from the package, or from core/."""
    named = [
        text
        for text in CODE.findall(page.read_text())
        if FILE.match(text) and not text.startswith((".", "/"))
    ]
    bases = (ROOT, SOURCE, SOURCE / "core")
    missing = [
        text for text in named if "NAME" not in text and not any((base / text).exists() for base in bases)
    ]
    assert missing == []
