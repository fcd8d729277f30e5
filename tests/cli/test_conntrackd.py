# SPDX-License-Identifier: GPL-2.0-or-later
"""The command as it is run: exit status, stdout and stderr, beside the C daemon's command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import Configuration, Conntrackd, Namespace, Testbed, UnicastLink, find_daemon, wait_until

C_DAEMON = Path("/usr/sbin/conntrackd")
needs_c_daemon = pytest.mark.skipif(not C_DAEMON.exists(), reason="Debian's conntrackd is not installed")

OURS = [sys.executable, "-m", "pyconntrack.cli.conntrackd"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

UNREACHABLE = "[ERROR] can't connect: is conntrackd running? appropriate permissions?\n"


def masked(text: str) -> str:
    """Without the date and the process id of each line."""
    return re.sub(r"\[\w{3} \w{3} [ 1-3]\d \d\d:\d\d:\d\d \d{4}\] \(pid=\d+\) ", "", text)


def run(command: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=60, env=ENVIRONMENT, check=False
    )


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A sound configuration of a daemon that does not run."""
    path = tmp_path / "conntrackd.conf"
    text = Configuration([UnicastLink("lo", "127.0.0.1", "127.0.0.2")]).text(tmp_path, "x")
    path.write_text(text)
    return str(path)


UNANSWERED = ["-s", "-i", "-e -x", "-i expect -x", "-c", "-f external", "-F", "-R", "-n", "-B", "-k", "-t"]
MISTAKEN = ["-s bogus", "-f bogus", "-i bogus", "-Z", "bogus", "-n foo", "-x", "-x -i", "-d -i", "-i -d"]


@needs_c_daemon
@pytest.mark.parametrize("options", [*UNANSWERED, "-i -s", *MISTAKEN])
def test_what_fails_without_a_daemon_fails_as_the_c_command_does(config: str, options: str) -> None:
    expected = run([str(C_DAEMON)], "-C", config, *options.split())
    found = run(OURS, "-C", config, *options.split())
    assert found.returncode == expected.returncode
    assert masked(found.stderr) == masked(expected.stderr)
    assert ("Usage: " in found.stdout) == ("Usage: " in expected.stdout)
    assert bool(found.stdout) == bool(expected.stdout)


@needs_c_daemon
@pytest.mark.parametrize("option", ["-v", "-h"])
def test_version_and_help_go_to_stdout(option: str) -> None:
    expected, found = run([str(C_DAEMON)], option), run(OURS, option)
    assert (found.returncode, found.stderr) == (expected.returncode, expected.stderr) == (0, "")
    first = re.compile(r"Connection tracking userspace daemon v\S+")
    assert first.match(expected.stdout)
    assert first.match(found.stdout)
    assert "(pyconntrack)" in found.stdout.splitlines()[0]


@needs_c_daemon
def test_the_help_names_every_option_of_the_c_command() -> None:
    listed = re.compile(r"^  (-\w)\b", re.MULTILINE)
    assert set(listed.findall(run([str(C_DAEMON)], "-h").stdout)) <= set(
        listed.findall(run(OURS, "-h").stdout)
    )


def test_a_configuration_that_cannot_be_used_is_said_to_be_so(tmp_path: Path) -> None:
    path = tmp_path / "conntrackd.conf"
    for options in (["-s"], [], ["-d"]):
        found = run(OURS, "-C", str(path), *options)
        assert found.returncode == 1
        assert re.fullmatch(rf"\[ERROR\] {path}: .*No such file or directory\n", masked(found.stderr))
    path.write_text("Sync {\n Mode FOO { }\n}\n")
    for options in (["-s"], [], ["-d"]):
        found = run(OURS, "-C", str(path), *options)
        assert found.returncode == 1
        assert f"[ERROR] {path}:2:7: " in masked(found.stderr)


def test_check_of_a_sound_configuration(config: str) -> None:
    found = run(OURS, "-C", config, "--check")
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_check_tells_errors_and_warnings_with_their_places(config: str) -> None:
    path = Path(config)
    sound = path.read_text()
    path.write_text(sound.replace("Interface lo", "Interface nowhere0"))
    found = run(OURS, "--check", "-C", config)
    assert found.returncode == 0
    assert re.fullmatch(rf'{config}:\d+:\d+: warning: no such interface: "nowhere0"\n', found.stderr)
    path.write_text(sound.replace("Port 3780", "Port 99999").replace("Interface lo", "Interfac lo"))
    found = run(OURS, "--check", "-C", config)
    assert found.returncode == 1
    lines = found.stderr.splitlines()
    assert len([line for line in lines if re.match(rf"{config}:\d+:\d+: error: ", line)]) >= 2
    assert all(line.startswith(f"{config}:") for line in lines)


