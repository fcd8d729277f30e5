# SPDX-License-Identifier: GPL-2.0-or-later
"""The log of ended flows: what waits, what is lost, and what the general log hears of it."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyconntrack.daemon.line_outlets import FileOutlet
from pyconntrack.daemon.statistics_log import StatisticsLog

STAMP = b"Sun Nov 22 05:22:40 2026\t"
LINE = STAMP + b"x" * 74 + b"\n"


class Heard:
    """What the general log was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def notice(self, message: str, /) -> None:
        self.told.append(message)

    warning = error = notice


class Outlet:
    """Takes lines while it is not broken."""

    name = "outlet"

    def __init__(self) -> None:
        self.failure: OSError | None = None
        self.busy = False
        self.got = b""

    def put(self, lines: bytes) -> tuple[int, OSError | None]:
        if self.failure is not None or self.busy:
            return 0, self.failure
        self.got += lines
        return len(lines), None

    def reopen(self) -> None:
        return

    def close(self) -> None:
        return


async def until(outlet: Outlet, length: int) -> None:
    async with asyncio.timeout(10):
        while len(outlet.got) < length:
            await asyncio.sleep(0.01)


def test_what_fails_is_told_once_and_comes_later_in_order() -> None:
    heard, outlet = Heard(), Outlet()

    async def run() -> None:
        log = StatisticsLog([outlet], heard)
        outlet.failure = OSError(28, "No space left on device")
        log.write(b"a" + LINE)
        log.write(b"b" + LINE)
        assert outlet.got == b""
        outlet.failure = None
        log.write(b"c" + LINE)
        await until(outlet, 3 * len(LINE) + 3)
        log.write(b"d" + LINE)
        log.close()

    asyncio.run(run())
    assert outlet.got == b"a" + LINE + b"b" + LINE + b"c" + LINE + b"d" + LINE
    assert heard.told == [
        "can't write to outlet: No space left on device",
        "outlet can be written again, nothing was lost",
    ]


def test_beyond_its_limit_lines_are_lost_whole_and_counted() -> None:
    heard, outlet = Heard(), Outlet()
    batch = LINE * 30_000  # 3 MB

    async def run() -> None:
        log = StatisticsLog([outlet], heard)
        outlet.busy = True
        log.write(batch)
        assert heard.told == []
        log.write(batch)
        outlet.busy = False
        await until(outlet, len(batch))
        log.close()

    asyncio.run(run())
    assert outlet.got == LINE * (len(outlet.got) // len(LINE))
    lost = 60_000 - len(outlet.got) // len(LINE)
    assert 0 < lost < 30_000
    assert heard.told == [
        "outlet is too slow: lines about ended flows are lost",
        f"outlet can be written again, {lost} lines were lost",
    ]


def test_at_its_end_it_tells_what_could_not_be_written() -> None:
    heard, outlet = Heard(), Outlet()

    async def run() -> None:
        log = StatisticsLog([outlet], heard)
        outlet.busy = True
        log.write(3 * LINE)
        log.close()

    asyncio.run(run())
    assert heard.told == ["3 lines about ended flows could not be written"]


def test_without_outlets_it_is_none() -> None:
    async def run() -> None:
        assert not StatisticsLog([], Heard())

    asyncio.run(run())


@contextmanager
def longest_file(size: int) -> Iterator[None]:
    """In place of a disk that fills up: the write that meets the limit comes back short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("rotated", [False, True])
def test_line_that_was_cut_is_whole_in_the_end(tmp_path: Path, rotated: bool) -> None:
    path = tmp_path / "flows"
    lines = b"".join(b"%s%d\n" % (STAMP, number) for number in range(100))
    outlet = FileOutlet(str(path))
    with longest_file(1000):
        settled, failure = outlet.put(lines)
    assert failure is not None
    assert 0 < settled < 1000 == path.stat().st_size
    assert lines[:settled].endswith(b"\n")
    if rotated:
        old = path.rename(path.with_suffix(".1"))
        outlet.reopen()
    assert outlet.put(lines[settled:]) == (len(lines) - settled, None)
    outlet.close()
    expected = lines[settled:] if rotated else lines
    assert path.read_bytes() == expected
    if rotated:
        assert old.read_bytes() == lines[:1000]


def test_pipe_without_room_is_only_busy(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    outlet = FileOutlet(str(path))
    lines = LINE * 10_000
    settled, failure = outlet.put(lines)
    assert failure is None
    assert 0 < settled < len(lines)
    assert settled % len(LINE) == 0
    got = os.read(reader, 1 << 20)
    while settled < len(lines):
        more, failure = outlet.put(lines[settled:])
        assert failure is None
        settled += more
        got += os.read(reader, 1 << 20)
    assert got == lines
    outlet.close()
    os.close(reader)
