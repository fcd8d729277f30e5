# SPDX-License-Identifier: GPL-2.0-or-later
"""What the configuration's reader has to say: one `Problem` per mistake or remark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One remark about a configuration file; ``str()`` gives ``file:line:column: message``.

    ``line`` and ``column`` count from 1; both are 0 where the remark is about the file as a whole.
    """

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        if not self.line:
            return f"{self.file}: {self.message}"
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


PROBLEM_LIMIT = 100
"""Number of mistakes after which the reader gives up, and of warnings after which it keeps them to itself."""


class ConfigError(Exception):
    """The configuration cannot be used. ``str()`` prints one line per problem, in the order of the file."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        super().__init__(problems)
        self.problems: list[Problem] = sorted(problems)
        self.warnings: list[Problem] = sorted(warnings)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class Report:
    """Collects errors and warnings while a file is read, so that one run tells all of them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.unbalanced = False
        """Braces were missing or too many, so that clauses may have got into the wrong section."""

    def error(self, at: Located | None, message: str) -> None:
        """Note a mistake at a place in the file, or about the whole file where ``at`` is None."""
        self.errors.append(self._problem(at, message))
        if len(self.errors) == PROBLEM_LIMIT:
            self.errors.append(self._problem(at, "too many mistakes; the rest of the file was not read"))
            self.raise_errors()

    def warning(self, at: Located | None, message: str) -> None:
        """Note something that works but should be changed."""
        if len(self.warnings) < PROBLEM_LIMIT:
            self.warnings.append(self._problem(at, message))
        elif len(self.warnings) == PROBLEM_LIMIT:
            self.warnings.append(self._problem(at, "more remarks like these are not shown"))

    def _problem(self, at: Located | None, message: str) -> Problem:
        return Problem(self.file, at.line if at else 0, at.column if at else 0, message)

    def raise_errors(self) -> None:
        """Raise `ConfigError` if any mistake was noted."""
        if self.errors:
            raise ConfigError(self.errors, self.warnings)


@dataclass(frozen=True, slots=True)
class Located:
    """A place in the file; line and column count from 1."""

    line: int
    column: int
