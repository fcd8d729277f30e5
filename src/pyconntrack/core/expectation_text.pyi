# SPDX-License-Identifier: GPL-2.0-or-later
from pyconntrack.core.expectation_batch import ExpectationBatch

PLAIN: int
XML: int
JSON: int
EVENT: int
TIME: int

def format_expectations(
    batch: ExpectationBatch,
    start: int,
    stop: int,
    form: int = 0,
    flags: int = 0,
    now_seconds: int = 0,
    now_microseconds: int = 0,
) -> bytes: ...
