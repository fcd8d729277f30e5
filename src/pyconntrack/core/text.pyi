# SPDX-License-Identifier: GPL-2.0-or-later
from typing import Any

PLAIN: int
XML: int
LAYER3: int
ID: int
TIMESTAMPS: int
EVENT: int
TIME: int
NO_REPLY: int
NO_TIMEOUT: int
INTERNAL_CACHE: int
EXTERNAL_CACHE: int

def format_records(records: Any, form: int = 0, flags: int = 0, now: int = 0, age: int = -1) -> bytes: ...
