# SPDX-License-Identifier: GPL-2.0-or-later
"""The site that `make docs` makes: without a warning, whole, and with nothing in it from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pyconntrack
from tests.docs.blocks import ROOT

# What a browser fetches by itself when it shows a page.
FETCHED = re.compile(r"""<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=["']?(?:https?:)?//[^>]*>""")
FETCHED_BY_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    arguments = ["-q", "-E", "-W", "--keep-going", "-d", str(made / "read"), "docs", str(made / "site")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return made / "site"


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    assert [page.name for page in pages if FETCHED.search(page.read_text())] == []
    styles = list(site.rglob("*.css"))
    assert styles
    assert [style.name for style in styles if FETCHED_BY_STYLE.search(style.read_text())] == []


def test_every_page_of_the_manual_is_there(site: Path) -> None:
    contents = (site / "index.html").read_text()
    for page in (ROOT / "docs" / "manual").glob("*.md"):
        assert f'href="manual/{page.stem}.html"' in contents


def test_the_reference_has_every_public_name(site: Path) -> None:
    page = (site / "manual" / "reference.html").read_text()
    names = set(pyconntrack.__all__) - {"__version__"}
    assert sorted(name for name in names if name not in page) == []
    documented = {"ConntrackTable", "EventStream", "Flow", "FlowBatch", "ExpectationTable", "TimeoutPolicies"}
    assert sorted(name for name in documented if f'id="pyconntrack.{name}"' not in page) == []
