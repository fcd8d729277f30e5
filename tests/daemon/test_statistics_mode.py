# SPDX-License-Identifier: GPL-2.0-or-later
"""The statistics mode: a line for each flow that ended, as the C daemon beside it writes it."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import Conntrackd, Namespace, Testbed, find_daemon, wait_until
from tests.peer.nodes import OURS

C_DAEMON = Path("/usr/sbin/conntrackd")
DEFAULT_CONFIGURATION = Path("/etc/conntrackd/conntrackd.conf")
needs_c_daemon = pytest.mark.skipif(not C_DAEMON.exists(), reason="Debian's conntrackd is not installed")

LINE = re.compile(r"(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})\t(\S.*\S)")

TRACKED = """
    table ip translated {
        chain out {
            type nat hook output priority -100
            tcp dport 8080 dnat to 127.0.0.1:5555
        }
    }
    table inet tracked {
        chain out {
            type filter hook output priority 0
            ct state new ct mark set 5
        }
    }
"""


def tracking(bed: Testbed, *, accounting: bool = True, timestamps: bool = True) -> Namespace:
    namespace = bed.namespace("one")
    namespace.nft(TRACKED)
    namespace.sysctl("net.netfilter.nf_conntrack_acct", int(accounting))
    namespace.sysctl("net.netfilter.nf_conntrack_timestamp", int(timestamps))
    return namespace


def daemon_of(
    namespace: Namespace, command: list[str], name: str, *, general: str = "", stats: str | None = None
) -> Conntrackd:
    base = namespace.directory / name
    stats = f"LogFile {base}.flows" if stats is None else stats
    text = (
        f"General {{\n LogFile {base}.log\n LockFile {base}.lock\n UNIX {{\n Path {base}.ctl\n }}\n"
        f" NetlinkBufferSize 2097152\n NetlinkBufferSizeMaxGrowth 8388608\n {general}\n}}\n"
        f"Stats {{\n {stats}\n}}\n"
    )
    return Conntrackd(namespace, command, text, name=name)


def flows_file(daemon: Conntrackd) -> Path:
    return daemon.log_file.with_suffix(".flows")


def lines(path: Path) -> list[str]:
    """What the log tells of each flow; every line has the form, and the time of day."""
    found = []
    for line in path.read_text().splitlines():
        match = LINE.fullmatch(line)
        assert match, line
        assert abs(time.mktime(time.strptime(match[1])) - time.time()) < 3600
        found.append(match[2])
    return sorted(found)


def wait_for_lines(path: Path, count: int, log: Callable[[], str]) -> list[str]:
    wait_until(lambda: path.exists() and len(lines(path)) >= count, 10.0, f"{count} lines in {path}", log)
    return lines(path)


def converse(namespace: Namespace) -> None:
    """TCP, translated or not, closed or not, UDP answered and not, ICMP, and what only the table knows."""
    with namespace.entered():
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.create_server((address, 5555), family=family) as server:
                for port in (5555, 8080) if family is socket.AF_INET else (5555,):
                    with socket.create_connection((address, port)) as client, server.accept()[0] as accepted:
                        client.sendall(b"x" * 100)
                        accepted.recv(100)
            with (
                socket.socket(family, socket.SOCK_DGRAM) as asking,
                socket.socket(family, socket.SOCK_DGRAM) as answering,
            ):
                answering.bind((address, 5353))
                asking.sendto(b"lost", (address, 5354))
                asking.sendto(b"question", (address, 5353))
                answering.sendto(b"answer", answering.recvfrom(100)[1])
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
            raw.sendto(b"\x08\x00\xf7\xb0\x00\x4d\x00\x02", ("127.0.0.1", 0))
    for flow in (
        "-p tcp --sport 1 --dport 2 --state ESTABLISHED -u ASSURED -w 3",
        "-p gre --srckey 1 --dstkey 0x2",
        "-p 99 --mark 7",
    ):
        namespace.run(["conntrack", "-I", "-t", "100", "-s", "10.0.0.1", "-d", "10.0.0.2", *flow.split()])


def end_all(namespace: Namespace) -> None:
    namespace.run(["conntrack", "-D", "-p", "tcp"])
    namespace.run(["conntrack", "-F"])


def count_of(namespace: Namespace) -> int:
    return len(namespace.run(["conntrack", "-L"]).stdout.splitlines())


def beside(namespace: Namespace, general: str = "") -> tuple[Conntrackd, Conntrackd]:
    ours = daemon_of(namespace, OURS, "ours", general=general)
    reference = daemon_of(namespace, find_daemon(C_DAEMON), "reference", general=general)
    for daemon in (ours, reference):
        daemon.start()
    return ours, reference


@needs_c_daemon
@pytest.mark.parametrize("timestamps", [False, True], ids=["no times", "times"])
@pytest.mark.parametrize("accounting", [False, True], ids=["no counters", "counters"])
def test_lines_are_the_c_daemon_s(bed: Testbed, accounting: bool, timestamps: bool) -> None:
    namespace = tracking(bed, accounting=accounting, timestamps=timestamps)
    ours, reference = beside(namespace)
    converse(namespace)
    ended = count_of(namespace)
    assert ended >= 10
    for daemon in (ours, reference):
        wait_for_events(daemon, ended)
    for options in (["-i"], ["-i", "-x"]):
        assert listed(ours, options) == listed(reference, options)
    assert len(listed(ours, ["-i"])) == ended
    end_all(namespace)
    expected = wait_for_lines(flows_file(reference), ended, reference.log)
    assert wait_for_lines(flows_file(ours), ended, ours.log) == expected
    assert any("packets=" in line for line in expected) == accounting
    assert any("delta-time=" in line for line in expected) == timestamps
    assert any("dport=8080" in line and "sport=5555" in line for line in expected)
    assert flows_file(ours).stat().st_mode == flows_file(reference).stat().st_mode
    for option in ("", "ct", "network", "link", "rsqueue", "process", "queue", "expect"):
        answers = [
            without_updates(daemon.client("-s", *option.split()).stdout) for daemon in (ours, reference)
        ]
        assert answers[0] == answers[1]
    assert "cache:stats\tactive objects:" in ours.client("-s", "cache").stdout
    assert ("  0 Bytes" in ours.client("-s").stdout) == (not accounting)


def listed(daemon: Conntrackd, options: list[str]) -> list[str]:
    """The cache, without the age of each entry."""
    return sorted(line.partition(" [active")[0] for line in daemon.client(*options).stdout.splitlines())


def without_updates(text: str) -> str:
    """The C daemon counts events that change nothing, too."""
    return re.sub(r"(connections updated:\t\t) *\d+", r"\1", text)


FILTERS = [
    "Protocol Accept {\n TCP\n }",
    "Protocol Ignore {\n TCP\n }",
    "Address Ignore {\n IPv4_address 127.0.0.1\n }",
    "Address Accept {\n IPv6_address ::1\n }",
    "State Accept {\n ESTABLISHED for TCP\n }",
    "State Accept {\n SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT for TCP\n }",
]


@needs_c_daemon
@pytest.mark.parametrize("clauses", FILTERS)
def test_filters_leave_the_same_lines_out(bed: Testbed, clauses: str) -> None:
    namespace = tracking(bed)
    ours, reference = beside(namespace, f"Filter From Userspace {{\n {clauses}\n }}")
    converse(namespace)
    ended = count_of(namespace)
    end_all(namespace)
    for daemon in (ours, reference):
        wait_for_events(daemon, 2 * ended)
    expected = lines(flows_file(reference))
    assert 0 < len(expected) < ended or "SYN_SENT" in clauses
    wait_until(
        lambda: lines(flows_file(ours)) == expected,
        5.0,
        "the same lines",
        lambda: "\n".join(["ours:", *lines(flows_file(ours)), "the C daemon's:", *expected]),
    )
    assert ours.client("-i").stdout == ""


@pytest.mark.parametrize("clauses", FILTERS)
def test_kernel_s_filter_leaves_the_same_lines_out(bed: Testbed, clauses: str) -> None:
    namespace = tracking(bed)
    daemons = [
        daemon_of(namespace, OURS, place, general=f"Filter From {place} {{\n {clauses}\n }}")
        for place in ("Userspace", "Kernelspace")
    ]
    for daemon in daemons:
        daemon.start()
    converse(namespace)
    ended = count_of(namespace)
    end_all(namespace)
    wait_for_events(daemons[0], 2 * ended)
    expected = lines(flows_file(daemons[0]))
    assert expected
    assert wait_for_lines(flows_file(daemons[1]), len(expected), daemons[1].log) == expected
    wait_until(lambda: cached(daemons[1]) == 0, 10.0, "an empty cache", daemons[1].log)


def wait_for_events(daemon: Conntrackd, count: int) -> None:
    """Wait until the daemon has taken at least so many events, and no more come."""

    def received() -> int:
        match = re.search(r"events received:\s+(\d+)", daemon.client("-s", "runtime").stdout)
        assert match
        return int(match[1])

    wait_until(lambda: received() >= count and received() == received(), 10.0, "all events", daemon.log)


def udp_flows(namespace: Namespace, count: int, first: int = 20000) -> None:
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for port in range(first, first + count):
            sender.sendto(b"x", ("127.0.0.1", port))


def ports_of(found: list[str]) -> list[int]:
    """The destination port of the original direction, of each line."""
    return sorted(int(line.partition("dport=")[2].split()[0]) for line in found)


def with_small_buffer(namespace: Namespace, *, general: str = "", stats: str = "") -> Conntrackd:
    """A daemon whose event socket has room for some twenty events."""
    base = namespace.directory / "ours"
    ours = daemon_of(namespace, OURS, "ours", general=general, stats=f"LogFile {base}.flows\n {stats}")
    text = ours.configuration_file.read_text()
    ours.configure(text.replace("2097152", "8192").replace("8388608", "8192"))
    ours.start()
    return ours


def end_unheard(namespace: Namespace, ours: Conntrackd) -> None:
    """200 flows that the daemon knows end while it does not take any event."""
    for first in range(20000, 20200, 10):
        udp_flows(namespace, 10, first)
        wait_for_entries(ours, first - 19990)
    ours.process.send_signal(signal.SIGSTOP)
    namespace.run(["conntrack", "-F"])
    ours.process.send_signal(signal.SIGCONT)
    wait_until(lambda: cached(ours) == 0, 20.0, "an empty cache", ours.log)


def test_each_flow_has_one_line_though_events_were_lost(bed: Testbed) -> None:
    """Of those whose event the kernel dropped, what the cache knew."""
    namespace = tracking(bed)
    ours = with_small_buffer(namespace, general="NetlinkOverrunResync 1")
    end_unheard(namespace, ours)
    found = lines(flows_file(ours))
    assert ports_of(found) == list(range(20000, 20200))
    assert "netlink events were lost" in ours.log()
    assert any("packets=" not in line for line in found)


def test_reliable_events_lose_no_counter(bed: Testbed) -> None:
    """The kernel keeps a flow that ended until its event is taken."""
    namespace = tracking(bed)
    ours = with_small_buffer(namespace, stats="NetlinkEventsReliable yes")
    end_unheard(namespace, ours)
    found = lines(flows_file(ours))
    assert ports_of(found) == list(range(20000, 20200))
    assert all("packets=1 bytes=29" in line for line in found)
    assert "netlink events were lost" not in ours.log()


def wait_for_entries(daemon: Conntrackd, count: int) -> None:
    wait_until(lambda: cached(daemon) >= count, 10.0, f"{count} entries", daemon.log)


def cached(daemon: Conntrackd) -> int:
    return len(daemon.client("-i").stdout.splitlines())


def test_full_cache_costs_no_line(bed: Testbed) -> None:
    namespace = tracking(bed)
    ours = daemon_of(namespace, OURS, "ours", general="HashLimit 3")
    ours.start()
    udp_flows(namespace, 10)
    namespace.run(["conntrack", "-F"])
    assert ports_of(wait_for_lines(flows_file(ours), 10, ours.log)) == list(range(20000, 20010))


def test_flow_from_before_the_start_has_a_line(bed: Testbed) -> None:
    namespace = tracking(bed)
    namespace.sysctl("net.netfilter.nf_conntrack_events", 1)
    udp_flows(namespace, 3)
    ours = daemon_of(namespace, OURS, "ours")
    ours.start()
    assert cached(ours) == 3
    namespace.run(["conntrack", "-F"])
    assert len(wait_for_lines(flows_file(ours), 3, ours.log)) == 3


def test_without_a_log_it_only_counts(bed: Testbed) -> None:
    namespace = tracking(bed)
    ours = daemon_of(namespace, OURS, "ours", stats="")
    ours.start()
    udp_flows(namespace, 4)
    namespace.run(["conntrack", "-F"])
    counted = re.compile(r"destroyed:\s+4\s.*\n\ntraffic processed:\n +116 Bytes +4 Pckts", re.DOTALL)
    wait_until(lambda: counted.search(ours.client("-s").stdout) is not None, 10.0, "the count", ours.log)


def test_both_logs_go_on_in_new_files_after_rotation(bed: Testbed) -> None:
    namespace = tracking(bed)
    ours = daemon_of(namespace, OURS, "ours")
    ours.start()
    udp_flows(namespace, 1)
    namespace.run(["conntrack", "-F"])
    wait_for_lines(flows_file(ours), 1, ours.log)
    rotated = [path.rename(f"{path}.1") for path in (flows_file(ours), ours.log_file)]
    ours.process.send_signal(signal.SIGHUP)
    wait_until(lambda: flows_file(ours).exists() and ours.log_file.exists(), 10.0, "new files", ours.log)
    udp_flows(namespace, 2)
    ours.client("-F")
    assert len(wait_for_lines(flows_file(ours), 2, ours.log)) == 2
    assert len(lines(rotated[0])) == 1
    assert "flushing kernel conntrack table" in ours.log_file.read_text()
    assert "flushing kernel conntrack table" not in rotated[1].read_text()


def with_mounts(script: str, command: list[str]) -> list[str]:
    """The command in a mount namespace of its own (ip-netns(8) makes one), after a few mounts."""
    return ["sh", "-ec", f'{script}\nexec "$@"', "sh", *command]


def test_full_disk_is_told_once_and_nothing_is_lost(bed: Testbed) -> None:
    namespace = tracking(bed)
    disk = namespace.directory / "disk"
    disk.mkdir()
    mounted = with_mounts(f"mount -t tmpfs -o size=64k none {disk}", OURS)
    ours = daemon_of(namespace, OURS, "ours", stats=f"LogFile {disk}/flows")
    ours.command = mounted
    ours.launch()
    ours.command = OURS
    ours.wait_ready()
    inside = Path(f"/proc/{ours.process.pid}/root") / disk.relative_to("/")
    (inside / "filler").write_bytes(bytes(60 * 1024))
    udp_flows(namespace, 100)
    namespace.run(["conntrack", "-F"])
    message = f"[ERROR] can't write to logfile `{disk}/flows': No space left on device"
    wait_until(lambda: message in ours.log_file.read_text(), 10.0, "an error", ours.log)
    udp_flows(namespace, 100)
    namespace.run(["conntrack", "-F"])
    wait_until(lambda: cached(ours) == 0, 10.0, "an empty cache", ours.log)
    assert len(lines(inside / "flows") if (inside / "flows").read_text().endswith("\n") else []) < 100
    (inside / "filler").unlink()
    assert len(wait_for_lines(inside / "flows", 200, ours.log)) == 200
    again = f"logfile `{disk}/flows' can be written again, nothing was lost"
    wait_until(lambda: again in ours.log_file.read_text(), 10.0, "the end of it", ours.log)
    assert ours.log_file.read_text().count(message) == 1


SYSLOG_MOUNT = """
mkdir {0}
mount -t tmpfs none {0}
touch {0}/null {0}/log
mount --bind /dev/null {0}/null
mount --bind {1} {0}/log
mount --move {0} /dev
"""


@pytest.mark.parametrize("kind", ["ours", pytest.param("C", marks=needs_c_daemon)])
def test_syslog_hears_of_each_flow(bed: Testbed, kind: str) -> None:
    """The C daemon, too, so that this test knows what it says. Both logs share General's facility."""
    namespace = tracking(bed)
    command = OURS if kind == "ours" else find_daemon(C_DAEMON)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as logger:
        path = namespace.directory / "logger"
        logger.bind(str(path))
        logger.settimeout(10.0)
        daemon = daemon_of(namespace, command, "one", general="Syslog local5", stats="Syslog local3")
        daemon.command = with_mounts(SYSLOG_MOUNT.format(namespace.directory / "dev", path), command)
        daemon.launch()
        daemon.command = command
        daemon.wait_ready()
        namespace.run(["conntrack", "-I", "-p", "99", "-t", "100", "-s", "10.0.0.1", "-d", "10.0.0.2"])
        namespace.run(["conntrack", "-F"])
        said = [logger.recv(65536).decode().rstrip()]
        while not said[-1].startswith("<174>"):  # local5, info
            said.append(logger.recv(65536).decode().rstrip())
    assert all(re.match("<17[123]>", line) for line in said[:-1])  # local5, notice or worse
    assert re.fullmatch(
        r"<174>\w{3} [ \d]\d \d\d:\d\d:\d\d conntrack-tools\[\d+\]: unknown  99 "
        r"src=10\.0\.0\.1 dst=10\.0\.0\.2 packets=0 bytes=0 \[UNREPLIED\] "
        r"src=10\.0\.0\.2 dst=10\.0\.0\.1 packets=0 bytes=0 delta-time=\d",
        said[-1],
    )


