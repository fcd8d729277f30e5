# SPDX-License-Identifier: GPL-2.0-or-later
"""One daemon at a time, and a dead one is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyconntrack.daemon.lock import LockError, LockFile

HOLDER = """
import sys, time
from pathlib import Path
from pyconntrack.daemon.lock import LockFile
lock = LockFile.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
lock.release()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conntrack.lock"


def hold(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_the_file_holds_the_process_id_and_is_ours_alone(path: Path) -> None:
    lock = LockFile.acquire(path)
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    lock.release()
    assert not path.exists()
    lock.release()


def test_a_second_daemon_is_refused_and_told_who_holds_the_lock(path: Path) -> None:
    holder = hold(path)
    try:
        with pytest.raises(LockError, match=rf"`{path}' is held by pid {holder.pid}\b"):
            LockFile.acquire(path)
        assert path.read_text() == f"{holder.pid}\n"
    finally:
        holder.communicate("")
    LockFile.acquire(path).release()


def test_the_lock_of_a_killed_daemon_is_taken_over(path: Path) -> None:
    holder = hold(path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert path.exists()
    lock = LockFile.acquire(path)
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_the_file_of_a_dead_daemon_may_hold_anything(path: Path) -> None:
    path.write_text("no pid at all\n" * 50)
    lock = LockFile.acquire(path)
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_lock_survives_the_fork_into_the_background(path: Path) -> None:
    lock = LockFile.acquire(path)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    os.close(lock._descriptor)  # as if the parent had ended
    with pytest.raises(LockError):
        LockFile.acquire(path)
    os.close(writing)
    os.waitpid(child, 0)
    LockFile.acquire(path).release()


def test_release_leaves_the_file_of_another_daemon_alone(path: Path) -> None:
    lock = LockFile.acquire(path)
    path.unlink()
    other = LockFile.acquire(path)
    lock.release()
    assert path.exists()
    other.release()


def test_a_path_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="nowhere/lock': No such file or directory"):
        LockFile.acquire(tmp_path / "nowhere" / "lock")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(LockError, match="link"):
        LockFile.acquire(tmp_path / "link")
    assert not (tmp_path / "target").exists()


def test_a_file_that_others_put_there_is_left_alone(tmp_path: Path) -> None:
    """In a folder that anybody may write to, the file can be another name of any file."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path = tmp_path / "lock"
    path.hardlink_to(precious)
    with pytest.raises(LockError, match="other names"):
        LockFile.acquire(path)
    assert precious.read_text() == "precious"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(LockError, match="not a regular file"):
        LockFile.acquire(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_left_alone(path: Path) -> None:
    path.write_text("not ours")
    os.chown(path, 65534, 65534)
    with pytest.raises(LockError, match="belongs to the user with id 65534"):
        LockFile.acquire(path)
    assert path.read_text() == "not ours"
