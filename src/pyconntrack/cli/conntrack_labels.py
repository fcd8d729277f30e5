# SPDX-License-Identifier: GPL-2.0-or-later
"""The names of labels, for those command lines that need them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyconntrack.core.label_names import LabelNames


def find_labels(path: str | None) -> LabelNames:
    """The names in a file, by default the system's; none, and a line on standard error, if it is missing."""
    from pyconntrack.core.label_names import LabelNames
    from pyconntrack.kernel.label_map import LABEL_MAP, LabelMapError, load_label_names

    try:
        return load_label_names(path or LABEL_MAP)
    except LabelMapError as error:
        sys.stderr.write(f"{error}\n")
        return LabelNames()
