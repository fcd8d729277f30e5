# SPDX-License-Identifier: GPL-2.0-or-later
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.label_names import LabelNames

PLAIN: int
XML: int
SAVE: int
JSON: int
LAYER3: int
ID: int
TIMESTAMPS: int
EVENT: int
TIME: int
WHOLE: int
DELETE: int
XML_HEAD: bytes
XML_TAIL: bytes

def format_batch(
    batch: FlowBatch,
    start: int,
    stop: int,
    form: int = 0,
    flags: int = 0,
    labels: LabelNames | None = None,
    now_seconds: int = 0,
    now_microseconds: int = 0,
    process_names: dict[int, bytes] | None = None,
) -> bytes: ...
def origins(batch: FlowBatch, start: int = 0) -> set[int]: ...
