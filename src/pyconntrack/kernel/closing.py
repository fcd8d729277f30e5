# SPDX-License-Identifier: GPL-2.0-or-later
"""What has to be closed, as a context manager."""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Closing:
    """Closed at the end of a `with` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what it holds. Harmless a second time."""
        raise NotImplementedError
