# SPDX-License-Identifier: GPL-2.0-or-later
"""Hundreds of command lines, good and bad: ours does what the C tool does."""

from __future__ import annotations

import pytest

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

CASES: list[Case] = [
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


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_the_c_tool(case: Case, pool: Pool) -> None:
    differences = pool.differences(case)
    assert not differences, "\n".join([str(case), *differences])
