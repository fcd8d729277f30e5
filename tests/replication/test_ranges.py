# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets of sequence numbers against Python's own."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pyconntrack.replication.ranges import RANGES_MAX, Range, Ranges

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda r: (r[0], r[0] + r[1])))


def members(ranges: list[Range]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(added=RANGES, first=st.integers(0, 70), length=st.integers(0, 30), dropped=st.integers(0, 70))
def test_ranges_are_sets(added: list[Range], first: int, length: int, dropped: int) -> None:
    ranges = Ranges()
    for each in added:
        ranges.add(*each)
    held, asked = members(added), members([(first, first + length)])
    assert members(list(ranges)) == held
    assert members(ranges.common(first, first + length)) == held & asked
    assert members(ranges.gaps(first, first + length)) == asked - held
    inside = list(ranges)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(inside))
    ranges.drop_before(dropped)
    assert {number for number in held if number >= dropped} <= members(list(ranges)) <= held
    assert all(last >= dropped for _, last in ranges)


def test_too_many_ranges_forget_the_oldest() -> None:
    ranges = Ranges()
    for number in range(RANGES_MAX + 10):
        ranges.add(3 * number, 3 * number)
    assert len(ranges) == RANGES_MAX
    assert ranges.common(0, 29) == []
