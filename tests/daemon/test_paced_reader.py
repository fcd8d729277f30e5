# SPDX-License-Identifier: GPL-2.0-or-later
"""The paced reader: nothing is left lying, and looks are few."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator

import pytest

from pyconntrack.daemon.paced_reader import PacedReader


class Pipe:
    """A pipe whose reading end counts the looks and keeps what came."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.pieces: list[int] = []

    def take(self) -> int:
        """Take at most ten bytes."""
        try:
            taken = len(os.read(self.reading, 10))
        except BlockingIOError:
            taken = 0
        self.pieces.append(taken)
        return taken

    async def received(self, total: int) -> None:
        async with asyncio.timeout(10):
            while sum(self.pieces) < total:
                await asyncio.sleep(0)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    for descriptor in (made.reading, made.writing):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def test_takes_the_first_arrival_and_waits_again(pipe: Pipe) -> None:
    async def run() -> None:
        reader = PacedReader(pipe.reading, pipe.take, 10, 0.002)
        for count in (1, 2, 3):
            os.write(pipe.writing, b"x")
            await pipe.received(count)
        while pipe.pieces[-1]:  # until it waits for the descriptor again
            await asyncio.sleep(0)
        os.write(pipe.writing, b"x")
        await pipe.received(4)
        reader.stop()

    asyncio.run(run())


def test_goes_on_at_once_while_there_may_be_more(pipe: Pipe) -> None:
    async def run() -> None:
        reader = PacedReader(pipe.reading, pipe.take, 10, 0.002)
        os.write(pipe.writing, b"x" * 95)
        await pipe.received(95)
        reader.stop()

    asyncio.run(run())
    assert pipe.pieces == [10] * 9 + [5]


def test_pauses_after_a_full_look_although_the_next_one_found_nothing(pipe: Pipe) -> None:
    async def run() -> None:
        reader = PacedReader(pipe.reading, pipe.take, 10, 1000.0)
        os.write(pipe.writing, b"x" * 10)
        await pipe.received(10)
        while len(pipe.pieces) < 2:
            await asyncio.sleep(0)
        os.write(pipe.writing, b"x")
        for _ in range(100):
            await asyncio.sleep(0)
        reader.stop()

    asyncio.run(run())
    assert pipe.pieces == [10, 0]


@pytest.mark.parametrize(("much", "soon"), [(None, False), (21, False), (15, True)])
def test_pauses_for_a_quarter_after_much(pipe: Pipe, much: int | None, soon: bool) -> None:
    async def run() -> None:
        reader = PacedReader(pipe.reading, pipe.take, 10, 4000.0, much)
        os.write(pipe.writing, b"x" * 15)
        await pipe.received(15)
        await asyncio.sleep(0)
        assert isinstance(reader._next_look, asyncio.TimerHandle)
        assert (reader._next_look.when() - asyncio.get_running_loop().time() < 2000.0) is soon
        reader.stop()

    asyncio.run(run())


def test_looks_early_only_within_a_pause_which_then_begins_anew(pipe: Pipe) -> None:
    async def run() -> None:
        reader = PacedReader(pipe.reading, pipe.take, 10, 1000.0)
        assert not reader.look_early()
        os.write(pipe.writing, b"x")
        await pipe.received(1)
        os.write(pipe.writing, b"x" * 3)
        assert reader.look_early()
        assert reader.look_early()
        os.write(pipe.writing, b"x")
        for _ in range(100):
            await asyncio.sleep(0)
        assert reader.look_early()
        reader.stop()

    asyncio.run(run())
    assert pipe.pieces == [1, 3, 0, 1]


def test_waits_without_a_pause_where_what_comes_is_urgent(pipe: Pipe) -> None:
    def take() -> None:
        pipe.take()

    async def run() -> None:
        reader = PacedReader(pipe.reading, take, 10, 1000.0)
        for count in (10, 15):
            os.write(pipe.writing, b"x" * (count % 10 or 10))
            await pipe.received(count)
        assert not reader.look_early()
        reader.stop()

    asyncio.run(run())
    assert pipe.pieces == [10, 5]


def test_looks_no_more_when_stopped(pipe: Pipe) -> None:
    async def run() -> None:
        reader = PacedReader(pipe.reading, pipe.take, 10, 0.002)
        os.write(pipe.writing, b"x" * 20)
        await pipe.received(10)
        reader.stop()
        reader.stop()
        looks = len(pipe.pieces)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(pipe.pieces) == looks

    asyncio.run(run())


def test_a_look_that_fails_is_not_the_last(pipe: Pipe) -> None:
    failures: list[int] = []

    def take() -> int:
        if not failures:
            failures.append(pipe.take())
            raise MemoryError
        return pipe.take()

    async def run() -> list[object]:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: told.append(context.get("exception"))
        )
        reader = PacedReader(pipe.reading, take, 10, 0.002)
        os.write(pipe.writing, b"x" * 12)
        await pipe.received(12)
        os.write(pipe.writing, b"x")
        await pipe.received(13)
        reader.stop()
        return told

    told = asyncio.run(run())
    assert [type(exception) for exception in told] == [MemoryError]
