# SPDX-License-Identifier: GPL-2.0-or-later
from typing import Any

from pyconntrack.core.batch import FlowBatch

SOURCE: int
DESTINATION: int
ALL: int

class FlowMatch:
    def __init__(
        self,
        *,
        family: int = 0,
        values: dict[str, Any] | None = None,
        original_fields: int = 0,
        reply_fields: int = 0,
        source_mask: bytes | None = None,
        destination_mask: bytes | None = None,
        reply_source_mask: bytes | None = None,
        reply_destination_mask: bytes | None = None,
        original_zone: int = 0,
        reply_zone: int = 0,
        status_unset: int = 0,
        translation: int = 0,
    ) -> None: ...
    def select(self, batch: FlowBatch, start: int = 0) -> None: ...
    def matches(self, batch: FlowBatch, index: int) -> bool: ...
    def request(self, command: int, flags: int, sequence: int) -> bytes: ...
    @property
    def is_empty(self) -> bool: ...
    @property
    def is_complete_in_kernel(self) -> bool: ...
