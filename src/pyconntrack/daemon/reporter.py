# SPDX-License-Identifier: GPL-2.0-or-later
"""What the parts of the daemon need of its log."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """One line to the log, at one of the levels that the C daemon has."""

    def notice(self, message: str, /) -> None: ...

    def warning(self, message: str, /) -> None: ...

    def error(self, message: str, /) -> None: ...
