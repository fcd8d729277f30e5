# SPDX-License-Identifier: GPL-2.0-or-later
"""The page and the picture of results, and what the README repeats of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.page import page, short_table, table, with_table
from bench.plot import draw
from bench.results import LIMIT, OURS, THEIRS, Results
from bench.rows import Limit, Row, Share

ROOT = Path(__file__).parents[2]


@pytest.fixture
def results() -> Results:
    made = Results(failures=["it broke"], refusals=["C will not"], circumstances=["a machine"])
    for size in (10_000, 1_000_000):
        for value in (1.0, 2.0, 4.0):
            made.add(OURS, {"-L wall": value}, size)
        made.add(THEIRS, {"-L wall": 5.0}, size)
        made.add(LIMIT, {"dump wall": 0.5}, size)
    return made


def test_a_row_has_medians_ratio_and_verdict(results: Results) -> None:
    row = Row("listing", "-L wall", "µs", 500_000, Share(0.5), "dump wall")
    line = table([row], results).splitlines()[2]
    assert line == "| listing | µs | 10 k | 2.00 ± 75 % | 5.00 | 0.40 | 2.50 | yes | 0.50 |"
    assert " | 1.50 | no | " in table([Row("listing", "-L wall", "µs", 10_000, Limit(1.5))], results)


def test_what_was_not_measured_has_no_line(results: Results) -> None:
    assert table([Row("other", "-D wall", "µs", 10_000)], results) == ""
    assert table([Row("small", "-L wall", "µs", 9_999)], results) == ""


def test_a_page_tells_all(results: Results, tmp_path: Path) -> None:
    text = page(results)
    for part in ("- a machine\n", "- it broke\n", "- C will not\n", short_table(results), "2.00 / 5.00"):
        assert part in text
    results.save(tmp_path / "results.json")
    assert page(Results.load(tmp_path / "results.json")) == text


def test_the_picture_is_of_the_results_alone(results: Results, tmp_path: Path) -> None:
    one, two = tmp_path / "one.svg", tmp_path / "two.svg"
    for path in (one, two):
        draw(results, path)
    assert one.read_bytes() == two.read_bytes()
    assert "1 M</text>" in one.read_text()


def test_the_readme_has_the_main_lines_of_the_page() -> None:
    readme, text = (ROOT / "README.md").read_text(), (ROOT / "docs" / "benchmarks.md").read_text()
    short = text.partition("## In short\n\n")[2].partition("\n\n")[0] + "\n"
    assert short.count("\n") > 2
    assert with_table(readme, short) == readme
