# SPDX-License-Identifier: GPL-2.0-or-later
"""How the daemon starts, what keeps it from starting, and how it ends."""

from __future__ import annotations

import re
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import Configuration, Conntrackd, MulticastLink, UnicastLink, run_command, wait_until
from tests.peer.nodes import OURS, Field, Node, link_of

LINE = re.compile(r"\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\] \(pid=\d+\) \[(notice|warning|ERROR)\] \S.*")


@pytest.fixture
def node(field: Field) -> Iterator[Node]:
    """A node of ours that does not run yet, and afterwards runs no more."""
    made = field.pair("ours", "ours", "FTFW", "udp").sender
    yield made
    if made.daemon.socket.exists():
        made.daemon.client("-k", check=False)
    for path in (made.daemon.lock, made.daemon.log_file):
        path.unlink(missing_ok=True)


def other_daemon(node: Node, **replaced: str) -> Conntrackd:
    """A second daemon in the same namespace, on another port."""
    own = Configuration([UnicastLink("sync", "10.77.0.1", "10.77.0.2", port=4000)])
    text = own.text(node.namespace.directory, "other")
    for old, new in replaced.items():
        text = text.replace(f"other.{old}", Path(new).name)
    return Conntrackd(node.namespace, OURS, text, name="other")


def messages(log: str) -> list[str]:
    return [line.split("] ", 2)[2] for line in log.splitlines()]


def refused(daemon: Conntrackd) -> str:
    """Start it, which must fail with one line and status 1. The line's message."""
    for log in (daemon.log_file, *daemon.namespace.directory.glob("*-conntrackd.log")):
        log.unlink(missing_ok=True)
    daemon.launch()
    assert daemon.process.wait(10.0) == 1
    lines = daemon.process.output().splitlines()
    errors = [line for line in lines if "[ERROR]" in line]
    assert len(errors) == 1, lines
    assert errors[0] in daemon.log_file.read_text()
    return errors[0].partition("[ERROR] ")[2]


def test_files_are_roots_alone_and_the_log_is_in_the_known_form(node: Node) -> None:
    node.daemon.start()
    for path in (node.daemon.socket, node.daemon.lock, node.daemon.log_file):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600, path
    assert stat.S_ISSOCK(node.daemon.socket.lstat().st_mode)
    assert node.daemon.lock.read_text() == f"{node.daemon.process.pid}\n"
    assert node.daemon.terminate() == 0
    lines = node.daemon.log_file.read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in lines), lines
    assert messages("\n".join(lines)) == [
        f"netlink event socket buffer size has been set to {node.configuration.netlink_buffer_size} bytes",
        "initialization completed",
        "-- starting in console mode --",
        "---- shutdown received ----",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_and_nothing_is_left(node: Node, number: signal.Signals) -> None:
    node.daemon.start()
    node.daemon.process.send_signal(number)
    assert node.daemon.process.wait(10.0) == 0
    assert not node.daemon.socket.exists()
    assert not node.daemon.lock.exists()


def test_client_ends_it(node: Node) -> None:
    node.daemon.start()
    ended = node.daemon.client("-k")
    assert (ended.stdout, ended.stderr) == ("", "")
    assert node.daemon.process.wait(10.0) == 0
    assert not node.daemon.socket.exists()
    answer = node.daemon.client("-s", check=False)
    assert answer.returncode == 1
    assert "can't connect: is conntrackd running? appropriate permissions?" in answer.stderr


def test_background_start_returns_when_it_works(node: Node) -> None:
    started = node.daemon.client("-d")
    assert (started.stdout, started.stderr) == ("", "")
    assert "cache internal:" in node.daemon.client("-s").stdout
    assert "-- starting in daemon mode --" in messages(node.daemon.log_file.read_text())
    pid = int(node.daemon.lock.read_text())
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    node.daemon.client("-k")
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 10.0, "the daemon's end", node.daemon.log)


def test_background_start_that_fails_says_why(node: Node) -> None:
    node.daemon.start()
    second = other_daemon(node, lock=str(node.daemon.lock))
    failed = second.client("-d", check=False)
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
    assert f"lockfile `{node.daemon.lock}' is held by pid {node.daemon.process.pid}" in failed.stderr
    assert node.daemon.terminate() == 0


