# SPDX-License-Identifier: GPL-2.0-or-later
"""What README.md calls not yet built: as long as it says so, the daemon warns of it at start."""

from __future__ import annotations

import sys

import pytest

from testbed import Configuration, Conntrackd, Testbed, UnicastLink
from testbed.configuration import Mode
from tests.docs.blocks import ROOT

DAEMON = [sys.executable, "-m", "pyconntrack.cli.conntrackd"]
LINK = UnicastLink("lo", "127.0.0.1", "127.0.0.2")


def not_yet() -> str:
    """The section of the README, in one line; empty where all is built."""
    return " ".join(
        (ROOT / "README.md").read_text().partition("## Not yet\n")[2].partition("\n## ")[0].split()
    )


WARNED: dict[str, Configuration] = {
    "`ExpectationSync` with `DisableExternalCache`": Configuration(
        [LINK], mode="NOTRACK", mode_lines=["DisableExternalCache yes"], options=["ExpectationSync on"]
    ),
}


@pytest.mark.parametrize("feature", sorted(WARNED))
def test_what_is_said_to_be_without_effect_is_warned_of(feature: str, bed: Testbed) -> None:
    assert feature in not_yet()
    daemon = Conntrackd(bed.namespace("one"), DAEMON, WARNED[feature])
    daemon.start()
    assert daemon.terminate() == 0
    warning = f"{feature.replace('`', '')} is not available yet"
    assert warning in daemon.log(), f"{feature} works: take it off the list in README.md"


@pytest.mark.parametrize("mode", ["FTFW", "NOTRACK", "ALARM"])
def test_what_is_not_on_the_list_starts(mode: Mode, bed: Testbed) -> None:
    daemon = Conntrackd(bed.namespace("one"), DAEMON, Configuration([LINK], mode=mode))
    daemon.start()
    assert daemon.terminate() == 0
    assert "available yet" not in daemon.log()
