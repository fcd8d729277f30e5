# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison itself: the C tool is equal to itself, and what is not equal is seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testbed import Testbed
from tests.conntrack.cases import Case
from tests.conntrack.deliberate import DIFFERENCES
from tests.conntrack.harness import Comparison
from tests.conntrack.test_conntrack_cases import CASES
from tests.conntrack.tools import C, Tool

# The C tool's answers to these are a matter of chance.
SAMPLE = [case for case in CASES if not case.differs][::20]


class Altered(Tool):
    """The C tool, with other words than it was given."""

    def line(self, arguments: list[str], *surroundings: object) -> list[str]:
        return ["conntrack", *self.name.split()]


@pytest.fixture(scope="module")
def with_itself(conntrack_bed: Testbed) -> Iterator[Comparison]:
    comparison = Comparison(conntrack_bed, C, C, "itself")
    yield comparison
    comparison.close()


@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_the_c_tool_is_equal_to_itself(case: Case, with_itself: Comparison) -> None:
    first, second = with_itself.outcomes(replace(case, words=case.reference or case.words))
    assert first == second


OTHERWISE = [
    (Case("-L", "mixed"), "-L -f ipv4", {"output", "errors"}),
    (Case("-L", "mixed"), "-L -o id", {"output"}),
    (Case("-L -p tcp", "mixed"), "-L -p tcp -u FIXED_TIMEOUT", {"output", "errors"}),
    (Case("-L", "one"), "-L -s", {"status", "output", "errors"}),
    (Case("-L", "one"), "-D", {"errors", "table"}),
    (Case("-L", "empty"), "-L expect", {"errors"}),
    (Case("-U -s 1.1.1.1 -m 5", "one", changes=True), "-U -s 1.1.1.1 -m 6", {"output", "table"}),
    (Case("-D", "one", changes=True), "-F", {"output", "errors"}),
    (Case("-U -s 1.1.1.1 -t 300", "one", changes=True), "-U -s 1.1.1.1 -t 600", {"output", "table"}),
    (Case("-F expect", "expectations", changes=True), "-L expect", {"output", "errors", "table"}),
    (Case("-C", "one"), "-C expect", {"output"}),
]


def name(value: object) -> str:
    return " ".join(sorted(value)) if isinstance(value, set) else str(value)


@pytest.mark.parametrize(("case", "words", "parts"), OTHERWISE, ids=name)
def test_another_command_is_seen(case: Case, words: str, parts: set[str], conntrack_bed: Testbed) -> None:
    comparison = Comparison(
        conntrack_bed, C, Altered(words, C.directory), f"other-{abs(hash((case, words)))}"
    )
    try:
        first, second = comparison.outcomes(case)
        one, other = first.result, second.result
        found = {
            part for part in ("status", "output", "errors") if getattr(one, part) != getattr(other, part)
        }
        if first.table != second.table:
            found.add("table")
        assert found == parts
        assert comparison.differences(case)
    finally:
        comparison.close()


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_is_documented_and_used(name: str) -> None:
    text = Path(__file__).parents[2].joinpath("docs/differences.md").read_text()
    section = text.partition("\n## conntrack\n")[2].partition("\n## ")[0]
    assert DIFFERENCES[name].documented in section
    assert any(name in case.differs for case in CASES)
