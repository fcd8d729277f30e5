# SPDX-License-Identifier: GPL-2.0-or-later
"""What administrators read names nothing as not yet built: the daemon starts with all of it, not warning."""

from __future__ import annotations

import sys

import pytest

from testbed import Configuration, Conntrackd, Testbed, UnicastLink
from testbed.configuration import Mode
from tests.docs.blocks import ROOT

DAEMON = [sys.executable, "-m", "pyconntrack.cli.conntrackd"]
LINK = UnicastLink("lo", "127.0.0.1", "127.0.0.2")
CASES: list[tuple[Mode, list[str]]] = [
    ("FTFW", []),
    ("NOTRACK", []),
    ("ALARM", []),
    ("FTFW", ["DisableExternalCache yes"]),
    ("NOTRACK", ["DisableInternalCache yes", "DisableExternalCache yes"]),
]


@pytest.mark.parametrize("page", ["README.md", "docs/man/conntrackd.8", "docs/man/conntrackd.conf.5"])
def test_nothing_is_said_to_be_not_yet_built(page: str) -> None:
    text = (ROOT / page).read_text().lower()
    assert "not yet" not in text
    assert "not available yet" not in text


@pytest.mark.parametrize(("mode", "lines"), CASES)
def test_the_daemon_starts_with_everything(mode: Mode, lines: list[str], bed: Testbed) -> None:
    configuration = Configuration([LINK], mode=mode, mode_lines=lines, options=["ExpectationSync on"])
    daemon = Conntrackd(bed.namespace("one"), DAEMON, configuration)
    daemon.start()
    assert daemon.terminate() == 0
    assert "available yet" not in daemon.log()
