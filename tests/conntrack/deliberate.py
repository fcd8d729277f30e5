# SPDX-License-Identifier: GPL-2.0-or-later
"""The deliberate differences between the C tool and ours, each with a name; see docs/differences.md for why.

A case that names some must show each of them, and may show nothing else: each is a function that takes two
outcomes, the C tool's and ours, and returns both without what is meant to differ, if it does.
"""

from __future__ import annotations

import re
import signal
import sys
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


def _load_refused(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool stops at the first line that the kernel refuses; ours tells of each, and goes on."""
    pattern = re.compile(r"conntrack VERSION: line \d+: (Operation failed: .+)\n")
    told = pattern.findall(second.result.errors)
    error = first.result.errors.replace("Invalid argument", "invalid parameters")
    same = (
        bool(told)
        and error == f"conntrack VERSION: {told[0]}\n"
        and not pattern.sub("", second.result.errors)
    )
    loaded = set(first.table) <= set(second.table)
    return (
        (second, second)
        if same and loaded and first.result.status == second.result.status == 1
        else (first, second)
    )


def _load_update(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool passes over `-U` behind other lines of a file without a word; ours carries it out."""
    some, all_ = first.result.output.splitlines(), second.result.output.splitlines()
    silent = (
        first.result.errors == second.result.errors == "" and first.result.status == second.result.status == 0
    )
    if silent and set(some) < set(all_) and _changed(first, second) == len(all_) - len(some):
        return second, second
    return first, second


def _load_directory(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool takes a directory for an empty file."""
    silent = first.result == Result("", "", 0)
    told = second.result.errors.startswith("conntrack VERSION: Failed to open file / for reading\n")
    if silent and told and second.result.status == 2 and second.result.output == "":
        return first, replace(second, result=first.result)
    return first, second


def _mark_before_status(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool's flow gets the number of its status for its mark; ours gets what `-m` says."""
    marked = [line.replace(" mark=00000002", " mark=00000010") for line in first.table]
    return (replace(first, table=marked), second) if marked == second.table else (first, second)


def _help(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """Ours has a text of its own, with every option of the C tool's."""
    options = [set(re.findall(r"--[a-z][a-z-]+", outcome.result.output)) for outcome in (first, second)]
    title = "Command line interface for the connection tracking system. Version "
    titled = all(outcome.result.output.startswith(title) for outcome in (first, second))
    if titled and len(options[0]) > 25 and options[0] <= options[1]:
        return first.with_result(output=""), second.with_result(output="")
    return first, second


def _timeout_deletes(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool deletes all flows, whatever their timeouts; ours those that have it: none."""
    none = second.result.errors == "conntrack VERSION: 0 flow entries have been deleted.\n"
    if first.result.status == 0 and not first.table and none and second.result.status == 1 and second.table:
        return second, second
    return first, second


def _wrong_protocol_option(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool counts the options of the last protocol only, and names another one."""
    named = "Illegal option `--state' with this command"
    errors = re.sub(r"Illegal option `--[\w-]+' with this command", named, first.result.errors)
    return (first.with_result(errors=errors), second) if errors == second.result.errors else (first, second)


def _get_reply(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool gets no answer to a question that it asked in half; ours compares what it got."""
    none = "conntrack VERSION: 0 flow entries have been shown.\n"
    if "Operation failed: No data available" in first.result.errors and second.result.errors == none:
        return first.with_result(errors=none), second
    return first, second


def _dccp_ports(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """Where the kernel knows no ports of DCCP, both show 0; the C tool does not find by that."""
    shown = second.result.output
    found = second.result.errors == "conntrack VERSION: 1 flow entries have been shown.\n"
    missed = first.result == Result("", "conntrack VERSION: 0 flow entries have been shown.\n", 1)
    if missed and found and shown.startswith("dccp ") and shown.count(" sport=0 dport=0 ") == 2:
        return first, replace(second, result=first.result)
    return first, second


def _expect_exists(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """What the C tool makes has no ports, and takes the place of what exists; ours says that it exists."""
    exists = Result("", "conntrack VERSION: Operation failed: File exists\n", 1)
    made, kept = set(first.table) - set(second.table), set(second.table) - set(first.table)
    without_ports = re.compile(r"family=2 tuple\(1\([^)]*\) 2\(1=\w\w\)\) ")
    if first.result == Result("", "", 0) and second.result == exists and len(made) == len(kept) == 1:
        return (second, second) if all(map(without_ports.match, made)) else (first, second)
    return first, second


def _update_answers(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool prints some of what it updated; ours prints all of it."""
    some, all_ = first.result.output.splitlines(), second.result.output.splitlines()
    if _updated(second) == len(all_) and set(some) <= set(all_):
        return first.with_result(output=""), second.with_result(output="")
    return first, second


def _update_without_family(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool asks the kernel for what it cannot do; ours updates as much as it says."""
    cannot = first.result.status == 1 and "Operation not supported" in first.result.errors
    refusals, count = _refusals(second), _updated(second)
    told = len(refusals) == len(set(refusals)) and (count > 0 or bool(refusals))
    right = second.result.status == (1 if refusals or not count else 0)
    if (
        cannot
        and told
        and right
        and len(second.result.output.splitlines()) == count >= _changed(first, second)
    ):
        return second, second
    return first, second


def _update_refused(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool counts and prints flows that the kernel did not change, or stops; ours does neither."""
    told = re.findall(r"^Operation failed: .*", first.result.errors, re.M) + _refusals(first)
    count = len(second.result.output.splitlines())
    stopped = first.result.status == 1 and _updated(first) < 0
    same = sorted(set(told)) == sorted(_refusals(second)) != []
    if not same or second.result.status != 1 or _updated(second) != count:
        return first, second
    if stopped and _changed(first, second) <= count:
        return second, second
    if first.result.status == 0 and count < _updated(first):
        return replace(first, result=second.result), second
    return first, second


def _update_zone(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool updates, of each flow in a zone, the one with its tuples in no zone, if there is one.

    It counts that as often as it does it, once less where it did before it was told of the flow itself.
    """
    missing = "Operation failed: No such file or directory\n"
    both = list(zip(first.table, second.table, strict=False))
    others = [pair for pair in both if pair[0] != pair[1]]
    zoned = all(_ends(one) == _ends(other) and _IN_ZONE.search(_ends(one)) for one, other in others)
    count = _updated(first) + first.result.errors.count(missing)
    if others and zoned and len(first.table) == len(second.table) and _updated(second) - count in (0, 1):
        return first.with_result(errors=second.result.errors), replace(second, table=first.table)
    return first, second


def _update_many(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool ends in the midst, when the answers that it does not read fill its socket."""
    gave_up = first.result.status == 1 and "No buffer space available" in first.result.errors
    count = len(second.result.output.splitlines())
    whole = second.result.status == 0 and _updated(second) == count >= _changed(first, second)
    if gave_up and whole and set(first.result.output.splitlines()) < set(second.result.output.splitlines()):
        return second, second
    return first, second


def _update_flags(first: Outcome, second: Outcome) -> tuple[Outcome, Outcome]:
    """The C tool sets flags of TCP flows that it was not asked to."""

    gone, come = set(first.table) - set(second.table), set(second.table) - set(first.table)
    unset = "protocol-info(1(1=03 2=00 3=00 4=0000 5=0000))"
    was = {line.replace("4=0a00 5=0a00", "4=0000 5=0000") for line in gone}
    return (
        (first, replace(second, table=first.table)) if was == come and unset in str(come) else (first, second)
    )


_IN_ZONE = re.compile(r" zone=|\) 3=\w{4}\)")


def _updated(outcome: Outcome) -> int:
    said = re.search(r"(\d+) flow entries have been updated", outcome.result.errors)
    return int(said[1]) if said else -1


def _refusals(outcome: Outcome) -> list[str]:
    return re.findall(r"^conntrack VERSION: (Operation failed: .*)", outcome.result.errors, re.M)


def _changed(first: Outcome, second: Outcome) -> int:
    """How many entries are others; more than there are if one has no counterpart."""
    if sorted(map(_ends, first.table)) != sorted(map(_ends, second.table)):
        return sys.maxsize
    return len(set(second.table) - set(first.table))


def _ends(line: str) -> str:
    """What names an entry of a table: family, tuples, zone."""
    return line.partition(" status=")[0]


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

    given = r"1=\w\w|1=06 2=0005 3=0006|1=06 2=0000 3=ffff"
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
    "help": Difference("`-h`, and no command at all", _help),
    "status-deletes": Difference("`-D` by a status", _status_deletes),
    "protocol-deletes": Difference("more than eight bits", _protocol_deletes),
    "load-line": Difference("no line number", _load_line),
    "load-refused": Difference("A line that the kernel refuses", _load_refused),
    "load-update": Difference("`-U` in a file of `-R`", _load_update),
    "load-directory": Difference("A directory", _load_directory),
    "mark-before-status": Difference("`-m` before `-u`", _mark_before_status),
    "update-answers": Difference("prints some of the flows", _update_answers),
    "update-without-family": Difference("`-U` without an address or `-f`", _update_without_family),
    "update-refused": Difference("Flows that the kernel does not change", _update_refused),
    "update-zone": Difference("`-U` of flows in zones", _update_zone),
    "update-many": Difference("hundreds of flows", _update_many),
    "update-flags": Difference("flags of TCP flows", _update_flags),
    "timeout-deletes": Difference("`-D -t 100`", _timeout_deletes),
    "wrong-protocol-option": Difference("names another option", _wrong_protocol_option),
    "get-reply": Difference("`-G` with only some", _get_reply),
    "dccp-ports": Difference("Ports of DCCP", _dccp_ports),
    "secmark": Difference("`-c`", _fewer),
    "gre-keys": Difference("Keys of GRE", _fewer),
    "ipv6-translation": Difference("IPv6 address of a translation", _fewer),
    "flush-family": Difference("`-F -f ipv6`", _flush_family),
    "expect-protocol": Difference("`-I expect`", _expect_protocol),
    "expect-exists": Difference("that exists", _expect_exists),
    "save-whole": Difference("`-o save` leaves out", _save_whole),
    "translated-port": Difference("port of a translation", _translated_port),
}
