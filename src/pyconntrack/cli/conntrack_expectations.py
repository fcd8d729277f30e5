# SPDX-License-Identifier: GPL-2.0-or-later
"""`conntrack` on the table `expect`: list, get, create, delete, flush."""

from __future__ import annotations

from pyconntrack.cli.conntrack_messages import failed, say
from pyconntrack.cli.conntrack_output import ExpectationOutput
from pyconntrack.core.command_line import CommandLine
from pyconntrack.kernel.expectations import ExpectationTable

# The family that is listed where none is asked for (AF_INET), as the C tool has it.
_USUAL_FAMILY = 2


def show(line: CommandLine) -> int:
    """`-L expect`: the expectations of a family, IPv4 by default."""
    output = ExpectationOutput(line, framed=True)
    with ExpectationTable() as table:
        output.write(table.dump_batch(family=line.family or _USUAL_FAMILY))
    output.end()
    say(f"{output.count} expectations have been shown.")
    return 0


def get(line: CommandLine) -> int:
    """`-G expect`: the one of a tuple."""
    output = ExpectationOutput(line)
    with ExpectationTable() as table:
        output.write(table.get_batch(line.expectation))
    return 0


def create(line: CommandLine) -> int:
    """`-I expect`: says nothing where it succeeds."""
    with ExpectationTable() as table:
        _raise_refusal(table.create_batch(line.expectation), missing="master conntrack not found")
    return 0


def delete(line: CommandLine) -> int:
    """`-D expect`: the one of a tuple."""
    with ExpectationTable() as table:
        _raise_refusal(table.delete_batch(line.expectation))
    say("0 expectations have been shown.")
    return 1


def flush(_: CommandLine) -> int:
    """`-F expect`: all of them."""
    with ExpectationTable() as table:
        table.flush()
    say("expectation table has been emptied.")
    return 0


def _raise_refusal(refused: list[tuple[int, int]], missing: str | None = None) -> None:
    for _, number in refused:
        raise failed(number, missing=missing)
