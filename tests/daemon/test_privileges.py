# SPDX-License-Identifier: GPL-2.0-or-later
"""What a daemon may still do once it runs, that this is enough for it, and how it is scheduled."""

from __future__ import annotations

import configparser
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from pyconntrack import ConntrackTable, Flow, FlowBatch, Tuple
from pyconntrack.config import General, Link, Mode, Settings, Stats, Sync, Transport
from pyconntrack.daemon.privileges import files_of
from testbed import Configuration, Conntrackd, Testbed, UnicastLink, in_user_namespace, wait_until
from tests.docs.blocks import ROOT
from tests.peer.nodes import OURS

DEADLINE = 15.0

NET_ADMIN, NET_RAW, NET_BIND_SERVICE, DAC_OVERRIDE = 1 << 12, 1 << 13, 1 << 10, 1 << 1
USUAL = NET_ADMIN | NET_RAW
SETS = ("CapPrm", "CapEff", "CapBnd")
NOBODY = 65534

LINK = UnicastLink("lo", "127.0.0.1", "127.0.0.2")


@pytest.fixture
def daemon(bed: Testbed) -> Iterator[Conntrackd]:
    made = Conntrackd(bed.namespace("one"), OURS, Configuration([LINK]))
    yield made
    made.log_file.unlink(missing_ok=True)


