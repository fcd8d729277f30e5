# SPDX-License-Identifier: GPL-2.0-or-later
"""What the service manager hears, by a notify socket that stands for systemd's."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyconntrack import ConntrackTable, Flow, Tuple
from pyconntrack.daemon.notify import AnnouncedStart, Heartbeat, ServiceManager
from pyconntrack.daemon.process import Foreground
from testbed import Configuration, Conntrackd, Testbed, UnicastLink, wait_until
from tests.peer.nodes import OURS

DEADLINE = 15.0


class FakeManager:
    """The socket that the service manager listens at, and what came to it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[str] = []
        """Lines, in order."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def listen(self) -> list[str]:
        """All lines so far."""
        while True:
            try:
                self.heard += self.socket.recv(65536).decode().split("\n")
            except BlockingIOError:
                return self.heard

    def wait_for(self, line: str, times: int = 1) -> None:
        def heard() -> bool:
            return self.listen().count(line) >= times

        wait_until(heard, DEADLINE, f"{times} of {line}", lambda: "\n".join(self.heard))


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeManager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path}/notify"
    made = FakeManager(address)
    yield made
    made.socket.close()


class Complaints:
    """A reporter that keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def notice(self, message: str, /) -> None:
        raise AssertionError(message)

    def warning(self, message: str, /) -> None:
        self.warnings.append(message)

    def error(self, message: str, /) -> None:
        raise AssertionError(message)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def with_deadline() -> None:
        async with asyncio.timeout(DEADLINE):
            await test()

    asyncio.run(with_deadline())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("environment", "watchdog"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "250000", "WATCHDOG_PID": str(os.getpid())}, 0.25),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": ""}, None),
    ],
)
def test_watchdog_is_read_from_the_environment(environment: dict[str, str], watchdog: float | None) -> None:
    assert ServiceManager.of_environment({"NOTIFY_SOCKET": "/x", **environment}).watchdog == watchdog


def test_without_a_manager_nothing_is_asked_and_nothing_scheduled() -> None:
    manager = ServiceManager.of_environment({"WATCHDOG_USEC": "1"})
    manager.tell("READY=1")

    def status() -> str:
        raise AssertionError("nobody wants to know")

    async def test() -> None:
        heartbeat = Heartbeat(manager, status, Complaints())
        heartbeat.ready()
        heartbeat.stopping()

    assert not manager
    run(test)


def test_from_ready_to_stopping(manager: FakeManager) -> None:
    async def test() -> None:
        heartbeat = Heartbeat(ServiceManager(manager.address, 0.02), lambda: "one\ntwo", Complaints())
        heartbeat.ready()
        await until(lambda: manager.listen().count("WATCHDOG=1") >= 5)
        heartbeat.stopping()
        told = len(manager.listen())
        await asyncio.sleep(0.05)
        assert len(manager.listen()) == told, "a beat after the end"

    run(test)
    assert manager.heard[:3] == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=one two"]
    assert manager.heard[-2:] == ["STOPPING=1", "STATUS=stopping"]
    assert set(manager.heard[3:-2]) == {"WATCHDOG=1"}


def test_a_loop_that_hangs_does_not_answer_the_watchdog(manager: FakeManager) -> None:
    async def test() -> None:
        heartbeat = Heartbeat(ServiceManager(manager.address, 0.02), lambda: "fine", Complaints())
        heartbeat.ready()
        manager.listen()
        manager.heard.clear()
        time.sleep(0.2)  # ten times what the watchdog allows
        assert manager.listen() == []
        await until(lambda: "WATCHDOG=1" in manager.listen())
        heartbeat.stopping()

    run(test)


