# SPDX-License-Identifier: GPL-2.0-or-later
"""Clauses of the section General, and old ones: what each changes in one daemon."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyconntrack import ConntrackTable
from pyconntrack.config import General, load
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.netlink_receiver import NetlinkReceiver
from pyconntrack.daemon.follower import KernelFollower
from pyconntrack.daemon.node import Node
from testbed import Configuration, Conntrackd, Namespace, Testbed, UnicastLink, wait_until
from tests.peer.flows import plain_tcp_flows
from tests.peer.nodes import OURS, TRACKED_BY_HAND

DEADLINE = 20.0
LINK = UnicastLink("lo", "127.0.0.1", "127.0.0.2")


class Silent:
    """A log that nobody reads."""

    def notice(self, message: str, /) -> None: ...

    def warning(self, message: str, /) -> None: ...

    def error(self, message: str, /) -> None: ...


@pytest.fixture
def namespace(bed: Testbed) -> Namespace:
    made = bed.namespace("one")
    made.nft(TRACKED_BY_HAND)
    return made


@pytest.fixture
def daemon(namespace: Namespace) -> Iterator[Conntrackd]:
    made = Conntrackd(namespace, OURS, Configuration([LINK]))
    yield made
    assert made.terminate() == 0, made.log()


def create(namespace: Namespace, count: int, first: int = 1) -> None:
    with ConntrackTable(namespace.name) as table:
        assert not table.create_batch(plain_tcp_flows(count, first))


def conntrack(namespace: Namespace, *lines: str) -> None:
    for line in lines:
        namespace.run(["conntrack", "-I", "-t", "500", *line.split()])


def cached(daemon: Conntrackd) -> list[str]:
    return daemon.client("-i").stdout.splitlines()


def wait_cached(daemon: Conntrackd, count: int) -> None:
    wait_until(lambda: len(cached(daemon)) == count, DEADLINE, f"{count} flows", daemon.log)


def overrun(daemon: Conntrackd, first: int) -> None:
    """Let the kernel make more events than the socket has room for."""
    daemon.process.send_signal(signal.SIGSTOP)
    create(daemon.namespace, 3000, first)
    daemon.process.send_signal(signal.SIGCONT)


def wait_told(daemon: Conntrackd, words: str) -> None:
    wait_until(lambda: words in daemon.log(), DEADLINE, words, daemon.log)


def runtime(daemon: Conntrackd, name: str) -> int:
    match = re.search(rf"{name}:\s+(\d+)", daemon.client("-s", "runtime").stdout)
    assert match is not None
    return int(match[1])


@pytest.mark.parametrize(("size", "least"), [(16, 0), (2**20, 8 * 2**20)])
def test_hash_size(namespace: Namespace, tmp_path: Path, size: int, least: int) -> None:
    """The table of that many buckets is there from the start."""
    file = tmp_path / "conntrackd.conf"
    file.write_text(Configuration([LINK], hash_size=size).text(tmp_path, "x"))

    async def memory() -> int:
        node = Node(load(str(file)).settings, Silent())
        taken = min(node.internal.table.memory, node.external.table.memory)
        await node.stop_all()
        return taken

    with namespace.entered():
        assert least <= asyncio.run(memory()) < least + 2**20


def test_hash_size_is_a_hint(daemon: Conntrackd) -> None:
    """More flows than buckets are as welcome."""
    daemon.configure(Configuration([LINK], hash_size=1))
    daemon.start()
    create(daemon.namespace, 2000)
    wait_cached(daemon, 2000)


@pytest.mark.parametrize(("lines", "backlog"), [(["UNIX {", "Backlog 7", "}"], 7), ([], 100)])
def test_backlog(daemon: Conntrackd, lines: list[str], backlog: int) -> None:
    daemon.configure(Configuration([LINK], general_lines=lines))
    daemon.start()
    shown = daemon.namespace.run(["ss", "-Hxl", "src", str(daemon.socket)]).stdout.split()
    assert int(shown[3]) == backlog


def test_netlink_buffer_grows_up_to_its_limit(daemon: Conntrackd) -> None:
    daemon.configure(Configuration([LINK], netlink_buffer_size=8192, netlink_buffer_growth=20000))
    daemon.start()
    size = r"current buffer size \(in bytes\)"
    assert runtime(daemon, size) == 8192
    limit = "cannot be doubled further since it will exceed NetlinkBufferSizeMaxGrowth (20000 bytes)"
    for number, told in enumerate(("doubled to 16384 bytes", "doubled to 20000 bytes", limit)):
        overrun(daemon, 1 + 10_000 * number)
        wait_told(daemon, told)
        wait_cached(daemon, 3000 * (number + 1))
    assert runtime(daemon, size) == 20000


@pytest.mark.parametrize("word", ["no", "2"])
def test_netlink_overrun_resync(daemon: Conntrackd, word: str) -> None:
    """Without it, the cache lacks what was lost until an operator has the table read."""
    configuration = Configuration([LINK], netlink_buffer_size=8192, netlink_buffer_growth=8192)
    configuration.general_lines = [f"NetlinkOverrunResync {word}"]
    daemon.configure(configuration)
    daemon.start()
    overrun(daemon, 1)
    then = "NetlinkOverrunResync is off, so the cache stays as it is until -R"
    if word == "2":
        then = "resync with the kernel table in 2 s"
    told = f"[warning] netlink events were lost, {then}; a larger NetlinkBufferSize avoids this\n"
    wait_until(lambda: told in daemon.log_file.read_text(), DEADLINE, "the warning", daemon.log)
    if word == "no":
        before = runtime(daemon, "resync with kernel table")
        create(daemon.namespace, 5, 10_001)
        wait_until(lambda: any("10.0.39.21 " in line for line in cached(daemon)), DEADLINE, "a later one")
        assert len(cached(daemon)) < 3005
        assert runtime(daemon, "resync with kernel table") == before
        daemon.client("-R")
        assert len(cached(daemon)) == 3005
    else:
        wait_cached(daemon, 3000)
        assert "resync with the kernel table done: 3000 flows" in daemon.log()


class Counting(InternalCache):
    """A cache that notes how many events it is asked to take at a time."""

    limits: set[int]

    def receive_events(self, receiver: NetlinkReceiver, limit: int, now: int) -> int:
        self.limits.add(limit)
        return super().receive_events(receiver, limit, now)


@pytest.mark.parametrize(("given", "taken"), [(7, 7), (100, 100), (1_000_000, 4000)])
def test_event_iteration_limit(namespace: Namespace, given: int, taken: int) -> None:
    """Never so many at a time that nothing else has its turn."""

    async def run() -> Counting:
        cache = Counting()
        cache.limits = set()
        follower = KernelFollower(cache, General(event_iteration_limit=given), Silent(), lambda: None)
        follower.start()
        with ConntrackTable() as table:
            assert not table.create_batch(plain_tcp_flows(100))
        while len(cache) < 100:
            await asyncio.sleep(0.01)
        follower.stop()
        return cache

    with namespace.entered():
        cache = asyncio.run(asyncio.wait_for(run(), DEADLINE))
    assert cache.limits == {taken}


MIXED = (
    "-p tcp --state ESTABLISHED -s 10.1.0.1 -d 10.2.0.1 --sport 1 --dport 80",
    "-p tcp --state TIME_WAIT -s 10.1.0.1 -d 10.2.0.1 --sport 2 --dport 80",
    "-p tcp --state ESTABLISHED -s 10.1.0.1 -d 10.9.9.9 --sport 3 --dport 80",
    "-p udp -s 10.1.0.1 -d 10.2.0.1 --sport 4 --dport 53",
    "-p tcp --state ESTABLISHED -s fd00::1 -d fd00::2 --sport 5 --dport 80",
    "-p tcp --state ESTABLISHED -s fd00::1 -d fd00::99 --sport 6 --dport 80",
)


@pytest.mark.parametrize(
    ("general", "sync", "file", "left"),
    [
        ("", "", "", {1, 2, 3, 4, 5, 6}),
        ("Family IPv4", "", "", {1, 2, 3, 4, 5, 6}),
        ("", "", "IgnoreTrafficFor { IPv4_address 10.9.9.9 }", {1, 2, 4, 5, 6}),
        ("", "", "IgnoreTrafficFor { IPv6_address fd00::99 }", {1, 2, 3, 4, 5}),
        ("", "", "IgnoreProtocol { UDP }", {1, 2, 3, 5, 6}),
        ("", "Replicate ESTABLISHED for TCP", "", {1, 3, 4, 5, 6}),
    ],
)
def test_filters_of_old(daemon: Conntrackd, general: str, sync: str, file: str, left: set[int]) -> None:
    """What files of 2007 say of which flows are replicated has the effect that it had."""
    text = daemon.configuration_file.read_text()
    text = text.replace("General {", f"General {{\n{general}").replace("Sync {", f"Sync {{\n{sync}")
    daemon.configure(f"{text}\n{file}\n")
    daemon.start()
    conntrack(daemon.namespace, *MIXED, "-p udp -s 10.1.0.1 -d 10.2.0.1 --sport 7 --dport 53")
    conntrack(daemon.namespace, "-p tcp --state ESTABLISHED -s 10.1.0.1 -d 10.2.0.1 --sport 8 --dport 80")
    wait_until(lambda: 8 in ports(daemon), DEADLINE, "the last one", daemon.log)
    assert ports(daemon) - {7, 8} == left
    for said in (general, sync, file):
        if said:
            assert f'old clause "{said.split()[0]}"' in daemon.log()


def ports(daemon: Conntrackd) -> set[int]:
    """Those of the flows' sources."""
    return {int(match[1]) for line in cached(daemon) if (match := re.search(r"sport=(\d+)", line))}


def test_poll_seconds_in_stats(namespace: Namespace) -> None:
    """Where the kernel makes no events at all, flows are seen by polling."""
    namespace.sysctl("net.netfilter.nf_conntrack_events", 0)
    base = namespace.directory / "stats"
    daemon = Conntrackd(
        namespace,
        OURS,
        f"General {{\nLogFile {base}.log\nLockFile {base}.lock\nUNIX {{\nPath {base}.ctl\n}}\n}}\n"
        f"Stats {{\nLogFile {base}.flows\nPollSecs 1\n}}\n",
        name="stats",
    )
    daemon.start()
    create(namespace, 20)
    wait_cached(daemon, 20)
    namespace.run(["conntrack", "-F"])
    wait_until(lambda: len(Path(f"{base}.flows").read_text().splitlines()) == 20, DEADLINE, "20 lines")
    assert daemon.terminate() == 0
