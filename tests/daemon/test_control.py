# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket: every command, and clients that are slow, silent, many, or speak nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import random
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pyconntrack.daemon import control
from pyconntrack.daemon.control import (
    Cache,
    CommandError,
    Commands,
    ControlError,
    ControlServer,
    Table,
    open_control_socket,
)
from pyconntrack.daemon.control_client import FRAME, AnswerError, UnreachableError, request
from pyconntrack.kernel.errors import ConntrackError

DEADLINE = 20.0


class Recorder:
    """Commands that note what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.pieces = [b"one\n", b"two\n"]
        self.sent = 0
        self.closed = asyncio.Event()

    async def dump(
        self, cache: Cache, table: Table, xml: bool, *, whose: bool = False
    ) -> AsyncIterator[bytes]:
        self.asked.append(("dump", cache, table, xml, *(["whose"] if whose else [])))
        try:
            for piece in self.pieces:
                yield piece
                self.sent += 1
        finally:
            self.closed.set()

    async def statistics(self, subject: str) -> str:
        self.asked.append(("statistics", subject))
        return f"numbers of {subject or 'all'}\n"

    async def commit(self, table: Table | None) -> None:
        self.asked.append(("commit", table))

    async def flush(self, cache: Cache | None) -> None:
        self.asked.append(("flush", cache))

    async def flush_kernel(self, table: Table | None) -> None:
        self.asked.append(("flush_kernel", table))

    async def resync_kernel(self, table: Table | None) -> None:
        self.asked.append(("resync_kernel", table))

    async def request_resync(self) -> None:
        raise CommandError("no other node")

    async def send_bulk(self) -> None:
        raise RuntimeError("unforeseen")

    async def reset_timers(self) -> None:
        self.asked.append(("reset_timers",))

    async def stop(self) -> None:
        self.asked.append(("stop",))


class Served:
    """A server in the running loop."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.commands = Recorder()
        self.reports: list[str] = []
        commands: Commands = self.commands
        self.server = ControlServer(path, commands, self.reports.append)

    async def ask(self, command: str) -> bytes:
        out = io.BytesIO()
        async with asyncio.timeout(DEADLINE):
            await asyncio.to_thread(request, self.path, command, out)
        return out.getvalue()

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        client.connect(self.path)
        return client

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                await asyncio.sleep(0.005)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def serve(path: Path, test: Callable[[Served], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        served = Served(path)
        await served.server.start()
        try:
            await test(served)
        finally:
            await served.server.close()
        assert not path.exists()

    asyncio.run(run())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


def test_every_command_reaches_its_method(path: Path) -> None:
    async def test(served: Served) -> None:
        assert await served.ask("dump internal ct plain") == b"one\ntwo\n"
        assert await served.ask("dump external expect xml") == b"one\ntwo\n"
        assert await served.ask("dump external ct nodes") == b"one\ntwo\n"
        assert await served.ask("statistics") == b"numbers of all\n"
        assert await served.ask("statistics network") == b"numbers of network\n"
        for command in (
            "commit",
            "commit ct",
            "flush",
            "flush external",
            "flush-kernel expect",
            "resync-kernel",
            "reset-timers",
            "stop",
        ):
            assert await served.ask(command) == b""
        assert served.commands.asked == [
            ("dump", Cache.INTERNAL, Table.FLOWS, False),
            ("dump", Cache.EXTERNAL, Table.EXPECTATIONS, True),
            ("dump", Cache.EXTERNAL, Table.FLOWS, False, "whose"),
            ("statistics", ""),
            ("statistics", "network"),
            ("commit", None),
            ("commit", Table.FLOWS),
            ("flush", None),
            ("flush", Cache.EXTERNAL),
            ("flush_kernel", Table.EXPECTATIONS),
            ("resync_kernel", None),
            ("reset_timers",),
            ("stop",),
        ]

    serve(path, test)


def test_a_refusal_is_told_to_the_client_and_a_failure_to_the_log(path: Path) -> None:
    async def test(served: Served) -> None:
        with pytest.raises(AnswerError, match=r"^no other node$"):
            await served.ask("request-resync")
        with pytest.raises(AnswerError, match="internal error"):
            await served.ask("send-bulk")
        assert served.reports == ["control command failed: RuntimeError: unforeseen"]

    serve(path, test)


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"nonsense\n",
        b"dump\n",
        b"dump internal\n",
        b"dump internal ct html\n",
        b"dump nowhere ct plain\n",
        b"commit everything\n",
        b"commit ct ct\n",
        b"flush ct\n",
        b"statistics bogus\n",
        b"statistics network cache\n",
        b"stop now\n",
        b"\xff\xfe\n",
        b"\0\0\0\0\n",
        b"x" * 255 + b"\n",
        b"x" * 100000,
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_of_ours_is_refused(path: Path, line: bytes) -> None:
    async def test(served: Served) -> None:
        reader, writer = await asyncio.open_unix_connection(served.path)
        writer.write(line)
        async with asyncio.timeout(DEADLINE):
            answer = await reader.read()
        kind, size = FRAME.unpack(answer[: FRAME.size])
        assert kind == 2
        assert len(answer) == FRAME.size + size and size > 0
        writer.close()
        assert served.commands.asked == []
        assert served.server.unknown_requests == 1
        assert await served.ask("statistics") == b"numbers of all\n"

    serve(path, test)


def test_random_bytes_do_no_harm(path: Path) -> None:
    chance = random.Random(1)

    async def test(served: Served) -> None:
        for _ in range(300):
            await asyncio.sleep(0)
            with served.connect() as client, contextlib.suppress(OSError):
                client.send(chance.randbytes(chance.randrange(1, 600)))
        assert await served.ask("statistics") == b"numbers of all\n"
        assert served.commands.asked == [("statistics", "")]
        assert served.reports == []

    serve(path, test)


def test_who_says_nothing_is_cut_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REQUEST_SECONDS", 0.05)

    async def test(served: Served) -> None:
        silent, halting = served.connect(), served.connect()
        halting.send(b"stat")
        await served.until(lambda: served.server.failed_reads == 2)
        for client in (silent, halting):
            client.settimeout(DEADLINE)
            assert await asyncio.to_thread(client.recv, 100) == b""
            client.close()

    serve(path, test)


def test_silent_clients_make_room_for_those_who_ask(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "CONNECTION_LIMIT", 64)

    async def test(served: Served) -> None:
        silent = []
        for _ in range(3 * control.CONNECTION_LIMIT):
            silent.append(served.connect())
            await asyncio.sleep(0)
        assert await served.ask("statistics") == b"numbers of all\n"
        assert len(served.server._connections) <= control.CONNECTION_LIMIT
        for client in silent:
            client.close()

    serve(path, test)


def test_ten_thousand_connections(path: Path) -> None:
    async def test(served: Served) -> None:
        def flood() -> None:
            for number in range(10_000):
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                    client.connect(served.path)  # waits where the queue is full
                    if number % 3 == 0:
                        with contextlib.suppress(OSError):
                            client.send(b"statis")

        flooding = asyncio.create_task(asyncio.to_thread(flood))
        answers = 0
        while not flooding.done():
            assert await served.ask("statistics") == b"numbers of all\n"
            answers += 1
        await flooding
        assert answers > 0
        await served.until(lambda: not served.server._connections)

    before = open_descriptors()
    serve(path, test)
    assert open_descriptors() <= before + 1


def test_a_slow_reader_holds_back_the_dump_and_nobody_else(path: Path) -> None:
    async def test(served: Served) -> None:
        served.commands.pieces = [b"x" * 65536] * 200
        slow = served.connect()
        slow.send(b"dump internal ct plain\n")
        await served.until(lambda: served.commands.sent > 0)
        assert await served.ask("statistics") == b"numbers of all\n"
        assert served.commands.sent < 100
        slow.settimeout(DEADLINE)
        taken = 0
        while data := await asyncio.to_thread(slow.recv, 1 << 16):
            taken += len(data)
        assert taken == 200 * (65536 + FRAME.size) + FRAME.size
        slow.close()

    serve(path, test)


def test_a_reader_that_stops_is_cut_off_and_the_dump_ends(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "STEP_SECONDS", 0.1)

    async def test(served: Served) -> None:
        served.commands.pieces = [b"x" * 65536] * 1000
        client = served.connect()
        client.send(b"dump internal ct plain\n")
        async with asyncio.timeout(DEADLINE):
            await served.commands.closed.wait()
        assert served.commands.sent < 1000
        client.close()

    serve(path, test)


def test_a_reader_that_leaves_ends_the_dump(path: Path) -> None:
    async def test(served: Served) -> None:
        served.commands.pieces = [b"x" * 65536] * 1000
        client = served.connect()
        client.send(b"dump internal ct plain\n")
        await served.until(lambda: served.commands.sent > 0)
        client.close()
        async with asyncio.timeout(DEADLINE):
            await served.commands.closed.wait()
        assert served.commands.sent < 1000
        assert served.reports == []

    serve(path, test)


@pytest.mark.parametrize(
    "failure", [CommandError("the cache went away"), ConntrackError(1, "the cache went away")]
)
def test_a_dump_that_fails_midway_is_told_to_the_client(path: Path, failure: Exception) -> None:
    async def test(served: Served) -> None:
        async def broken(
            cache: Cache, table: Table, xml: bool, *, whose: bool = False
        ) -> AsyncIterator[bytes]:
            yield b"one\n"
            raise failure

        served.commands.dump = broken  # type: ignore[method-assign]
        out = io.BytesIO()
        with pytest.raises(AnswerError, match="the cache went away"):
            await asyncio.to_thread(request, served.path, "dump internal ct plain", out)
        assert out.getvalue() == b"one\n"

    serve(path, test)


def test_the_socket_is_root_s_from_its_first_moment(path: Path) -> None:
    before = os.umask(0)
    try:
        listener = open_control_socket(path, 1)
        assert path.stat().st_mode & 0o777 == 0o600
        assert os.umask(0) == 0
        listener.close()
    finally:
        os.umask(before)


def test_another_daemon_is_left_alone(path: Path) -> None:
    async def test(served: Served) -> None:
        with pytest.raises(ControlError, match="another conntrackd answers at the unix socket"):
            open_control_socket(path, 1)
        assert await served.ask("statistics") == b"numbers of all\n"

    serve(path, test)


def test_the_socket_of_a_dead_daemon_is_taken_over(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))

    async def test(served: Served) -> None:
        assert await served.ask("statistics") == b"numbers of all\n"

    serve(path, test)


def test_a_daemon_whose_queue_is_full_counts_as_alive(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(3)]
        for client in waiting:
            client.connect_ex(str(path))
        with pytest.raises(ControlError, match="another conntrackd"):
            open_control_socket(path, 1)
        for client in waiting:
            client.close()


def test_a_file_in_the_way_is_not_removed(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(ControlError, match="not a socket"):
        open_control_socket(path, 1)
    assert path.read_text() == "precious"


def test_a_directory_that_is_not_there(path: Path) -> None:
    with pytest.raises(ControlError, match="No such file or directory"):
        open_control_socket(path / "nowhere", 1)


def test_nobody_answers(path: Path) -> None:
    with pytest.raises(UnreachableError):
        request(str(path), "statistics", io.BytesIO())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        struct.pack("!BI", 0, 10) + b"cut",
        struct.pack("!BI", 0, 3) + b"one",
        struct.pack("!BI", 9, 0),
        struct.pack("!BI", 0, 0xFFFFFFFF),
        b"cache internal:\ncurrent active connections:\t",
    ],
)
def test_the_client_notices_an_answer_that_is_not_whole(path: Path, answer: bytes) -> None:
    def impostor(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(answer)
        connection.close()

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=impostor, args=(listener,))
        thread.start()
        with pytest.raises(AnswerError):
            request(str(path), "statistics", io.BytesIO())
        thread.join()
