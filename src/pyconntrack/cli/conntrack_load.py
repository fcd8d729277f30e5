# SPDX-License-Identifier: GPL-2.0-or-later
"""`conntrack -R`: the commands that a file holds, one to a line.

The file is read twice: nothing of it is carried out where a line of it is wrong.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from pyconntrack.cli.conntrack_flows import create, delete_selected, flush, update_selected
from pyconntrack.cli.conntrack_labels import find_labels
from pyconntrack.cli.conntrack_messages import (
    FLOW_EXISTS,
    NO_SUCH_FLOW,
    CommandFailedError,
    failed,
    say,
    tell,
)
from pyconntrack.cli.conntrack_progress import Progress
from pyconntrack.core.command_line import (
    COMMAND_DELETE,
    COMMAND_FLUSH,
    COMMAND_UPDATE,
    TABLE_EXPECT,
    CommandLine,
)
from pyconntrack.core.load import COMMAND, MORE, Loader
from pyconntrack.core.requests import RequestBatch
from pyconntrack.kernel.errors import ConntrackError
from pyconntrack.kernel.socket import ConntrackSocket

_PIECE = 1 << 18
REQUEST_BYTES = 65536


def load(line: CommandLine) -> int:
    """`-R`: carry out the lines of a file, or of standard input. Raises CommandLineError."""
    assert line.load_file is not None
    with _open(line.load_file) as file:
        # From its beginning, wherever somebody had read to.
        file.seek(0)
        _check(file)
        file.seek(0)
        with ConntrackSocket() as socket, Progress(os.fstat(file.fileno()).st_size) as progress:
            run = _Run(file, socket, progress)
            run.carry_out()
    return 1 if run.failed else 0


def _open(name: bytes) -> BinaryIO:
    """The file, with its beginning in reach: what cannot be read twice is copied to where it can."""
    try:
        file = os.fdopen(os.dup(0), "rb") if name == b"-" else open(name, "rb")  # noqa: PTH123, SIM115
    except OSError as error:
        text = f"Failed to open file {os.fsdecode(name)} for reading"
        raise CommandFailedError(text, status=2, usage=True) from error
    return file if file.seekable() else _copy(file)


def _copy(file: BinaryIO) -> BinaryIO:
    import shutil
    import tempfile

    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    with file:
        shutil.copyfileobj(file, copy, _PIECE)
    copy.seek(0)
    return copy


def _check(file: BinaryIO) -> None:
    """Warn of what deserves it. Raises CommandLineError for the first line that is wrong."""
    loader = Loader(find_labels)
    more = True
    while more:
        more = _feed(loader, file)
        loader.fill()
        for warning in loader.take_warnings():
            tell(f"{warning}\n")


def _feed(loader: Loader, file: BinaryIO) -> bool:
    """Hand on the next piece; False where the file is at its end."""
    piece = file.read(_PIECE)
    loader.feed(piece, final=not piece)
    return bool(piece)


class _Run:
    """A file on its way into the kernel."""

    def __init__(self, file: BinaryIO, socket: ConntrackSocket, progress: Progress) -> None:
        self.failed = False
        """Whether the kernel refused something."""
        self._file = file
        self._socket = socket
        self._progress = progress
        self._requests = RequestBatch(REQUEST_BYTES)
        socket.set_receive_buffer(self._requests.receive_buffer)
        self._loader = Loader(find_labels, self._requests)

    def carry_out(self) -> None:
        """Every line, in its order. Raises OSError."""
        more = True
        while True:
            found = self._loader.fill()
            if found != MORE:
                self._send()
                if found == COMMAND:
                    self._carry_out(self._loader.command, self._loader.line_number)
            elif more:
                # The last piece, empty, makes a whole line of what has no newline.
                more = _feed(self._loader, self._file)
                self._progress.show(self._file.tell())
            else:
                break
        self._send()

    def _send(self) -> None:
        if not len(self._requests):
            return
        outcomes = self._socket.execute(self._requests)
        for number, code in self._loader.failures(outcomes):
            self._refused(number, failed(code, missing=NO_SUCH_FLOW, exists=FLOW_EXISTS))
        self._requests.clear()

    def _carry_out(self, command: CommandLine, number: int) -> None:
        try:
            self.failed |= _carry_out(command)
        except CommandFailedError as error:
            self._refused(number, error)
        except ConntrackError as error:
            self._refused(number, failed(error.errno or 0))

    def _refused(self, number: int, error: CommandFailedError) -> None:
        self.failed = True
        self._progress.clear()
        say(f"line {number}: {error}")


def _carry_out(command: CommandLine) -> bool:
    """A command that is not one request; whether it failed, and said so."""
    if command.table == TABLE_EXPECT:
        from pyconntrack.cli import conntrack_expectations

        if command.command == COMMAND_DELETE:
            conntrack_expectations.delete(command)
        elif command.command == COMMAND_FLUSH:
            conntrack_expectations.flush(command)
        else:
            conntrack_expectations.create(command)
        return False
    if command.command == COMMAND_UPDATE:
        return update_selected(command)[1]
    if command.command == COMMAND_DELETE:
        return delete_selected(command)[1]
    if command.command == COMMAND_FLUSH:
        flush(command)
        return False
    create(command)
    return False
