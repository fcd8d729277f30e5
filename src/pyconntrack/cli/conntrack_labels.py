# SPDX-License-Identifier: GPL-2.0-or-later
"""The names of labels, for those command lines that need them."""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from pyconntrack.core.label_names import LabelNames


def find_labels(path: str | None) -> LabelNames:
    """The names in a file, the system's if None. Raises OSError, also where it names nothing."""
    from pyconntrack.kernel.label_map import LABEL_MAP, LabelMapError, load_label_names

    try:
        return load_label_names(path or LABEL_MAP)
    except LabelMapError as error:
        raise OSError(*_reason(error)) from error


def _reason(error: Exception) -> tuple[int, str]:
    cause = error.__cause__
    if isinstance(cause, OSError):
        return cause.errno or 0, cause.strerror or str(error)
    return 0, str(error)
