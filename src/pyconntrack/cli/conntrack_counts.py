# SPDX-License-Identifier: GPL-2.0-or-later
"""`conntrack -C` and `conntrack -S`: how many there are, and what the kernel counted.

Monitoring asks for them all the time, so that they load no more of the table than what counts it.
"""

from __future__ import annotations

from pyconntrack.core.command_line import TABLE_EXPECT, CommandLine
from pyconntrack.kernel.counts import table_counts
from pyconntrack.kernel.errors import ConntrackError
from pyconntrack.kernel.socket import ConntrackSocket

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterable

_COUNT_SYSCTL = "/proc/sys/net/netfilter/nf_conntrack_count"
_STATISTICS_FILE = "/proc/net/stat/nf_conntrack"
# The C tool counts these alone.
_IPV4 = 2


def count(line: CommandLine) -> int:
    """`-C`: the number alone."""
    if line.table == TABLE_EXPECT:
        from pyconntrack.kernel.expectations import ExpectationTable

        with ExpectationTable() as expectations:
            print(expectations.count(family=_IPV4))
        return 0
    try:
        with ConntrackSocket() as socket:
            print(table_counts(socket)[0])
    except ConntrackError:
        # Whoever may not ask the kernel may still read the number, and is told all the same.
        with open(_COUNT_SYSCTL, encoding="ascii") as file:  # noqa: PTH123 - pathlib takes time to load
            print(int(file.read()))
        raise
    return 0


def statistics(line: CommandLine) -> int:
    """`-S`: a line for each processor."""
    try:
        if line.table == TABLE_EXPECT:
            _print_expectation_statistics()
        else:
            _print_flow_statistics()
    except ConntrackError:
        _print_statistics_file()
        raise
    return 0


def _print_flow_statistics() -> None:
    from pyconntrack.kernel.statistics import processor_statistics

    with ConntrackSocket() as socket:
        for processor in processor_statistics(socket):
            values = processor._asdict()
            values["chaintoolong"] = values.pop("chain_too_long")
            _print_counts(values.pop("cpu"), values.items())


def _print_expectation_statistics() -> None:
    from pyconntrack.kernel.expectations import ExpectationTable

    with ExpectationTable() as expectations:
        for counts in expectations.processor_statistics():
            names = (
                ("expect_new", counts.new),
                ("expect_create", counts.create),
                ("expect_delete", counts.delete),
            )
            _print_counts(counts.cpu, names)


def _print_statistics_file() -> None:
    """What anybody may read: hexadecimal columns under a line of names, a line for each processor."""
    with open(_STATISTICS_FILE, encoding="ascii") as file:  # noqa: PTH123 - as above
        names = file.readline().split()
        for cpu, row in enumerate(file):
            _print_counts(
                cpu, ((name, int(text, 16)) for name, text in zip(names, row.split(), strict=False))
            )


def _print_counts(cpu: int, counts: Iterable[tuple[str, int]]) -> None:
    print(f"cpu={cpu:<4}\t" + "".join(f"{name}={number} " for name, number in counts))
