# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check has to say."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.IntEnum):
    """How bad it is, the worst last."""

    OK = 0
    NOTE = 1
    """To be known, or could not be found out."""
    WARNING = 2
    """Works, but will fail under load, or at a fail-over."""
    PROBLEM = 3
    """Does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and what to do about it; `advice` is empty where there is nothing to do."""

    severity: Severity
    what: str
    advice: str = ""

    def __str__(self) -> str:
        line = f"{self.severity.name.lower():7}  {self.what}"
        return f"{line} -> {self.advice}" if self.advice else line


def ok(what: str) -> Finding:
    """A finding that all is well."""
    return Finding(Severity.OK, what)


def note(what: str, advice: str = "") -> Finding:
    """A finding to be known."""
    return Finding(Severity.NOTE, what, advice)


def warning(what: str, advice: str) -> Finding:
    """A finding that will make trouble some day."""
    return Finding(Severity.WARNING, what, advice)


def problem(what: str, advice: str) -> Finding:
    """A finding that makes trouble now."""
    return Finding(Severity.PROBLEM, what, advice)