def status_of(task: Path) -> dict[str, str]:
    """The fields of proc(5), `status`."""
    lines = (task / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def capabilities(process: int) -> int:
    """Those of every thread, which must be alike, and with no way to others."""
    found = set()
    for task in Path(f"/proc/{process}/task").iterdir():
        status = status_of(task)
        assert (status["CapInh"], status["CapAmb"], status["NoNewPrivs"]) == (16 * "0", 16 * "0", "1")
        found |= {int(status[name], 16) for name in SETS}
    assert len(found) == 1, found
    return found.pop()


def flow(port: int) -> Flow:
    ways = Tuple("10.0.0.1", "10.0.0.2", 17, source_port=port, destination_port=53)
    return Flow(ways, timeout=300)


def cached(daemon: Conntrackd) -> int:
    return len(daemon.client("-i").stdout.splitlines())


def test_what_is_left_is_enough_for_all_it_does(daemon: Conntrackd) -> None:
    daemon.start()
    process = daemon.process.pid
    assert capabilities(process) == USUAL
    with ConntrackTable(daemon.namespace.name) as table:
        table.create(flow(1))
        wait_until(lambda: cached(daemon) == 1, DEADLINE, "the event", daemon.log)
        daemon.client("-F")  # by a thread of its own
        assert table.statistics().entries == 0
        table.create(flow(2))
    daemon.client("-R")
    daemon.client("-c")
    wait_until(lambda: cached(daemon) == 1, DEADLINE, "the other event", daemon.log)
    assert capabilities(process) == USUAL
    rotated = daemon.log_file.with_suffix(".old")
    daemon.log_file.rename(rotated)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(daemon.log_file.exists, DEADLINE, "a new log file", daemon.log)
    assert daemon.terminate() == 0
    assert not daemon.socket.exists()
    assert not daemon.lock.exists()
    assert "ERROR" not in daemon.log()


@pytest.mark.skipif(in_user_namespace(), reason="a user namespace's root may not pass the system's limits")
def test_socket_buffers_go_beyond_the_limits_of_the_system(daemon: Conntrackd) -> None:
    size = 8 * int(Path("/proc/sys/net/core/rmem_max").read_text())
    daemon.configure(Configuration([replace(LINK, buffer_size=size)], netlink_buffer_size=size))
    daemon.start()
    assert f"buffer size has been set to {size} bytes" in daemon.log()
    opened = daemon.namespace.run(["ss", "-Huanm"]).stdout
    assert f"rb{2 * size}," in opened
    assert daemon.terminate() == 0


def test_the_rest_is_gone_before_the_sockets_are_opened(daemon: Conntrackd) -> None:
    """What it takes to open them is what is kept, so that a port below 1024 shows both."""
    daemon.configure(Configuration([replace(LINK, port=780)]))
    daemon.start()
    assert capabilities(daemon.process.pid) == USUAL | NET_BIND_SERVICE
    assert daemon.terminate() == 0


def test_statistics_need_no_link(daemon: Conntrackd) -> None:
    base = daemon.lock.with_suffix("")
    daemon.configure(
        f"Stats {{\nLogFile {base}.stats\n}}\n"
        f"General {{\nLockFile {base}.lock\nLogFile {base}.log\nUNIX {{\nPath {base}.ctl\n}}\n}}\n"
    )
    daemon.start()
    assert capabilities(daemon.process.pid) == NET_ADMIN
    assert daemon.terminate() == 0


@pytest.mark.skipif(in_user_namespace(), reason="a user namespace has but one user")
@pytest.mark.parametrize("name", ["log", "directory"])
def test_a_log_in_a_place_of_another_user_is_opened_anew(daemon: Conntrackd, name: str) -> None:
    directory = daemon.lock.with_name("logs")
    directory.mkdir(mode=0o755)
    log = directory / "daemon.log"
    log.touch(mode=0o600)
    os.chown(directory if name == "directory" else log, NOBODY, NOBODY)
    text = daemon.configuration_file.read_text()
    daemon.configure(text.replace(f"LogFile {daemon.log_file}", f"LogFile {log}"))
    daemon.start()
    assert capabilities(daemon.process.pid) == USUAL | DAC_OVERRIDE
    log.rename(log.with_suffix(".1"))
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(log.exists, DEADLINE, "a new log file", lambda: log.with_suffix(".1").read_text())
    assert daemon.terminate() == 0
    assert "shutdown received" in log.read_text()


def test_a_link_is_tied_to_an_interface_that_was_made_anew(daemon: Conntrackd) -> None:
    def add() -> None:
        daemon.namespace.ip("link", "add", "sync", "type", "veth", "peer", "name", "other")
        daemon.namespace.ip("address", "add", "10.77.0.1/24", "dev", "sync")
        daemon.namespace.ip("link", "set", "sync", "up")
        daemon.namespace.ip("link", "set", "other", "up")

    def index() -> int:
        with daemon.namespace.entered():
            return socket.if_nametoindex("sync")

    def tied() -> bool:
        return "10.77.0.1%sync:3780" in daemon.namespace.run(["ss", "-Huan"]).stdout

    add()
    daemon.configure(Configuration([UnicastLink("sync", "10.77.0.1", "10.77.0.2")]))
    daemon.start()
    assert tied()
    first = index()
    daemon.namespace.ip("link", "delete", "sync")
    wait_until(lambda: not tied(), DEADLINE, "the end of the interface")
    add()
    assert index() != first
    # Datagrams to send make it look.
    wait_until(tied, DEADLINE, "the link on the new interface", daemon.log)
    assert daemon.terminate() == 0


def test_what_a_process_never_had_it_does_not_miss(daemon: Conntrackd) -> None:
    without = "-net_raw,-setpcap,-sys_nice,-dac_override"
    program = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *OURS]
    weak = Conntrackd(daemon.namespace, program, Configuration([LINK]), name="weak")
    weak.start()
    status = status_of(Path(f"/proc/{weak.process.pid}"))
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == NET_ADMIN
    assert status["NoNewPrivs"] == "1"
    assert "privileges" not in weak.log()
    assert weak.terminate() == 0


def test_the_unit_for_systemd_leaves_enough(daemon: Conntrackd) -> None:
    """With port, place of the log and scheduling that need the most."""
    service = unit()["Service"]
    assert service["Type"] == "notify"
    assert service["ExecStart"].split()[1:] == ["-C", "/etc/conntrackd/conntrackd.conf"]
    names = [name.removeprefix("CAP_").lower() for name in service["CapabilityBoundingSet"].split()]
    bounding = ",".join(["-all", *(f"+{name}" for name in names)])
    program = ["setpriv", f"--bounding-set={bounding}", "--inh-caps=-all", "--no-new-privs", *OURS]
    link = replace(LINK, port=780)
    lines = ["Nice -7"] if not in_user_namespace() else []
    confined = Conntrackd(daemon.namespace, program, Configuration([link], general_lines=lines), name="unit")
    confined.start()
    assert capabilities(confined.process.pid) == USUAL | NET_BIND_SERVICE
    assert "can't" not in confined.log()
    assert confined.terminate() == 0


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_string((ROOT / "docs" / "conntrackd.service").read_text())
    return parser


