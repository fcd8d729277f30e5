# SPDX-License-Identifier: GPL-2.0-or-later
"""What fails in a callback is told in the log, and does not flood it."""

from __future__ import annotations

import asyncio

from pyconntrack.daemon.failures import FailureReport


class Told:
    def __init__(self) -> None:
        self.errors: list[str] = []

    def notice(self, message: str, /) -> None: ...

    def warning(self, message: str, /) -> None: ...

    def error(self, message: str, /) -> None:
        self.errors.append(message)


def fail() -> None:
    raise OverflowError("too many")


def fail_otherwise() -> None:
    raise KeyError("other")


def test_a_failure_is_told_once_with_its_place() -> None:
    told = Told()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(FailureReport(told))
        for _ in range(200):
            loop.call_soon(fail)
        loop.call_soon(fail_otherwise)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(run())
    first, second = told.errors
    assert first.startswith("internal error, please report it: OverflowError: too many (")
    assert first.endswith(f"{fail.__code__.co_firstlineno + 1} in fail)")
    assert "KeyError: 'other'" in second


def test_what_has_no_exception_is_told_as_the_loop_says_it() -> None:
    told = Told()
    loop = asyncio.new_event_loop()
    try:
        FailureReport(told)(loop, {"message": "Task was destroyed but it is pending!"})
    finally:
        loop.close()
    assert told.errors == ["internal error, please report it: Task was destroyed but it is pending!"]
