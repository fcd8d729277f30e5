# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets of sequence numbers, as acknowledgements name them: few ranges of many numbers.

Numbers here do not wrap: the session counts on beyond 2**32.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

Range = tuple[int, int]
"""First and last number, both included."""

# A peer whose acknowledgements leave more holes than this makes them up.
RANGES_MAX = 1024


class Ranges:
    """Numbers, as ranges in order that neither overlap nor touch."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._firsts)

    def __iter__(self) -> Iterator[Range]:
        return zip(self._firsts, self._lasts, strict=True)

    def add(self, first: int, last: int) -> None:
        """Add `first` to `last`. Of too many ranges the oldest are forgotten."""
        left = bisect_left(self._lasts, first - 1)
        right = bisect_right(self._firsts, last + 1)
        if left < right:
            first = min(first, self._firsts[left])
            last = max(last, self._lasts[right - 1])
        self._firsts[left:right] = [first]
        self._lasts[left:right] = [last]
        if len(self._firsts) > RANGES_MAX:
            del self._firsts[0], self._lasts[0]

    def drop_before(self, number: int) -> None:
        """Forget the ranges that end before `number`."""
        count = bisect_left(self._lasts, number)
        del self._firsts[:count], self._lasts[:count]

    def common(self, first: int, last: int) -> list[Range]:
        """What of `first` to `last` is in here."""
        found = []
        index = bisect_left(self._lasts, first)
        while index < len(self._firsts) and self._firsts[index] <= last:
            found.append((max(first, self._firsts[index]), min(last, self._lasts[index])))
            index += 1
        return found

    def gaps(self, first: int, last: int) -> list[Range]:
        """What of `first` to `last` is not in here."""
        found = []
        for begin, end in self.common(first, last):
            if first < begin:
                found.append((first, begin - 1))
            first = end + 1
        if first <= last:
            found.append((first, last))
        return found