def test_a_program_that_it_started_could_do_no_more() -> None:
    """Root gets all capabilities of the bounding set by execve(2)."""
    program = (
        "import os; from pyconntrack.config import Settings; from pyconntrack.daemon import privileges;"
        "privileges.give_up(Settings()); os.execvp('cat', ['cat', '/proc/self/status'])"
    )
    if os.geteuid() != 0:
        pytest.skip("not root")
    path = os.pathsep.join(path for path in sys.path if path)
    shown = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    fields = dict(line.split(":\t", 1) for line in shown.splitlines() if line.startswith("Cap"))
    assert all(int(fields[name], 16) & ~NET_ADMIN == 0 for name in fields), fields


def test_every_file_that_may_be_needed_again_is_looked_at() -> None:
    link = Link(Transport.UDP, ip_address("127.0.0.1"), 3780, "lo", default=True)
    general = General(lock_file=Path("/a/lock"), unix_path=Path("/b/ctl"), log_file=Path("/c/log"))
    replicates = Settings(general, sync=Sync(Mode.FTFW, (link,)))
    assert files_of(replicates) == [Path("/a/lock"), Path("/b/ctl"), Path("/c/log")]
    counts = Settings(replace(general, log_file=None), stats=Stats(log_file=Path("/d/stats")))
    assert files_of(counts) == [Path("/a/lock"), Path("/b/ctl"), Path("/d/stats")]


def may_schedule() -> bool:
    """Whether this machine lets root have real-time scheduling."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        return False
    os.sched_setscheduler(0, *before)
    return True


@pytest.mark.parametrize(
    ("lines", "policy", "priority", "nice"),
    [
        ([], os.SCHED_OTHER, 0, 0),
        (["Scheduler {", "}"], os.SCHED_RR, 99, 0),
        (["Scheduler {", "Type RR", "Priority 3", "}"], os.SCHED_RR, 3, 0),
        (["Scheduler {", "Type FIFO", "Priority 5", "}"], os.SCHED_FIFO, 5, 0),
        (["Nice -7"], os.SCHED_OTHER, 0, -7),
        (["Nice 11"], os.SCHED_OTHER, 0, 11),
        (["Nice -7", "Scheduler {", "Type FIFO", "Priority 5", "}"], os.SCHED_FIFO, 5, -7),
    ],
)
def test_every_thread_is_scheduled_as_configured(
    daemon: Conntrackd, lines: list[str], policy: int, priority: int, nice: int
) -> None:
    if policy != os.SCHED_OTHER and not may_schedule():
        pytest.skip("no real-time scheduling here")
    if nice < 0 and in_user_namespace():
        pytest.skip("a user namespace's root may not lower the nice value")
    daemon.configure(Configuration([LINK], general_lines=lines))
    daemon.start()
    daemon.client("-F")  # by a thread, which stays
    threads = [int(task.name) for task in Path(f"/proc/{daemon.process.pid}/task").iterdir()]
    assert len(threads) > 1
    for thread in threads:
        assert os.sched_getscheduler(thread) == policy
        assert os.sched_getparam(thread).sched_priority == priority
        assert os.getpriority(os.PRIO_PROCESS, thread) == nice
    assert "can't set the scheduling" not in daemon.log()
    assert daemon.terminate() == 0


def test_scheduling_that_cannot_be_is_told_and_the_daemon_starts(daemon: Conntrackd) -> None:
    """As with the C daemon: the kernel has no real-time priority 0."""
    daemon.configure(Configuration([LINK], general_lines=["Scheduler {", "Type RR", "Priority 0", "}"]))
    daemon.start()
    assert os.sched_getscheduler(daemon.process.pid) == os.SCHED_OTHER
    told = "[warning] can't set the scheduling that the configuration asks for: Invalid argument\n"
    assert told in daemon.log_file.read_text()
    assert daemon.terminate() == 0


def test_a_start_in_the_background_returns_when_the_table_was_read(daemon: Conntrackd) -> None:
    flows = 3000
    batch = FlowBatch()
    for port in range(1, flows + 1):
        flow(port).add_to(batch)
    with ConntrackTable(daemon.namespace.name) as table:
        assert not table.create_batch(batch)
    daemon.client("-d")
    assert cached(daemon) == flows
    process = int(daemon.lock.read_text())
    assert capabilities(process) == USUAL
    daemon.client("-k")
    wait_until(lambda: not daemon.lock.exists(), DEADLINE, "the daemon's end", daemon.log)
