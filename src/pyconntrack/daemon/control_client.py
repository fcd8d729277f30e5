# SPDX-License-Identifier: GPL-2.0-or-later
"""The client's side of the control socket, and the framing that both sides speak.

A request is one line of UTF-8: a command and its words. The answer is a row of frames, each a kind (one byte)
and a length (four bytes, big-endian) before that many bytes: any number of DATA, then one DONE, or one FAILED
that holds the reason. An answer without its last frame was cut short.

Every client command runs through here, so this imports nothing that takes time to load.
"""

from __future__ import annotations

import io
import socket
import struct

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import BinaryIO

FRAME = struct.Struct("!BI")
DATA = 0
DONE = 1
FAILED = 2

REQUEST_LIMIT = 256
"""Bytes of a request, its newline included."""

FRAME_LIMIT = 1 << 24
"""Bytes in a frame; a longer one is none of ours."""


class UnreachableError(Exception):
    """No daemon answers at the control socket, or it may not be used; the message is the system's."""


class AnswerError(Exception):
    """The daemon refused the command, or its answer ended early; the message says which."""


def request(path: str, command: str, out: BinaryIO) -> None:
    """Send one command to the daemon at `path` and write what it answers to `out`. Blocks until it is done.

    Raises UnreachableError, AnswerError, and OSError where `out` cannot be written.
    """
    line = command.encode() + b"\n"
    if len(line) > REQUEST_LIMIT:
        raise AnswerError("the command is too long")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        try:
            connection.connect(path)
            connection.sendall(line)
        except OSError as error:
            raise UnreachableError(error.strerror or str(error)) from error
        _copy_answer(connection, out)


def _copy_answer(connection: socket.socket, out: BinaryIO) -> None:
    with connection.makefile("rb") as answer:
        while True:
            kind, size = FRAME.unpack(_read_exactly(answer, FRAME.size))
            if kind not in (DATA, DONE, FAILED) or size > FRAME_LIMIT:
                raise AnswerError("what answers at the control socket is not a conntrackd of ours")
            payload = _read_exactly(answer, size)
            if kind == DATA:
                out.write(payload)
                continue
            out.flush()
            if kind == FAILED:
                raise AnswerError(payload.decode("utf-8", "replace"))
            return


def _read_exactly(answer: io.BufferedReader, size: int) -> bytes:
    try:
        payload = answer.read(size)
    except OSError as error:
        raise AnswerError(f"connection to conntrackd lost: {error.strerror}") from error
    if len(payload) < size:
        raise AnswerError("connection to conntrackd lost: the answer ended early")
    return payload
