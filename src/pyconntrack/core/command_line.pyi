# SPDX-License-Identifier: GPL-2.0-or-later
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core.match import FlowMatch

# Commands; NONE is a line without one.
COMMAND_NONE: int
COMMAND_LIST: int
COMMAND_CREATE: int
COMMAND_ADD: int
COMMAND_UPDATE: int
COMMAND_DELETE: int
COMMAND_GET: int
COMMAND_FLUSH: int
COMMAND_EVENT: int
COMMAND_VERSION: int
COMMAND_HELP: int
COMMAND_COUNT: int
COMMAND_STATISTICS: int
COMMAND_LOAD: int

TABLE_CONNTRACK: int
TABLE_EXPECT: int
TABLE_DYING: int
TABLE_UNCONFIRMED: int

OUTPUT_XML: int
OUTPUT_EXTENDED: int
OUTPUT_TIMESTAMP: int
OUTPUT_ID: int
OUTPUT_KERNEL_TIMESTAMP: int
OUTPUT_LABELS: int
OUTPUT_USERSPACE: int
OUTPUT_SAVE: int
OUTPUT_JSON: int

EVENTS_NEW: int
EVENTS_UPDATE: int
EVENTS_DESTROY: int

class LabelFinder(Protocol):
    def find(self, name: str, /) -> int: ...

class CommandLineError(Exception):
    status: int
    usage: bool
    warnings: list[str]
    line: int | None

class CommandLine:
    @property
    def command(self) -> int: ...
    @property
    def table(self) -> int: ...
    @property
    def given(self) -> int: ...
    def has(self, name: str) -> bool: ...
    @property
    def family(self) -> int: ...
    @property
    def protocol(self) -> int | None: ...
    @property
    def output(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def buffer_size(self) -> int | None: ...
    @property
    def load_file(self) -> bytes | None: ...
    @property
    def label_map_path(self) -> str | None: ...
    @property
    def zero_counters(self) -> bool: ...
    @property
    def template(self) -> FlowBatch: ...
    @property
    def match(self) -> FlowMatch: ...
    @property
    def names_one_flow(self) -> bool: ...
    @property
    def expectation(self) -> ExpectationBatch: ...
    @property
    def labels_to_add(self) -> bytes: ...
    @property
    def labels_to_delete(self) -> bytes | Literal[True] | None: ...
    @property
    def warnings(self) -> list[str]: ...

def parse(
    words: Sequence[bytes],
    labels: Callable[[str | None], LabelFinder],
    program: bytes = b"conntrack",
) -> CommandLine: ...
