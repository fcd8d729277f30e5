# SPDX-License-Identifier: GPL-2.0-or-later
"""One run of the benchmarks: what is asked for, where it happens, and what comes of it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from bench.kernel_limits import NoRoomError
from bench.node import Site
from bench.results import KINDS, Results
from testbed import CommandFailedError, DaemonDiedError, Namespace, Testbed, WaitTimeoutError, veth

_ADDRESSES = ("10.254.0.1", "10.254.0.2")
_FAILURES = (
    *(CommandFailedError, DaemonDiedError, WaitTimeoutError, NoRoomError),
    *(OSError, subprocess.TimeoutExpired),
)


LARGE = 2_000_000
"""Of larger tables only the dump and the memory are asked."""


@dataclass
class Run:
    """What every job works with."""

    bed: Testbed
    sizes: list[int]
    """Flows in the tables that are measured."""
    rates: list[int]
    """Events a second."""
    rounds: int
    seconds: float
    """Length of a short event stream; long ones are some times that."""
    results: Results = field(default_factory=Results)

    @cached_property
    def sites(self) -> tuple[Site, Site]:
        """Where two daemons replicate."""
        one, two = self.bed.namespace("one"), self.bed.namespace("two")
        own, peer = _ADDRESSES
        veth(one, "link", two, "link", first_addresses=[f"{own}/24"], second_addresses=[f"{peer}/24"])
        return Site(one, own, peer), Site(two, peer, own)

    @cached_property
    def namespace(self) -> Namespace:
        """Where commands run."""
        return self.bed.namespace("commands")

    def rounds_at(self, size: int) -> int:
        """Fewer of what takes long: half as many from a million flows on, one of larger tables."""
        if size > LARGE:
            return 1
        return self.rounds if size < LARGE // 2 else (self.rounds + 1) // 2

    def turns(self, what: str, rounds: int | None = None) -> Iterator[str]:
        """The kind whose turn it is, and all again in each round."""
        for number in range(rounds or self.rounds):
            for kind in KINDS:
                say(f"{what}, round {number + 1}, {kind}")
                yield kind

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """What fails inside is told in the report, and all else goes on."""
        try:
            yield
        except _FAILURES as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self.fail(f"{what}: {lines[0]}")

    def fail(self, line: str) -> None:
        """Tell it in the report, once."""
        say(line)
        if line not in self.results.failures:
            self.results.failures.append(line)


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def short(flows: int) -> str:
    """A number of flows as people say it: 10 k, 4 M."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if flows >= unit and flows % unit == 0:
            return f"{flows // unit} {name}"
    return f"{flows}"
