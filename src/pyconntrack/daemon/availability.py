# SPDX-License-Identifier: GPL-2.0-or-later
"""What a configuration may say that this daemon does not do yet.

The configuration is read whole, as conntrackd.conf(5) has it; here stands what of it is refused at start, and
what is taken with a warning because the daemon does its work all the same, in another way.
"""

from __future__ import annotations

from pyconntrack.config import Settings
from pyconntrack.daemon.userspace_helpers import helper_warnings


def refusals(settings: Settings) -> list[str]:
    """Why the daemon does not start with these settings; empty where it does."""
    sync = settings.sync
    if sync is None:
        return [] if settings.stats is not None else [_nothing_to_do(settings)]
    return []


def without_effect(settings: Settings) -> list[str]:
    """What the settings say without effect, each as a warning."""
    return helper_warnings(settings.helper)


def _nothing_to_do(settings: Settings) -> str:
    if settings.helper is not None:
        return "the configuration has a section Helper alone, without Sync or Stats there is nothing to do"
    return "the configuration has no section Sync or Stats"