def test_logger_that_comes_late_misses_nothing(bed: Testbed) -> None:
    namespace = tracking(bed)
    ours = daemon_of(namespace, OURS, "ours", stats="Syslog on")
    path = namespace.directory / "logger"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(str(path))
        ours.command = with_mounts(SYSLOG_MOUNT.format(namespace.directory / "dev", path), OURS)
        ours.launch()
        ours.command = OURS
        ours.wait_ready()
        gone.settimeout(10.0)
        udp_flows(namespace, 30)
        namespace.run(["conntrack", "-F"])
        # Its queue holds no more than some ten datagrams: the others wait until it reads.
        got = [gone.recv(65536) for _ in range(30)]
    assert all(line.startswith(b"<30>") for line in got)
    assert ours.log_file.read_text().count("[warning]") == 0
    udp_flows(namespace, 1)
    namespace.run(["conntrack", "-F"])
    message = "can't write to syslog: Connection refused"
    wait_until(lambda: message in ours.log_file.read_text(), 10.0, "an error", ours.log)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-c"], "an external cache"),
        (["-e"], "an external cache"),
        (["-f", "external"], "an external cache"),
        (["-n"], "other nodes"),
        (["-B"], "other nodes"),
        (["-t"], "PurgeTimeout"),
    ],
)
def test_what_needs_peers_is_refused(bed: Testbed, options: list[str], message: str) -> None:
    ours = daemon_of(bed.namespace("one"), OURS, "ours")
    ours.start()
    answer = ours.client(*options, check=False)
    assert answer.returncode == 1
    assert f"the statistics mode (section Stats) does not have {message}" in answer.stderr


