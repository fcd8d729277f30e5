# SPDX-License-Identifier: GPL-2.0-or-later
"""What is printed of flows and expectations, in the form that the command line asks for."""

from __future__ import annotations

import sys
import time

from pyconntrack.cli.conntrack_labels import find_labels
from pyconntrack.cli.conntrack_messages import tell
from pyconntrack.core import output
from pyconntrack.core.command_line import (
    COMMAND_DELETE,
    OUTPUT_EXTENDED,
    OUTPUT_ID,
    OUTPUT_JSON,
    OUTPUT_KERNEL_TIMESTAMP,
    OUTPUT_LABELS,
    OUTPUT_SAVE,
    OUTPUT_TIMESTAMP,
    OUTPUT_XML,
    CommandLine,
)

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Protocol, TypeVar

    from pyconntrack.core.batch import FlowBatch
    from pyconntrack.core.expectation_batch import ExpectationBatch
    from pyconntrack.core.label_names import LabelNames

    Batch = TypeVar("Batch", contravariant=True)

    class Output(Protocol[Batch]):
        """What prints batches of something."""

        count: int

        def write(self, batch: Batch, /) -> None: ...
        def end(self) -> None: ...


_XML_DECLARATION = b'<?xml version="1.0" encoding="utf-8"?>\n'

# Flows: the text of more leaves the processor's cache before it is written.
_PIECE = 512
_LABEL_OPTIONS = ("label", "label-add", "label-del")
_FORMS = ((OUTPUT_SAVE, output.SAVE), (OUTPUT_XML, output.XML), (OUTPUT_JSON, output.JSON))
_FLAGS = (
    (OUTPUT_EXTENDED, output.LAYER3),
    (OUTPUT_ID, output.ID),
    (OUTPUT_KERNEL_TIMESTAMP, output.TIMESTAMPS),
)


class FlowOutput:
    """Prints flows, a batch at a time, and counts them.

    `framed` says that XML begins with a declaration and has an element around all, where there are flows.
    """

    def __init__(self, line: CommandLine, *, events: bool = False, framed: bool = False) -> None:
        self.count = 0
        self._form = next((form for asked, form in _FORMS if line.output & asked), output.PLAIN)
        self._flags = _flags(line, self._form, events)
        self._origins = _Origins() if events else None
        self._labels = _label_names(line, self._form)
        self._framed = framed and self._form == output.XML
        self._write = sys.stdout.buffer.write

    def write(self, batch: FlowBatch) -> None:
        """Print the flows of a batch."""
        if not len(batch):
            return
        if self._framed and self.count == 0:
            self._write(output.XML_HEAD)
        names = self._origins.names(batch) if self._origins else None
        form, flags, labels, total = self._form, self._flags, self._labels, len(batch)
        for start in range(0, total, _PIECE):
            end = min(start + _PIECE, total)
            self._write(output.format_batch(batch, start, end, form, flags, labels, *_now(), names))
        self.count += total

    def end(self) -> None:
        """Close the element around all."""
        if self._framed and self.count:
            self._write(output.XML_TAIL)


class ExpectationOutput:
    """Prints expectations, a batch at a time, and counts them; `framed` as for FlowOutput."""

    def __init__(self, line: CommandLine, *, events: bool = False, framed: bool = False) -> None:
        from pyconntrack.core import expectation_text

        self.count = 0
        self._format = expectation_text.format_expectations
        forms = ((OUTPUT_XML, expectation_text.XML), (OUTPUT_JSON, expectation_text.JSON))
        self._form = next((form for asked, form in forms if line.output & asked), expectation_text.PLAIN)
        self._flags = expectation_text.EVENT if events else 0
        if line.output & OUTPUT_TIMESTAMP:
            self._flags |= expectation_text.TIME
        # Expectations have no labels; that there are no names is told all the same.
        _label_names(line, self._form)
        self._framed = framed and self._form == expectation_text.XML
        self._write = sys.stdout.buffer.write

    def write(self, batch: ExpectationBatch) -> None:
        """Print the expectations of a batch."""
        if not len(batch):
            return
        if self._framed and self.count == 0:
            self._write(_XML_DECLARATION + b"<expect>\n")
        self._write(self._format(batch, 0, len(batch), self._form, self._flags, *_now()))
        self.count += len(batch)

    def end(self) -> None:
        """Close the element around all."""
        if self._framed and self.count:
            self._write(b"</expect>\n")


def _flags(line: CommandLine, form: int, events: bool) -> int:
    flags = sum(flag for asked, flag in _FLAGS if line.output & asked)
    if events:
        flags |= output.EVENT
        if line.output & OUTPUT_TIMESTAMP:
            flags |= output.TIME
    if form == output.SAVE:
        # What is loaded again is to be what was saved, with its mark and labels.
        flags |= output.WHOLE
        if line.command == COMMAND_DELETE:
            flags |= output.DELETE
    return flags


def _label_names(line: CommandLine, form: int) -> LabelNames | None:
    """Names are shown where they are asked for, or used; -D shows none, as the C tool's does not."""
    named = any(line.has(name) for name in _LABEL_OPTIONS)
    asked = bool(line.output & OUTPUT_LABELS)
    by_the_way = form == output.SAVE
    if not (named or asked or by_the_way):
        return None
    try:
        names = find_labels(line.label_map_path)
    except OSError as error:
        # Where an option named a label, this was said before.
        if asked and not named:
            tell(f"nfct_labelmap_new: {error.strerror}\n")
        return None
    return None if line.command == COMMAND_DELETE and not by_the_way else names


class _Origins:
    """The processes that caused events; most events come from packets, and have none.

    To find one costs a look at all processes: what is known is believed for a second.
    """

    def __init__(self) -> None:
        self._known: dict[int, bytes | None] = {}
        self._end = 0.0

    def names(self, batch: FlowBatch) -> dict[int, bytes] | None:
        """The names by netlink port; None where no event has such an origin."""
        ports = output.origins(batch)
        if not ports:
            return None
        now = time.monotonic()
        if now > self._end:
            self._known, self._end = {}, now + 1
        self._look_up(ports - self._known.keys())
        return {port: name for port in ports if (name := self._known[port])}

    def _look_up(self, ports: set[int]) -> None:
        if ports:
            from pyconntrack.kernel.process_names import process_names

            self._known |= dict.fromkeys(ports) | process_names(ports)


def _now() -> tuple[int, int]:
    """Seconds since the epoch, and microseconds of the second that runs."""
    now = time.time_ns()
    return now // 10**9, now // 1000 % 10**6
