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
    refused = second.result.status in (0, 2) and "Traceback" not in second.result.errors
    if first.result.status == -signal.SIGSEGV and refused:
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


def _sctp_tags(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool gives the kernel verification tags with their bytes in the host's order."""

    def turned(found: re.Match[str]) -> str:
        tags = (bytes.fromhex(found[place])[::-1].hex() for place in (2, 3))
        return "{}2={} 3={}".format(found[1], *tags)

    table = [
        re.sub(r"(protocol-info\(3\(1=.. )2=([0-9a-f]{8}) 3=([0-9a-f]{8})", turned, line)
        for line in first.table
    ]
    return replace(first, table=table), second


DIFFERENCES: dict[str, Difference] = {
    "crash": Difference("Ends by a segmentation fault", _crash),
    "load-line": Difference("no line number", _load_line),
    "update-answers": Difference("prints some of the flows", _update_answers),
    "update-without-family": Difference("`-U` without an address or `-f`", _update_without_family),
    "sctp-tags": Difference("verification tags", _sctp_tags),
}
