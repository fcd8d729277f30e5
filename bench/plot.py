# SPDX-License-Identifier: GPL-2.0-or-later
"""How the figures grow, as a picture: ours, the C tools', and the limit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from bench.results import LIMIT, OURS, THEIRS, Results
from bench.run import short


@dataclass(frozen=True)
class Panel:
    """One figure against the size."""

    title: str
    figure: str
    unit: str
    size: str
    limit: str = ""


PANELS = (
    Panel("conntrack -L", "-L wall", "µs a flow", "flows in the table", "dump wall"),
    Panel("conntrack -R", "-R wall", "µs a flow", "flows in the table", "insert wall"),
    Panel("internal cache", "internal memory", "bytes a flow", "flows in the table"),
    Panel("replicated event, sender", "event sender", "µs CPU", "events a second"),
    Panel("commit", "commit wall", "µs a flow", "flows in the table", "insert wall"),
    Panel("fail-over, longest stall", "stall", "s", "flows in the table"),
)
_STYLES = {OURS: ("#1f6fb4", "o-"), THEIRS: ("#b4521f", "s-"), LIMIT: ("#7a7a7a", ":")}
_COLUMNS = 3


def draw(results: Results, path: Path) -> None:
    """Write an SVG, the same bytes for the same results."""
    with matplotlib.rc_context():
        matplotlib.rc("svg", fonttype="none", hashsalt="bench")
        matplotlib.rc("font", family="sans-serif", size=9)
        figure = Figure(figsize=(10, 5.6), layout="constrained")
        axes = figure.subplots(len(PANELS) // _COLUMNS, _COLUMNS).flat
        for axis, panel in zip(axes, PANELS, strict=True):
            _draw_panel(axis, panel, results)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(_STYLES), frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_panel(axis: Axes, panel: Panel, results: Results) -> None:
    for kind, (colour, style) in _STYLES.items():
        figure = panel.limit if kind == LIMIT else panel.figure
        points = [(size, results.median(kind, figure, size)) for size in results.sizes(figure)]
        known = [(size, value) for size, value in points if value is not None]
        if known:
            axis.plot(*zip(*known, strict=True), style, color=colour, label=kind, markersize=4)
    axis.set_title(panel.title, fontsize=10)
    axis.set_xlabel(panel.size)
    axis.set_ylabel(panel.unit)
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xscale("log")
    axis.set_xticks(results.sizes(panel.figure))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda size, _: short(round(size))))
