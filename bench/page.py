# SPDX-License-Identifier: GPL-2.0-or-later
"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.results import KINDS, LIMIT, OURS, THEIRS, Results
from bench.rows import GROUPS, LIMITS, Group, Row
from bench.run import short

_HEADER = """\
| what | unit | at | pyconntrack | C | ratio | wanted | reached | the limit |
| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |
"""

_PAGE = """\
# Benchmarks

Made by `make bench`, every figure by one run of it: ours and the C tools in turn, the same work on the same
machine. A figure is the median of its rounds, ± half the distance between the lowest and the highest; with no
± it was measured once. *At* is the number of flows in the table, or of events a second. *Wanted* is what we
have set ourselves, most of it a part of the C tool's figure in the same run.

{circumstances}
## In short

{short}
![Ours beside the C tools and the limit](benchmarks.svg)

{groups}"""


def page(results: Results) -> str:
    """The whole page."""
    parts = [_group(group, results) for group in GROUPS if table(group.rows, results)]
    for title, lines in (
        ("What the C tools cannot do", results.refusals),
        ("What could not be measured", results.failures),
    ):
        if lines:
            parts.append(f"## {title}\n\n{_list(lines)}")
    return _PAGE.format(
        circumstances=_list(results.circumstances), short=short_table(results), groups="\n".join(parts)
    )


def short_table(results: Results) -> str:
    """The main lines of all groups, which the README has, too."""
    return table((row for group in GROUPS for row in group.rows if row.main), results)


def with_table(text: str, new: str) -> str:
    """The text with another table of measurements in the place of its own. Raises ValueError without one."""
    head, middle, rest = text.partition(_HEADER)
    if not middle:
        raise ValueError("there is no table of measurements")
    lines = rest.splitlines(keepends=True)
    kept = next((index for index, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return head + new + "".join(lines[kept:])


def table(rows: Iterable[Row], results: Results) -> str:
    """A table of what was measured."""
    lines = [line for row in rows if (line := _line(row, results))]
    return _HEADER + "".join(lines) if lines else ""


def _group(group: Group, results: Results) -> str:
    parts = [
        f"## {group.title}",
        group.about,
        table(group.rows, results).rstrip(),
        growth(group, results),
        group.notes,
    ]
    return "\n\n".join(part for part in parts if part)


def _list(lines: Sequence[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)


def _line(row: Row, results: Results) -> str:
    size = _size(row, results)
    if size is None:
        return ""
    ours, theirs = (results.median(kind, row.figure, size) for kind in KINDS)
    ratio = f"{ours / theirs:.2f}" if ours is not None and theirs else ""
    wanted = row.wanted.of(theirs) if row.wanted else None
    reached = "" if wanted is None or ours is None else "yes" if ours <= wanted else "no"
    limit = results.median(LIMIT, row.limit, size) if row.limit else None
    cells = [
        *(row.title, row.unit, short(size) if size else ""),
        *(_measured(results, kind, row.figure, size) for kind in KINDS),
        *(ratio, _number(wanted), reached, _number(limit)),
    ]
    return f"| {' | '.join(cells)} |\n"


def _size(row: Row, results: Results) -> int | None:
    """The size that the row is told for, None where nothing was measured."""
    return max((size for size in results.sizes(row.figure) if size <= row.at), default=None)


def growth(group: Group, results: Results) -> str:
    """How figures change with the size: ours, the C tool's, and the ratio."""
    sizes = sorted({size for figure in group.grows for size in results.sizes(figure)})
    if len(sizes) < 2:
        return ""
    lines = [
        f"| ours / C | unit | {' | '.join(map(short, sizes))} |",
        f"| --- | --- | {' | '.join('---:' for _ in sizes)} |",
    ]
    for figure in group.grows:
        row = next((row for row in group.rows if row.figure == figure), None)
        title, unit = (row.title, row.unit) if row else (LIMITS[figure], "µs wall")
        cells = [_both(results, figure, size) for size in sizes]
        lines.append(f"| {title} | {unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _both(results: Results, figure: str, size: int) -> str:
    limit = results.median(LIMIT, figure, size)
    if limit is not None:
        return _number(limit)
    ours, theirs = (results.median(kind, figure, size) for kind in (OURS, THEIRS))
    if ours is None and theirs is None:
        return ""
    return f"{_number(ours) or 'none'} / {_number(theirs) or 'none'}"


def _measured(results: Results, kind: str, figure: str, size: int) -> str:
    value = results.median(kind, figure, size)
    if value is None:
        return "none"
    spread = results.spread(kind, figure, size)
    return _number(value) + (f" ± {spread:.0%}".replace("%", " %") if spread else "")


def _number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return ""
    if abs(value) >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
