# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket: what `conntrackd -i`, `-c`, `-s` and the like talk to. Framing: see `control_client`.

Whoever connects is root (the socket's mode is 0600), but a script gone wild is root too. So: a bounded number
of connections, a deadline for the request and for each step of the answer, and of those who connect and say
nothing, the oldest makes room for the next. Nothing here blocks the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

from pyconntrack.daemon.control_client import DATA, DONE, FAILED, FRAME, REQUEST_LIMIT
from pyconntrack.daemon.statistics import OWN_SUBJECTS, SUBJECTS
from pyconntrack.kernel.errors import ConntrackError

CONNECTION_LIMIT = 512
"""More than are accepted in the few turns of the event loop until a request that was sent is read."""
REQUEST_SECONDS = 10.0
"""From the connection to the end of the request line."""
STEP_SECONDS = 30.0
"""For the client to take in what was sent, before more is sent."""


class Cache(enum.Enum):
    INTERNAL = "internal"
    EXTERNAL = "external"


class Table(enum.Enum):
    """Of flows, or of expectations."""

    FLOWS = "ct"
    EXPECTATIONS = "expect"


class CommandError(Exception):
    """The daemon cannot do what was asked. The message goes to the client, which exits with 1."""


class UnknownRequestError(CommandError):
    """Nothing that a client of ours asks."""


class ControlError(Exception):
    """The control socket cannot be opened; the message says why and names the path."""


class Commands(Protocol):
    """What the daemon does for its clients. Each may raise CommandError; no table or cache means both."""

    def dump(self, cache: Cache, table: Table, xml: bool, *, whose: bool = False) -> AsyncIterator[bytes]:
        """`-i`, `-e`, with `-x`: the content of a cache, in pieces of some ten kilobytes.

        `whose` is for `-e nodes`: each line says which node the entry is from.
        """

    async def statistics(self, subject: str) -> str:
        """`-s`: the text about one of `statistics.SUBJECTS`."""

    async def commit(self, table: Table | None) -> None:
        """`-c`: the external cache into the kernel; returns when that is done."""

    async def flush(self, cache: Cache | None) -> None:
        """`-f`: forget the entries of one cache, or of both."""

    async def flush_kernel(self, table: Table | None) -> None:
        """`-F`: empty the kernel's table."""

    async def resync_kernel(self, table: Table | None) -> None:
        """`-R`: read the kernel's table into the internal cache."""

    async def request_resync(self) -> None:
        """`-n`: ask the other nodes for their tables."""

    async def send_bulk(self) -> None:
        """`-B`: send this node's table to the others."""

    async def reset_timers(self) -> None:
        """`-t`: flush the kernel's table after PurgeTimeout."""

    async def stop(self) -> None:
        """`-k`: begin to stop; returns before the daemon has ended."""


def _table(words: list[str]) -> Table | None:
    match words:
        case []:
            return None
        case [name]:
            with contextlib.suppress(ValueError):
                return Table(name)
    raise UnknownRequestError(f"expected ct or expect, found `{' '.join(words)}'")


def _cache(words: list[str]) -> Cache | None:
    match words:
        case []:
            return None
        case [name]:
            with contextlib.suppress(ValueError):
                return Cache(name)
    raise UnknownRequestError(f"expected internal or external, found `{' '.join(words)}'")


async def _execute_simple(commands: Commands, words: list[str]) -> str | None:
    """Every command but `dump`. The text to answer, if any."""
    command, arguments = words[0], words[1:]
    of_tables = {
        "commit": commands.commit,
        "flush-kernel": commands.flush_kernel,
        "resync-kernel": commands.resync_kernel,
    }
    plain = {
        "request-resync": commands.request_resync,
        "send-bulk": commands.send_bulk,
        "reset-timers": commands.reset_timers,
        "stop": commands.stop,
    }
    if command == "statistics" and (subject := " ".join(arguments)) in (*SUBJECTS, *OWN_SUBJECTS):
        return await commands.statistics(subject)
    if command == "flush":
        await commands.flush(_cache(arguments))
    elif command in of_tables:
        await of_tables[command](_table(arguments))
    elif command in plain and not arguments:
        await plain[command]()
    else:
        raise UnknownRequestError(f"unknown request `{' '.join(words)}'")
    return None


def _dump(commands: Commands, words: list[str]) -> AsyncIterator[bytes]:
    match words:
        case ["external", "ct", "nodes"]:
            return commands.dump(Cache.EXTERNAL, Table.FLOWS, False, whose=True)
        case [cache, table, ("plain" | "xml") as form]:
            with contextlib.suppress(ValueError):
                return commands.dump(Cache(cache), Table(table), form == "xml")
    raise UnknownRequestError(f"unknown request `dump {' '.join(words)}'")


class _Connection:
    """One client, from its request to the end of the answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.waiting = True
        """The request has not arrived yet."""

    async def read_request(self) -> list[str] | None:
        """The words of the request; None where the client went away or took too long."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                line = await self._reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, TimeoutError, OSError):
            return None
        except asyncio.LimitOverrunError:
            raise UnknownRequestError("the request is too long") from None
        finally:
            self.waiting = False
        try:
            words = line.decode().split()
        except UnicodeDecodeError:
            raise UnknownRequestError("the request is not UTF-8") from None
        if not words:
            raise UnknownRequestError("the request is empty")
        return words

    async def send(self, kind: int, payload: bytes) -> None:
        """One frame; waits until the client took in enough. TimeoutError or OSError where it does not."""
        self._writer.write(FRAME.pack(kind, len(payload)))
        if payload:
            self._writer.write(payload)
        async with asyncio.timeout(STEP_SECONDS):
            await self._writer.drain()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        """Let the rest go out, but not for ever."""
        self._writer.close()
        try:
            async with asyncio.timeout(STEP_SECONDS):
                await self._writer.wait_closed()
        except (TimeoutError, OSError):
            self.abort()


class ControlServer:
    """Listens at the control socket from `start` to `close`.

    `report` is told, in one line, of handlers that failed in a way nobody foresaw.
    """

    def __init__(
        self, path: Path, commands: Commands, report: Callable[[str], None], backlog: int = 100
    ) -> None:
        self._path = path
        self._commands = commands
        self._report = report
        self._backlog = backlog
        self._server: asyncio.Server | None = None
        self._listener: socket.socket | None = None
        self._identity: tuple[int, int] | None = None
        self._connections: dict[_Connection, asyncio.Task[None]] = {}
        self.crowded_out = 0
        """Connections that were cut, or refused, since there were too many at a time."""
        self.failed_reads = 0
        """Requests that did not arrive whole and in time."""
        self.unknown_requests = 0

    def bind(self) -> None:
        """Take the socket's place. Raises ControlError, also where another daemon answers there."""
        self._listener = open_control_socket(self._path, self._backlog)
        status = self._path.lstat()
        self._identity = status.st_dev, status.st_ino

    def unbind(self) -> None:
        """Give the place up again, before start()."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._unlink()

    async def start(self) -> None:
        """Answer clients. Raises ControlError where the socket is not bound yet and cannot be."""
        if self._listener is None:
            self.bind()
        self._server = await asyncio.start_unix_server(
            self._serve, sock=self._listener, limit=REQUEST_LIMIT, backlog=self._backlog
        )
        self._listener = None

    async def close(self) -> None:
        """Stop listening, remove the socket, cut what is open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.unbind()
        self._unlink()
        tasks = list(self._connections.values())
        for connection in list(self._connections):
            connection.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _unlink(self) -> None:
        """Remove the socket, unless it is by now another one's."""
        with contextlib.suppress(OSError):
            status = self._path.lstat()
            if (status.st_dev, status.st_ino) == self._identity:
                self._path.unlink()

    def _make_room(self) -> bool:
        """Whether one more connection may stay. Who has been silent for longest goes."""
        if len(self._connections) < CONNECTION_LIMIT:
            return True
        for connection, task in self._connections.items():
            if connection.waiting:
                connection.abort()
                task.cancel()
                del self._connections[connection]
                self.crowded_out += 1
                self.failed_reads += 1
                return True
        return False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        if not self._make_room():
            self.crowded_out += 1
            with contextlib.suppress(OSError, TimeoutError):
                await connection.send(FAILED, b"too many requests at a time")
            connection.abort()
            return
        self._connections[connection] = task
        try:
            await self._answer(connection)
        except (OSError, TimeoutError, asyncio.CancelledError):
            connection.abort()
        finally:
            self._connections.pop(connection, None)

    async def _answer(self, connection: _Connection) -> None:
        try:
            words = await connection.read_request()
            if words is None:
                self.failed_reads += 1
                connection.abort()
                return
            await self._execute(connection, words)
        except UnknownRequestError as error:
            self.unknown_requests += 1
            await connection.send(FAILED, str(error).encode())
        except (CommandError, ConntrackError) as error:
            await connection.send(FAILED, str(error).encode())
        except (OSError, TimeoutError):
            raise
        except Exception as error:
            self._report(f"control command failed: {type(error).__name__}: {error}")
            await connection.send(FAILED, b"internal error, see the daemon's log")
        else:
            await connection.send(DONE, b"")
        await connection.close()

    async def _execute(self, connection: _Connection, words: list[str]) -> None:
        if words[0] != "dump":
            text = await _execute_simple(self._commands, words)
            if text:
                await connection.send(DATA, text.encode())
            return
        pieces = _dump(self._commands, words[1:])
        try:
            async for piece in pieces:
                await connection.send(DATA, piece)
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()


def open_control_socket(path: Path, backlog: int) -> socket.socket:
    """A listening socket at `path`, nobody else's to use from its first moment; a dead daemon's is removed.

    Raises ControlError.
    """
    _remove_stale(path)
    listener = _unix_socket()
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise ControlError(f"can't open unix socket `{path}': {error.strerror or error}") from error
    finally:
        os.umask(before)
    return listener


def _unix_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ControlError(f"can't open unix socket `{path}': there is a file that is not a socket")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ControlError(f"can't open unix socket `{path}': {error.strerror}") from error
    with socket.socket(
        socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    ) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # its accept queue is full, so it is alive
        except OSError as error:
            raise ControlError(f"can't use unix socket `{path}': {error.strerror}") from error
    raise ControlError(f"another conntrackd answers at the unix socket `{path}'")
