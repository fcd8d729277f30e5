# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a case with both tools on equal tables and says what differs."""

from __future__ import annotations

import contextlib
import difflib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from testbed import Testbed
from tests.conntrack.cases import Case
from tests.conntrack.deliberate import DIFFERENCES, Outcome
from tests.conntrack.kernel_table import KernelTable
from tests.conntrack.normal import normal
from tests.conntrack.scenes import SCENES
from tests.conntrack.surroundings import Mounts, with_label_names, without_label_names
from tests.conntrack.tools import Result, Tool

# Timeouts are compared as rounded: a table that is older could have some that are rounded to less.
_FRESH_SECONDS = 30.0
_SHOWN_LINES = 40
# The C tool takes its sequence numbers from the clock. Where it updates several flows, it takes answers for
# those of other requests, and gives up if a second ends meanwhile. That is no result to compare with.
_CONFUSED = "Operation failed: Protocol error"
_ATTEMPTS = 10


class Stage:
    """A namespace with a scene's table."""

    def __init__(self, bed: Testbed, name: str) -> None:
        self.namespace = bed.namespace(name)
        self._table = KernelTable(self.namespace)
        SCENES["empty"].prepare(self.namespace)
        self._scene = ""
        self._filled = 0.0
        self.start: list[str] = []
        """The table as it was made."""
        self._now: list[str] = []

    def fill(self, scene: str, *, anew: bool, at_any_age: bool = False) -> None:
        """Make the scene's table, unless it is still just as it was made some seconds ago, or if `anew`."""
        fresh = at_any_age or time.monotonic() - self._filled < _FRESH_SECONDS
        if self.start and self._scene == scene and fresh and not anew and self._now == self.start:
            return
        SCENES[scene].fill(self.namespace, self._table)
        self._scene, self._filled = scene, time.monotonic()
        # Nobody compares a table that may change with its start.
        self.start = [] if anew else self.state(own=True)
        self._now = self.start

    def state(self, *, own: bool) -> list[str]:
        """The table as it is now."""
        self._now = self._table.state(own=own)
        return self._now

    def close(self) -> None:
        self._table.close()


class Comparison:
    """Two tools, and the namespace in which one case after the other is run with both.

    Both run in the same namespace, one after the other: the order of a dump hangs on a number that each
    namespace has for itself. Where a case may change the table, it is made anew for each tool.
    """

    def __init__(self, bed: Testbed, first: Tool, second: Tool, name: str = "compared") -> None:
        self._tools = (first, second)
        self._directory = bed.directory / name
        self._directory.mkdir()
        self._stack = contextlib.ExitStack()
        self._stage = Stage(bed, name)
        self._stack.callback(self._stage.close)
        self._named = self._mounts(with_label_names(self._directory))
        self._unnamed = self._mounts(without_label_names())

    def _mounts(self, mounts: Mounts | None) -> Mounts | None:
        if mounts is not None:
            self._stack.callback(mounts.close)
        return mounts

    def close(self) -> None:
        self._stack.close()

    def differences(self, case: Case) -> list[str]:
        """What differs and is not meant to, or does not differ though it is meant to; lines for a person."""
        first, second = self.outcomes(case)
        return [*judge(first, second, case.differs), *_tracebacks(self._tools[1], second)]

    def outcomes(self, case: Case) -> tuple[Outcome, Outcome]:
        """What both tools made of the case."""
        first = self._outcome(self._tools[0], replace(case, words=case.reference or case.words))
        return first, self._outcome(self._tools[1], case, second=True)

    def _outcome(self, tool: Tool, case: Case, *, second: bool = False) -> Outcome:
        stage = self._stage
        for _ in range(_ATTEMPTS):
            # What the first tool was shown must not grow too old, and be made anew, before the second one.
            stage.fill(case.scene, anew=case.changes, at_any_age=second)
            result = self._result(tool, case)
            if not (case.changes and _CONFUSED in result.errors):
                break
        # A table that nothing may change is read once, after the second tool.
        unread = not case.changes and not second
        table = stage.start if unread else stage.state(own=not case.changes)
        return Outcome(normal(result, words=case.arguments, own_table=case.changes), table)

    def _result(self, tool: Tool, case: Case) -> Result:
        mounts = self._named if case.labels else self._unnamed
        with self._file(case.text) as file:
            arguments = [word.replace("{file}", str(file)) for word in case.arguments]
            result = tool.run(
                self._stage.namespace, arguments, mounts=mounts, input=case.text, user=case.user
            )
        return result.replaced(errors=result.errors.replace(str(file), "{file}"))

    @contextlib.contextmanager
    def _file(self, text: str | None) -> Iterator[Path]:
        path = self._directory / "file"
        if text is not None:
            path.write_text(text, errors="surrogateescape")
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def judge(first: Outcome, second: Outcome, names: Sequence[str] = ()) -> list[str]:
    """The differences of two outcomes that are not among those with these names; lines for a person."""
    found: list[str] = []
    for name in names:
        without = DIFFERENCES[name].without(first, second)
        if without == (first, second):
            found.append(f"the deliberate difference {name} does not show")
        first, second = without
    for what in ("status", "errors", "output"):
        one, other = getattr(first.result, what), getattr(second.result, what)
        if one != other:
            found += [f"-- {what}", *_shown(str(one), str(other))]
    if first.table != second.table:
        found += ["-- table afterwards", *_shown("\n".join(first.table), "\n".join(second.table))]
    return found


def _shown(one: str, other: str) -> list[str]:
    lines = list(difflib.unified_diff(one.splitlines(), other.splitlines(), "C", "ours", n=0, lineterm=""))
    return lines[2:_SHOWN_LINES] or [f"-{one!r}", f"+{other!r}"]


def _tracebacks(tool: Tool, outcome: Outcome) -> list[str]:
    if "Traceback" in outcome.result.errors:
        return [f"{tool.name} ended with a traceback"]
    return []
