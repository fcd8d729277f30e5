# SPDX-License-Identifier: GPL-2.0-or-later
"""What README.md calls not yet built: as long as it says so, the daemon refuses it in one line."""

from __future__ import annotations

import sys

import pytest

from testbed import Configuration, Conntrackd, Testbed, UnicastLink
from testbed.configuration import Mode
from tests.docs.blocks import ROOT

DAEMON = [sys.executable, "-m", "pyconntrack.cli.conntrackd"]


def not_yet() -> str:
    """The section of the README, in one line."""
    return " ".join(
        (ROOT / "README.md").read_text().partition("## Not yet\n")[2].partition("\n## ")[0].split()
    )


REFUSED: dict[str, Configuration | str] = {
    "`DisableExternalCache`": Configuration(
        [UnicastLink("lo", "127.0.0.1", "127.0.0.2")], mode_lines=["DisableExternalCache yes"]
    ),
}


@pytest.mark.parametrize("feature", sorted(REFUSED))
def test_what_is_said_to_be_refused_is_refused(feature: str, bed: Testbed) -> None:
    refused = not_yet().partition("Read, but without effect")[0]
    assert feature in refused
    daemon = Conntrackd(bed.namespace("one"), DAEMON, REFUSED[feature])
    done = daemon.namespace.run([*DAEMON, "-C", str(daemon.configuration_file)], check=False)
    assert done.returncode == 1, f"{feature} works: take it off the list in README.md"
    assert len(done.stderr.splitlines()) == 1
    assert "available yet" in done.stderr


@pytest.mark.parametrize("mode", ["FTFW", "NOTRACK", "ALARM"])
def test_what_is_not_on_the_list_starts(mode: Mode, bed: Testbed) -> None:
    daemon = Conntrackd(
        bed.namespace("one"), DAEMON, Configuration([UnicastLink("lo", "127.0.0.1", "127.0.0.2")], mode=mode)
    )
    daemon.start()
    assert daemon.terminate() == 0