def test_a_reader_that_has_enough_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    found = subprocess.run(
        [*OURS, "-h"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env=ENVIRONMENT,
        check=False,
    )
    os.close(writing)
    assert (found.returncode, found.stderr) == (1, "")


def test_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        found = subprocess.run(
            [*OURS, "-h"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            env=ENVIRONMENT,
            check=False,
        )
    assert (found.returncode, masked(found.stderr)) == (1, "[ERROR] No space left on device\n")


def test_a_client_command_loads_little(config: str) -> None:
    program = (
        "import sys; from pyconntrack.cli.conntrackd import main; main(sys.argv[1:]);"
        "heavy = {'lark', 'asyncio', 'dataclasses', 'inspect', 'pathlib'} & set(sys.modules);"
        "print(heavy or 'none')"
    )
    assert run([sys.executable, "-c", program], "-C", config, "-s").stdout == "none\n"


class Node:
    """Our daemon in a namespace, by its command line."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        link = UnicastLink("lo", "127.0.0.1", "127.0.0.2")
        self.daemon = Conntrackd(namespace, OURS, Configuration([link]), environment=ENVIRONMENT)

    def ask(self, *options: str) -> subprocess.CompletedProcess[str]:
        return run(self.namespace.command([*OURS, "-C", str(self.daemon.configuration_file)]), *options)

    @property
    def pid(self) -> int:
        return int(self.daemon.lock.read_text())

    def configure(self, old: str, new: str) -> None:
        text = self.daemon.configuration_file.read_text()
        assert old in text
        self.daemon.configuration_file.write_text(text.replace(old, new))


@pytest.fixture
def node(bed: Testbed) -> Node:
    return Node(bed.namespace("one"))


def test_a_daemon_in_the_background(node: Node) -> None:
    found = node.ask("-d")
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert node.ask("-s").returncode == 0, "it answers as soon as the parent has returned"
    assert os.getsid(node.pid) == node.pid
    assert Path(f"/proc/{node.pid}/cwd").readlink() == Path("/")
    assert masked(node.daemon.log_file.read_text()).endswith("[notice] -- starting in daemon mode --\n")
    assert node.daemon.socket.stat().st_mode & 0o777 == 0o600

    pid = node.pid
    second = node.ask("-d")
    assert second.returncode == 1
    refusal = f"[ERROR] lockfile `{node.daemon.lock}' is held by pid {pid}, conntrackd is already running\n"
    assert masked(second.stderr) == refusal
    assert masked(node.daemon.log_file.read_text()).endswith(refusal)

    stopped = node.ask("-k")
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "", "")
    wait_until(lambda: not node.daemon.lock.exists(), 10.0, "the end of the daemon")
    assert not node.daemon.socket.exists()
    assert masked(node.daemon.log_file.read_text()).endswith("[notice] ---- shutdown received ----\n")
    assert masked(node.ask("-s").stderr) == UNREACHABLE


def test_scheduling_is_as_the_configuration_has_it(node: Node) -> None:
    node.configure("General {", "General {\nScheduler {\nType FIFO\nPriority 7\n}\n")
    assert node.ask("-d").returncode == 0
    if "can't set the scheduling" in node.daemon.log_file.read_text():
        pytest.skip("no real-time scheduling here")
    assert os.sched_getscheduler(node.pid) == os.SCHED_FIFO
    assert os.sched_getparam(node.pid).sched_priority == 7
    node.ask("-k")


def test_a_second_daemon_with_another_lock_does_not_take_the_socket(node: Node) -> None:
    assert node.ask("-d").returncode == 0
    first = node.pid
    node.configure(str(node.daemon.lock), f"{node.daemon.lock}2")
    second = node.ask("-d")
    assert second.returncode == 1
    assert f"another conntrackd answers at the unix socket `{node.daemon.socket}'" in second.stderr
    assert node.ask("-s").returncode == 0
    os.kill(first, signal.SIGTERM)
    wait_until(lambda: not node.daemon.socket.exists(), 10.0, "the end of the daemon")


def test_after_a_kill_the_next_daemon_takes_over_lock_and_socket(node: Node) -> None:
    assert node.ask("-d").returncode == 0
    killed = node.pid
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: masked(node.ask("-s").stderr) == UNREACHABLE, 10.0, "the end of the daemon")
    assert node.daemon.lock.exists()
    assert node.ask("-d").returncode == 0
    assert node.pid != killed
    assert node.ask("-s").returncode == 0
    node.ask("-k")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Interface lo", "Interface nowhere0", 'no such interface: "nowhere0"'),
        ("one.lock", "nowhere/one.lock", "can't open lockfile"),
        ("one.ctl", "nowhere/one.ctl", "can't open unix socket"),
        ("one.log", "nowhere/one.log", "can't open logfile"),
    ],
)
@pytest.mark.parametrize("options", [[], ["-d"]], ids=["foreground", "background"])
def test_what_prevents_the_start_is_told_on_the_terminal(
    node: Node, old: str, new: str, message: str, options: list[str]
) -> None:
    node.configure(old, new)
    found = node.ask(*options)
    assert found.returncode == 1
    assert message in found.stderr
    assert "Traceback" not in found.stderr
    assert not node.daemon.lock.exists()
    assert not node.daemon.socket.exists()


@needs_c_daemon
def test_commands_are_silent_and_dumps_are_the_c_daemon_s(bed: Testbed) -> None:
    namespace = bed.namespace("one")
    make_flows(namespace)
    node = Node(namespace)
    other = UnicastLink("lo", "127.0.0.1", "127.0.0.2", port=3781)
    reference = Conntrackd(namespace, find_daemon(C_DAEMON), Configuration([other]), name="reference")
    reference.start()
    assert node.ask("-d").returncode == 0
    for options in (["-i"], ["-i", "-x"], ["-i", "ct"], ["-e"], ["-i", "expect"], ["-e", "expect", "-x"]):
        expected = flows_of(reference.client(*options).stdout)
        found = node.ask(*options)
        assert (found.returncode, found.stderr) == (0, "")
        assert flows_of(found.stdout) == expected, options
    for command in ("-n", "-B", "-c", "-c ct", "-f external", "-R", "-F expect", "-t"):
        found = node.ask(*command.split())
        assert (found.returncode, found.stdout, found.stderr) == (0, "", ""), command
    node.ask("-k")


def flows_of(text: str) -> list[str]:
    """The lines, without what differs: order, the age, and the id, which the message to the peers has not."""
    lines = re.sub(r"\[active since \d+s\]", "", re.sub(r"<id>\d+</id>", "", text)).splitlines()
    # The two daemons' own messages are flows as well, which come and go.
    return sorted(line for line in lines if "127.0.0" not in line)


def make_flows(namespace: Namespace) -> None:
    assured = "-u SEEN_REPLY,ASSURED"
    for line in (
        f"-p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1000 --dport 80 --state ESTABLISHED {assured}",
        "-p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1001 --dport 80 --state SYN_SENT",
        f"-p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1002 --dport 80 --state CLOSE_WAIT -m 4660 {assured}",
        f"-p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1003 --dport 80 --state TIME_WAIT -w 7 {assured}",
        f"-p tcp -s fd00::1 -d fd00::2 --sport 1004 --dport 80 --state ESTABLISHED {assured}",
        f"-p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1005 --dport 80 --state ESTABLISHED {assured}"
        " --src-nat 192.0.2.1:5555",
        f"-p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1006 --dport 80 --state ESTABLISHED {assured}"
        " --dst-nat 192.0.2.2:8080",
        "-p udp -s 10.0.0.1 -d 10.0.0.2 --sport 2000 --dport 53",
        "-p udp -s fd00::1 -d fd00::2 --sport 2001 --dport 53 --src-nat [fd01::1]:6000",
        "-p icmp -s 10.0.0.1 -d 10.0.0.2 --icmp-type 8 --icmp-code 0 --icmp-id 77",
        "-p icmpv6 -s fd00::1 -d fd00::2 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 78",
        "-p sctp -s 10.0.0.1 -d 10.0.0.2 --sport 4000 --dport 5000 --state ESTABLISHED"
        " --orig-vtag 11 --reply-vtag 12",
        "-p 89 -s 10.0.0.1 -d 10.0.0.2",
    ):
        namespace.run(["conntrack", "-I", "-t", "1000", *line.split()])
