# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing stays behind, whatever ends the test bed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import testbed
from testbed import Testbed, wait_until
from testbed.namespace import sweep

_ROOT = Path(testbed.__file__).parents[1]

# A test bed with a child and with a daemon that has left its parent; says what there is, and waits.
_HOLDER = """
import signal, sys
from testbed import Testbed, wait_until
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have us ignore it
with Testbed() as bed:
    one = bed.namespace("one")
    child = one.popen(["sleep", "1000"])
    one.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $! > " + str(bed.directory / "pid")])
    orphan = (bed.directory / "pid").read_text().strip()
    print(one.name, bed.directory, child.pid, orphan, flush=True)
    sys.stdin.read()
    raise RuntimeError("on purpose")
"""


class Holder:
    """A process that holds a test bed, and what it made."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _HOLDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        name, directory, *pids = self.process.stdout.readline().split()
        self.namespace, self.directory = Path("/run/netns", name), Path(directory)
        self.pids = [int(pid) for pid in pids]

    def left(self) -> list[str]:
        """What is still there."""
        paths = [path for path in (self.namespace, self.directory) if path.exists()]
        return [str(path) for path in paths] + [f"process {pid}" for pid in self.pids if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    # An orphan is dead as a zombie too, where the first process of the container reaps late.
    return state != "Z"


@pytest.fixture
def holder(bed: Testbed) -> Holder:
    return Holder()


def _send(number: signal.Signals) -> Callable[[subprocess.Popen[str]], object]:
    return lambda process: process.send_signal(number)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        pytest.param(lambda process: process.stdin.close(), 1, id="exception"),
        pytest.param(_send(signal.SIGTERM), 128 + signal.SIGTERM, id="SIGTERM"),
        pytest.param(_send(signal.SIGHUP), 128 + signal.SIGHUP, id="SIGHUP"),
        pytest.param(_send(signal.SIGINT), -signal.SIGINT, id="SIGINT"),
    ],
)
def test_everything_goes(holder: Holder, end: Callable[[subprocess.Popen[str]], object], status: int) -> None:
    assert len(holder.left()) == 4
    end(holder.process)
    assert holder.process.wait(20) == status
    wait_until(lambda: not holder.left(), 5.0, "an empty place", lambda: str(holder.left()))


@pytest.mark.alone
def test_the_next_one_sweeps_up_after_sigkill(holder: Holder) -> None:
    holder.process.kill()
    holder.process.wait(20)
    assert len(holder.left()) == 4
    with Testbed():
        wait_until(lambda: not holder.left(), 5.0, "an empty place", lambda: str(holder.left()))


def test_a_living_test_bed_is_not_swept(bed: Testbed) -> None:
    one = bed.namespace("one")
    assert one.name not in sweep()
    with Testbed():
        assert Path("/run/netns", one.name).exists()
        assert bed.directory.is_dir()


def test_handlers_are_restored(bed: Testbed) -> None:
    inside = signal.getsignal(signal.SIGTERM)
    with Testbed() as other:
        assert other.directory.is_dir()
    assert signal.getsignal(signal.SIGTERM) is inside


def test_processes_can_be_ended_twice(bed: Testbed) -> None:
    process = bed.namespace("one").popen(["sleep", "1000"])
    assert process.terminate() == -signal.SIGTERM
    assert process.kill() == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_stubborn_process_is_killed(bed: Testbed) -> None:
    process = bed.namespace("one").popen(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"])
    wait_until(lambda: "ready" in process.output(), 5.0, "the trap")
    assert process.terminate(grace=0.1) == -signal.SIGKILL
