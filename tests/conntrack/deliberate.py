# SPDX-License-Identifier: GPL-2.0-or-later
"""The deliberate differences between the C tool and ours, each with a name; see docs/differences.md for why.

A case that names some must show each of them, and may show nothing else: each is a function that takes two
outcomes, the C tool's and ours, and returns both without what is meant to differ, if it does.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.conntrack.tools import Result


@dataclass(frozen=True)
class Outcome:
    """A result and the tables afterwards, as they can be compared."""

    result: Result
    table: list[str]

    def with_result(self, **parts: str | int) -> Outcome:
        return replace(self, result=self.result.replaced(**parts))


@dataclass(frozen=True)
class Difference:
    """One difference that is meant."""

    documented: str
    """Words of its row in docs/differences.md."""
    without: Callable[[Outcome, Outcome], tuple[Outcome, Outcome]]


def _crash(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    refused = second.result.status in (0, 1, 2) and "Traceback" not in second.result.errors
    if first.result.status == -signal.SIGSEGV and refused:
        return second, second
    return first, second


def _status_deletes(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool deletes by a status that says nothing; ours refuses, and deletes nothing."""
    told = second.result.errors.endswith("conntrack VERSION: Operation failed: invalid parameters\n")
    refused = told and second.result.status == 1 and not second.result.output
    if first.result.status == 0 and refused and set(first.table) < set(second.table):
        return second, second
    return first, second


def _protocol_deletes(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool cuts a protocol's number to eight bits, and deletes flows of another; ours knows none."""
    refused = "conntrack VERSION: `mptcp' unsupported protocol\n"
    told = second.result.errors.startswith(refused) and second.result.status == 2 and not second.result.output
    if first.result.status == 0 and told and set(first.table) < set(second.table):
        return second, second
    return first, second


def _load_line(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    return first, second.with_result(errors=re.sub(r"VERSION: line \d+: ", "VERSION: ", second.result.errors))


def _update_answers(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool prints some of what it updated; ours prints all of it."""
    some, all_ = first.result.output.splitlines(), second.result.output.splitlines()
    said = re.search(r"(\d+) flow entries have been updated", second.result.errors)
    if said and len(all_) == int(said[1]) and set(some) <= set(all_):
        return first.with_result(output=""), second.with_result(output="")
    return first, second


def _update_without_family(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool asks the kernel for what it cannot do; ours updates as many flows as it says."""
    said = re.search(r"(\d+) flow entries have been updated", second.result.errors)
    printed = len(second.result.output.splitlines())
    refused = first.result.status == 1 and "Operation not supported" in first.result.errors
    if refused and second.result.status == 0 and said and printed == int(said[1]) > 0:
        return second, second
    return first, second


def _fewer(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool takes flows that do not match for such that do; ours says how many less there are."""
    many, few = first.result.output.splitlines(), second.result.output.splitlines()
    errors = re.sub(rf"\b{len(many)} flow", f"{len(few)} flow", first.result.errors)
    same = (errors, first.result.status) == (second.result.errors, second.result.status)
    if same and set(few) < set(many) and set(first.table) <= set(second.table):
        return second, second
    return first, second


def _flush_family(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool empties the table of both families; ours leaves one as it was."""
    kept = {line.split()[0] for line in second.table}
    if not first.table and len(kept) == 1:
        return first, replace(second, table=[])
    return first, second


def _expect_protocol(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool's expectations have no protocol and no ports; ours have."""

    given = "1=00|1=06 2=0005 3=0006|1=06 2=0000 3=ffff"
    pattern = re.compile(rf"((?:tuple|mask)\(1\([^)]*\) )2\((?:{given})\)")

    def without(outcome: Outcome) -> Outcome:
        return replace(outcome, table=sorted(pattern.sub(r"\1", line) for line in outcome.table))

    return (without(first), without(second)) if first.table != second.table else (first, second)


def _save_whole(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool saves no marks and labels; ours does."""
    lines = second.result.output.splitlines(keepends=True)
    output = "".join(re.sub(r" -m \d+| --label-add \S+", "", line) for line in lines)
    return first, second.with_result(output=output)


def _translated_port(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool passes over the port of a translation where the protocol is not TCP or UDP."""
    reply = re.compile(r"(reply\(1\([^)]*\) 2\(1=(?:84|01) )[^)]*")
    if len(first.table) == len(second.table) == 1 and first.table != second.table:
        return (
            replace(first, table=[reply.sub(r"\1", first.table[0])]),
            replace(second, table=[reply.sub(r"\1", second.table[0])]),
        )
    return first, second


DIFFERENCES: dict[str, Difference] = {
    "crash": Difference("Ends by a segmentation fault", _crash),
    "status-deletes": Difference("`-D` by a status", _status_deletes),
    "protocol-deletes": Difference("more than eight bits", _protocol_deletes),
    "load-line": Difference("no line number", _load_line),
    "update-answers": Difference("prints some of the flows", _update_answers),
    "update-without-family": Difference("`-U` without an address or `-f`", _update_without_family),
    "gre-keys": Difference("Keys of GRE", _fewer),
    "ipv6-translation": Difference("IPv6 address of a translation", _fewer),
    "flush-family": Difference("`-F -f ipv6`", _flush_family),
    "expect-protocol": Difference("`-I expect`", _expect_protocol),
    "save-whole": Difference("`-o save` leaves out", _save_whole),
    "translated-port": Difference("port of a translation", _translated_port),
}
