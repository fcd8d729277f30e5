# SPDX-License-Identifier: GPL-2.0-or-later
"""`conntrack` on the tables of flows: list, get, create, update, delete, flush."""

from __future__ import annotations

import errno

from pyconntrack.cli.conntrack_messages import FLOW_EXISTS, NO_SUCH_FLOW, failed, reason, say
from pyconntrack.cli.conntrack_output import FlowOutput
from pyconntrack.core.changes import FlowChange
from pyconntrack.core.command_line import (
    COMMAND_ADD,
    TABLE_CONNTRACK,
    TABLE_DYING,
    TABLE_UNCONFIRMED,
    CommandLine,
)
from pyconntrack.kernel.table import ConntrackTable

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Literal

    from pyconntrack.kernel.changing import Step

_LISTS: dict[int, Literal["table", "dying", "unconfirmed"]] = {
    TABLE_CONNTRACK: "table",
    TABLE_DYING: "dying",
    TABLE_UNCONFIRMED: "unconfirmed",
}


def show(line: CommandLine) -> int:
    """`-L`: the flows that are selected, of the table or of one of the two lists beside it."""
    output = FlowOutput(line, framed=True)
    with ConntrackTable() as table:
        of, zero = _LISTS[line.table], line.zero_counters
        for batch in table.dump_batches(line.match, zero_counters=zero, of=of, ahead=True):
            output.write(batch)
    output.end()
    say(f"{output.count} flow entries have been shown.")
    return 0


def get(line: CommandLine) -> int:
    """`-G`: the one flow of a tuple."""
    output = FlowOutput(line, framed=True)
    with ConntrackTable() as table:
        found = table.reread(line.template)
    if not len(found):
        raise failed(errno.ENOENT, missing=NO_SUCH_FLOW)
    line.match.select(found)
    output.write(found)
    say(f"{output.count} flow entries have been shown.")
    return 0 if output.count else 1


def create(line: CommandLine) -> int:
    """`-I` and `-A`: one flow, which for `-A` may be there already."""
    adds = line.command == COMMAND_ADD
    with ConntrackTable() as table:
        refused = table.create_batch(line.template, as_is=True)
    if refused and not (adds and refused[0][1] == errno.EEXIST):
        raise failed(refused[0][1], missing=NO_SUCH_FLOW, exists=FLOW_EXISTS)
    say(f"{1 - len(refused)} flow entries have been {'added' if adds else 'created'}.")
    return 0


def update(line: CommandLine) -> int:
    """`-U`: change the flows that are selected, and print what they have become."""
    count, refused = update_selected(line)
    say(f"{count} flow entries have been updated.")
    return 0 if count and not refused else 1


def update_selected(line: CommandLine) -> tuple[int, bool]:
    """Change and print; how many there were, and whether the kernel refused some."""
    change = FlowChange.of_template(line.template, line.labels_to_add, line.labels_to_delete)
    output = FlowOutput(line)
    refusals: set[int] = set()
    with ConntrackTable() as table:
        for step in table.update_steps(line.match, change):
            output.write(table.reread(step.flows))
            refusals |= _tell_refusals(step, refusals)
    return output.count, bool(refusals)


def delete(line: CommandLine) -> int:
    """`-D`: delete the flows that are selected, and print them."""
    count, refused = delete_selected(line)
    say(f"{count} flow entries have been deleted.")
    return 0 if count and not refused else 1


def delete_selected(line: CommandLine) -> tuple[int, bool]:
    """Delete and print; as update_selected."""
    output = FlowOutput(line)
    refusals: set[int] = set()
    with ConntrackTable() as table:
        for step in table.delete_steps(line.match):
            output.write(step.flows)
            refusals |= _tell_refusals(step, refusals)
    return output.count, bool(refusals)


def flush(line: CommandLine) -> int:
    """`-F`: delete all flows, or those of a family."""
    with ConntrackTable() as table:
        table.flush(line.match)
    say("connection tracking table has been emptied.")
    return 0


def _tell_refusals(step: Step, known: set[int]) -> set[int]:
    """One line for each new reason why a flow was not done; that it ended meanwhile is none."""
    met = set(step.errors) - {errno.ENOENT}
    for number in sorted(met - known):
        say(f"Operation failed: {reason(number)}")
    return met
