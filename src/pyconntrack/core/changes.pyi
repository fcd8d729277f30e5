# SPDX-License-Identifier: GPL-2.0-or-later
from typing import Any, Literal

from pyconntrack.core.batch import FlowBatch

class FlowChange:
    def __init__(
        self,
        values: dict[str, Any] | None = None,
        *,
        delete_labels: bytes | Literal[True] | None = None,
    ) -> None: ...
    @staticmethod
    def of_template(
        template: FlowBatch,
        labels_to_add: bytes = b"",
        delete_labels: bytes | Literal[True] | None = None,
    ) -> FlowChange: ...
    def prepare(self, found: FlowBatch, requests: FlowBatch) -> None: ...

def set_aside(batch: FlowBatch, positions: list[int], aside: FlowBatch) -> None: ...
