# SPDX-License-Identifier: GPL-2.0-or-later
"""What flows are meant, in the form of the compiled core."""

from __future__ import annotations

from pyconntrack.core.match import FlowMatch

TYPE_CHECKING = False

if TYPE_CHECKING:
    from pyconntrack.kernel.filter import TableFilter

    Selection = TableFilter | FlowMatch
    """What flows are meant: by values, or already in the form of the compiled core."""


def match_of(selected: Selection | None) -> FlowMatch:
    """A selection in the form of the compiled core; None selects all. Raises ValueError, OverflowError."""
    if selected is None:
        return FlowMatch()
    return selected if isinstance(selected, FlowMatch) else selected.match()