def test_flush_loses_no_line(bed: Testbed) -> None:
    namespace = tracking(bed)
    ours = daemon_of(namespace, OURS, "ours")
    ours.start()
    udp_flows(namespace, 5)
    for options in (["-f"], ["-f", "internal"], ["-R"]):
        assert ours.client(*options).stdout == ""
    assert cached(ours) == 5
    assert len(ours.client("-i", "-x").stdout.splitlines()) == 5
    ours.client("-F")
    assert len(wait_for_lines(flows_file(ours), 5, ours.log)) == 5


def test_log_that_cannot_be_opened_is_told_in_one_line(bed: Testbed) -> None:
    namespace = bed.namespace("one")
    missing = namespace.directory / "nosuch" / "flows"
    ours = daemon_of(namespace, OURS, "ours", stats=f"LogFile {missing}")
    ours.launch()
    assert ours.process.wait(10.0) == 1
    errors = [line for line in ours.process.output().splitlines() if "[ERROR]" in line]
    assert len(errors) == 1
    assert f"can't open logfile `{missing}': No such file or directory" in errors[0]
    assert not ours.socket.exists()
    assert not ours.lock.exists()


@pytest.mark.skipif(not DEFAULT_CONFIGURATION.exists(), reason="Debian's conntrackd.conf is not installed")
def test_debian_s_default_configuration_starts(bed: Testbed) -> None:
    namespace = tracking(bed)
    flows = Path("/var/log/conntrackd-stats.log")
    mounts = "mount -t tmpfs none /var/log; mount -t tmpfs none /run; mkdir -p /run/lock /var/lock"
    started = namespace.popen(
        with_mounts(mounts, [*OURS, "-C", str(DEFAULT_CONFIGURATION)]), name="default-conntrackd"
    )
    inside = Path(f"/proc/{started.pid}/root") / flows.relative_to("/")
    wait_until(lambda: "console mode" in started.output(), 10.0, "its start", started.output)
    udp_flows(namespace, 3)
    namespace.run(["conntrack", "-F"])
    assert len(wait_for_lines(inside, 3, started.output)) == 3
    assert started.terminate() == 0


def test_background_daemon_has_lock_and_socket_and_ends(bed: Testbed) -> None:
    namespace = tracking(bed)
    ours = daemon_of(namespace, OURS, "ours")
    started = ours.client("-d")
    assert (started.stdout, started.stderr) == ("", "")
    pid = int(ours.lock.read_text())
    assert "cache stats:" in ours.client("-s").stdout
    second = ours.client("-d", check=False)
    assert second.returncode == 1
    assert f"held by pid {pid}" in second.stderr
    udp_flows(namespace, 2)
    namespace.run(["conntrack", "-F"])
    ours.client("-k")
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 10.0, "its end", ours.log)
    assert len(lines(flows_file(ours))) == 2
    assert not ours.lock.exists()
    assert not ours.socket.exists()