def test_second_daemon_with_the_lock_or_the_socket_is_refused(node: Node) -> None:
    node.daemon.start()
    message = refused(other_daemon(node, lock=str(node.daemon.lock)))
    owner = f"pid {node.daemon.process.pid}"
    assert message == f"lockfile `{node.daemon.lock}' is held by {owner}, conntrackd is already running"
    message = refused(other_daemon(node, ctl=str(node.daemon.socket)))
    assert message == f"another conntrackd answers at the unix socket `{node.daemon.socket}'"
    # The refused ones took nothing away.
    assert "cache internal:" in node.daemon.client("-s").stdout
    assert node.daemon.lock.exists()
    assert not node.daemon.lock.with_name("other.lock").exists()
    assert node.daemon.terminate() == 0


def test_lock_and_socket_of_a_killed_daemon_are_taken_over(node: Node) -> None:
    node.daemon.start()
    node.daemon.kill()
    assert node.daemon.lock.exists()
    assert node.daemon.socket.exists()
    node.daemon.start()
    assert node.daemon.terminate() == 0
    assert not node.daemon.lock.exists()


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (
            UnicastLink("nosuch", "10.77.0.1", "10.77.0.2"),
            r'\S+/left\.conf:8:9: no such interface: "nosuch"',
        ),
        (
            UnicastLink("sync", "10.77.9.9", "10.77.0.2"),
            r"UDP link on sync: no interface has the address 10\.77\.9\.9",
        ),
        (
            MulticastLink("sync", "10.77.9.9"),
            r"Multicast link on sync: no interface has the address 10\.77\.9\.9",
        ),
    ],
    ids=["interface", "address", "multicast address"],
)
def test_link_that_cannot_be_is_told_in_one_line(
    node: Node, link: UnicastLink | MulticastLink, message: str
) -> None:
    node.daemon.configure(Configuration([link]))
    assert re.fullmatch(message, refused(node.daemon))
    assert not node.daemon.socket.exists()
    assert not node.daemon.lock.exists()


def test_port_in_use_is_told_in_one_line(node: Node) -> None:
    node.daemon.start()
    own = Configuration([link_of("udp", 0)])
    second = Conntrackd(node.namespace, OURS, own, name="other")
    assert refused(second) == "UDP link on sync: port 3780 is in use: does another conntrackd run?"
    assert node.daemon.terminate() == 0


def test_without_the_right_to_see_the_table_it_says_so(node: Node) -> None:
    without = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", *OURS]
    daemon = Conntrackd(node.namespace, without, node.configuration, name="powerless")
    assert "CAP_NET_ADMIN" in refused(daemon)


def test_log_goes_on_in_a_new_file_after_rotation(node: Node) -> None:
    node.daemon.start()
    rotated = node.daemon.log_file.with_suffix(".log.1")
    node.daemon.log_file.rename(rotated)
    node.daemon.process.send_signal(signal.SIGHUP)
    wait_until(node.daemon.log_file.exists, 10.0, "a new log file", node.daemon.log)
    node.daemon.client("-B")
    assert "sending bulk update" in messages(node.daemon.log_file.read_text())
    assert "sending bulk update" not in messages(rotated.read_text())
    assert node.daemon.terminate() == 0


def test_version_says_whose_it_is() -> None:
    assert "(pyconntrack)" in run_command([*OURS, "-v"]).stdout


def test_what_is_not_sent_for_want_of_a_tcp_connection_is_told_once(field: Field) -> None:
    """The log says that there is no connection; that messages wait for one follows, and is counted."""
    node = field.pair("ours", "ours", "FTFW", "tcp").sender
    node.daemon.start()
    failures = re.compile(r" [1-9]\d* Error send")
    clients: list[socket.socket] = []
    try:
        wait_until(lambda: failures.search(node.daemon.client("-s").stdout), 20.0, "a failure to send")
        for _ in range(600):
            clients.append(socket.socket(socket.AF_UNIX))
            clients[-1].connect(str(node.daemon.socket))
        wait_until(lambda: "control socket cut" in node.daemon.log(), 20.0, "a look at what goes wrong")
        log = node.daemon.log_file.read_text().splitlines()
        told = [line for line in log if "TCP link" in line]
        assert len(told) == 1 and "cannot connect to 10.77.0.2" in told[0], told
    finally:
        for client in clients:
            client.close()
        assert node.daemon.terminate() == 0
