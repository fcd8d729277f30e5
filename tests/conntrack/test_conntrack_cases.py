# SPDX-License-Identifier: GPL-2.0-or-later
"""Hundreds of command lines, good and bad: ours does what the C tool does.

With ``CONNTRACK_CASES=all`` in the environment, all there are; else each that says something new, and
a third of the others.
"""

from __future__ import annotations

import os
import re

import pytest

from pyconntrack.cli.conntrack_help import HELP
from tests.conntrack import (
    cases_bad,
    cases_create,
    cases_delete,
    cases_expect,
    cases_filter,
    cases_get,
    cases_list,
    cases_load,
    cases_output,
    cases_update,
)
from tests.conntrack.cases import Case
from tests.conntrack.pool import Pool

_OPTION = re.compile(r"(?<!\S)(?:--[a-z][a-z6-]*|-[A-Za-z])")

ALL: list[Case] = [
    *cases_list.CASES,
    *cases_filter.CASES,
    *cases_get.CASES,
    *cases_output.CASES,
    *cases_create.CASES,
    *cases_update.CASES,
    *cases_delete.CASES,
    *cases_expect.CASES,
    *cases_load.CASES,
    *cases_bad.CASES,
]


def _chosen(cases: list[Case]) -> list[Case]:
    """Each that differs on purpose, each with a new word, every third of the others."""
    seen: set[str] = set()
    chosen = []
    for number, case in enumerate(cases):
        if number % 3 == 0 or case.differs or case.reference or not options(case) <= seen:
            chosen.append(case)
            seen |= options(case)
    return chosen


def options(case: Case) -> set[str]:
    """The options in a case, without their values; those in its file as well."""
    return set(_OPTION.findall(f"{case.words} {case.text or ''}"))


CASES = ALL if os.environ.get("CONNTRACK_CASES") == "all" else _chosen(ALL)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_the_c_tool(case: Case, pool: Pool) -> None:
    differences = pool.differences(case)
    assert not differences, "\n".join([str(case), *differences])


def test_the_cases_have_every_option() -> None:
    known = set(re.findall(r"(?<!\w)(?:--[a-z](?:[a-z6-]*[a-z])?|-[A-Za-z])(?![\w-])", HELP))
    assert len(known) > 80
    assert known - {"--labelmap"} <= set().union(*map(options, CASES))