def test_status_is_told_when_it_changes(manager: FakeManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyconntrack.daemon.notify._STATUS_SECONDS", 0.005)
    states = iter(["first", "first", "first", "second"])

    async def test() -> None:
        heartbeat = Heartbeat(ServiceManager(manager.address), lambda: next(states, "third"), Complaints())
        heartbeat.ready()
        await until(lambda: "STATUS=third" in manager.listen())
        heartbeat.stopping()

    run(test)
    assert manager.listen()[2:-2] == ["STATUS=first", "STATUS=second", "STATUS=third"]


def test_what_the_socket_has_no_room_for_comes_later(manager: FakeManager) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as crowd:
        crowd.connect(manager.socket.getsockname())
        with pytest.raises(BlockingIOError):
            while True:
                crowd.send(b"noise")

    async def test() -> None:
        complaints = Complaints()
        heartbeat = Heartbeat(ServiceManager(manager.address, 0.02), lambda: "fine", complaints)
        heartbeat.ready()
        await asyncio.sleep(0.05)
        assert "READY=1" not in manager.listen()
        await until(lambda: "READY=1" in manager.listen())
        heartbeat.stopping()
        assert complaints.warnings == []

    run(test)
    told = [line for line in manager.listen() if line != "noise"]
    assert told[:3] == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=fine"]
    assert told.count("READY=1") == 1


def test_a_manager_that_is_gone_is_complained_of_once(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")

    async def test() -> None:
        complaints = Complaints()
        heartbeat = Heartbeat(ServiceManager(path, 0.01), lambda: "fine", complaints)
        heartbeat.ready()
        await asyncio.sleep(0.05)
        manager = FakeManager(path)
        await until(lambda: "WATCHDOG=1" in manager.listen())
        assert complaints.warnings == [
            f"can't tell the service manager at `{path}': No such file or directory"
        ]
        manager.socket.close()
        await until(lambda: len(complaints.warnings) == 2)
        heartbeat.stopping()
        assert complaints.warnings[1].endswith("Connection refused")

    run(test)


@pytest.mark.parametrize("address", ["vsock:2:1234", "relative", "/" + 200 * "x"])
def test_an_address_that_cannot_be_is_no_end(address: str) -> None:
    async def test() -> None:
        complaints = Complaints()
        heartbeat = Heartbeat(ServiceManager(address), lambda: "fine", complaints)
        heartbeat.ready()
        heartbeat.stopping()
        assert len(complaints.warnings) == 1

    run(test)
    AnnouncedStart(Foreground(), ServiceManager(address)).failed("no link")


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[FakeManager]:
    """By a path: abstract names are those of a network namespace."""
    made = FakeManager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


@pytest.fixture
def daemon(bed: Testbed, systemd: FakeManager) -> Conntrackd:
    return Conntrackd(
        bed.namespace("one"),
        OURS,
        Configuration([UnicastLink("lo", "127.0.0.1", "127.0.0.2")]),
        environment={"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "200000"},
    )


def test_a_daemon_from_ready_to_stopping(daemon: Conntrackd, systemd: FakeManager) -> None:
    daemon.launch()
    systemd.wait_for("READY=1")
    assert "cache internal:" in daemon.client("-s").stdout, "it answers as soon as it says that it is ready"
    status = "mode FTFW, 0 flows in the internal cache, 0 in the external one"
    assert systemd.listen()[:3] == ["READY=1", f"MAINPID={daemon.process.pid}", f"STATUS={status}"]
    systemd.wait_for("WATCHDOG=1", 5)
    with ConntrackTable(daemon.namespace.name) as table:
        table.create(Flow(Tuple("10.0.0.1", "10.0.0.2", 17, source_port=1, destination_port=2), timeout=100))
    systemd.wait_for(f"STATUS={status.replace('0 flows', '1 flows')}")
    assert daemon.terminate() == 0
    assert systemd.listen()[-2:] == ["STOPPING=1", "STATUS=stopping"]
    assert systemd.heard.count("READY=1") == 1


def test_a_daemon_in_the_background_names_itself(daemon: Conntrackd, systemd: FakeManager) -> None:
    program = ["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh", *OURS]
    daemon.namespace.popen(
        [*program, "-C", str(daemon.configuration_file), "-d"], name="start", environment=daemon.environment
    )
    systemd.wait_for("READY=1")
    assert systemd.listen()[1] == f"MAINPID={daemon.lock.read_text().strip()}"
    # The watchdog was meant for the process that went into the background.
    systemd.wait_for("WATCHDOG=1", 3)
    daemon.client("-k")
    systemd.wait_for("STOPPING=1")


def test_a_daemon_that_cannot_start_says_why(daemon: Conntrackd, systemd: FakeManager) -> None:
    daemon.configure(Configuration([UnicastLink("lo", "10.77.9.9", "127.0.0.2")]))
    daemon.launch()
    assert daemon.process.wait(DEADLINE) == 1
    (line,) = systemd.listen()
    assert line.startswith("STATUS=")
    assert line.endswith("[ERROR] UDP link on lo: no interface has the address 10.77.9.9")


def test_a_daemon_that_shall_not_tell_tells_nothing(daemon: Conntrackd, systemd: FakeManager) -> None:
    link = UnicastLink("lo", "127.0.0.1", "127.0.0.2")
    daemon.configure(Configuration([link], general_lines=["Systemd no"]))
    daemon.start()
    assert daemon.terminate() == 0
    assert systemd.listen() == []


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_asks_for_the_status(bed: Testbed, number: signal.Signals) -> None:
    link = UnicastLink("lo", "127.0.0.1", "127.0.0.2")
    daemon = Conntrackd(bed.namespace("one"), OURS, Configuration([link]))
    daemon.start()
    daemon.process.send_signal(number)
    line = "[notice] mode FTFW, 0 flows in the internal cache, 0 in the external one\n"
    wait_until(lambda: line in daemon.log_file.read_text(), DEADLINE, "the status", daemon.log)
    assert daemon.terminate() == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_during_the_start_does_not_end_it(bed: Testbed, number: signal.Signals) -> None:
    link = UnicastLink("lo", "127.0.0.1", "127.0.0.2")
    daemon = Conntrackd(bed.namespace("one"), OURS, Configuration([link]))
    daemon.launch()

    end = time.monotonic() + DEADLINE
    # Without a pause: it is a matter of a few milliseconds after the lock.
    while "-- starting in console mode --" not in daemon.process.output():
        assert daemon.process.running, daemon.log()
        assert time.monotonic() < end, daemon.log()
        if daemon.lock.exists() and daemon.lock.read_text():
            daemon.process.send_signal(number)
    daemon.wait_ready()
    assert daemon.terminate() == 0
