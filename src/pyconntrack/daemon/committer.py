# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts the external cache into the kernel, batch by batch, while everything else goes on."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from pyconntrack.config import Sync
from pyconntrack.core.commit import Commit
from pyconntrack.core.external import ExternalCache
from pyconntrack.daemon.reporter import Reporter
from pyconntrack.kernel.socket import ConntrackSocket

_REASONS = {
    "EEXIST": "another flow has the same reply tuple",
    "ENOENT": "the master, or the helper, is not in the kernel",
    "ENOMEM": "the kernel's table is full: raise net.netfilter.nf_conntrack_max",
    "EINVAL": "the kernel does not take the flow as its peer described it",
    "EOPNOTSUPP": "the kernel lacks the module for the helper or for NAT",
    "EPERM": "CAP_NET_ADMIN is needed",
}


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What became of a commit: entries committed, entries that failed by reason, seconds."""

    committed: int
    failures: dict[int, int]
    seconds: float


async def commit(
    cache: ExternalCache, sync: Sync, reporter: Reporter, follow: Callable[[], None]
) -> CommitResult:
    """Commit every entry; log how many, how long it took, and what could not be committed.

    Raises ConntrackError, OSError.
    """
    loop = asyncio.get_running_loop()
    work = Commit(
        cache.table,
        timeout=-1 if sync.commit_timeout is None else sync.commit_timeout,
        window_tracking=sync.tcp_window_tracking,
    )
    begin = time.perf_counter()
    with ConntrackSocket(receive_buffer=work.receive_buffer) as requests:
        while work.step(requests.fileno(), int(loop.time())):
            follow()
            await asyncio.sleep(0)
    result = CommitResult(work.committed, dict(work.failures), time.perf_counter() - begin)
    _report(result, reporter)
    return result


def _report(result: CommitResult, reporter: Reporter) -> None:
    reporter.notice(f"Committed {result.committed} new entries")
    if result.failures:
        reporter.notice(f"{sum(result.failures.values())} entries can't be committed")
    for number, count in sorted(result.failures.items()):
        reporter.error(f"commit: {count} times {reason_of(number)}")
    reporter.notice(f"commit has taken {result.seconds:.6f} seconds")


def reason_of(number: int) -> str:
    """Why the kernel refuses a flow: the error's name, and what to think of it."""
    name = errno_name(number)
    return f"{name}, {_REASONS.get(name, os.strerror(number))}"


def errno_name(number: int) -> str:
    """The symbolic name of an error number, `EEXIST` of 17."""
    import errno

    return errno.errorcode.get(number, str(number))
