# SPDX-License-Identifier: GPL-2.0-or-later
"""The lock file: one daemon at a time.

The file's existence means nothing, the lock on it (flock(2)) does: it dies with the process, so a file that a
dead daemon left is simply taken over. The file holds the process id, for messages and for scripts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path


class LockError(Exception):
    """Another daemon holds the lock, or the file cannot be used; the message names file and reason."""


class LockFile:
    """A lock that is held from `acquire` to `release`, across forks."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path) -> LockFile:
        """Take the lock and write this process's id. Raises LockError."""
        while True:
            descriptor = _open(path)
            try:
                _check(descriptor, path)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _is_at(descriptor, path):  # removed by its last owner while we waited in line
                    os.close(descriptor)
                    continue
                lock = cls(path, descriptor)
                lock.write_pid()
            except BlockingIOError:
                owner = _owner(descriptor)
                os.close(descriptor)
                raise LockError(
                    f"lockfile `{path}' is held by {owner}, conntrackd is already running"
                ) from None
            except LockError:
                os.close(descriptor)
                raise
            except OSError as error:
                os.close(descriptor)
                raise LockError(f"can't use lockfile `{path}': {error.strerror}") from error
            return lock

    def write_pid(self) -> None:
        """Note this process's id in the file; again after a fork. Raises OSError."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Remove the file and give up the lock."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            if _is_at(self._descriptor, self._path):
                self._path.unlink()
        os.close(self._descriptor)
        self._descriptor = -1


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        raise LockError(f"can't open lockfile `{path}': {error.strerror}") from error


def _check(descriptor: int, path: Path) -> None:
    """Others may write to the folder (/var/lock): what they put there must not make us empty another file.

    Raises LockError, OSError.
    """
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise LockError(f"lockfile `{path}' is not a regular file")
    if found.st_uid != os.geteuid():
        raise LockError(f"lockfile `{path}' belongs to the user with id {found.st_uid}: remove it")
    if found.st_nlink > 1:
        raise LockError(f"lockfile `{path}' is a file with other names, too: remove it")


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _owner(descriptor: int) -> str:
    content = os.pread(descriptor, 32, 0).strip()
    return f"pid {content.decode()}" if content.isdigit() else "another process"
