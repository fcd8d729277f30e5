# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of `conntrackd -s`, against a C daemon's of the same mode and the same numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyconntrack.daemon.statistics import (
    SUBJECTS,
    BypassStatistics,
    CacheStatistics,
    InjectStatistics,
    LinkStatistics,
    NetworkStatistics,
    QueuedMessage,
    QueueStatistics,
    RuntimeStatistics,
    Statistics,
    format_statistics,
)
from testbed import Configuration, Conntrackd, MulticastLink, Testbed, UnicastLink, find_daemon, veth

C_DAEMON = Path("/usr/sbin/conntrackd")
needs_c_daemon = pytest.mark.skipif(not C_DAEMON.exists(), reason="Debian's conntrackd is not installed")

FLOW = (
    "-I -p tcp -s 10.1.0.1 -d 10.2.0.1 --sport {} --dport 80 --state ESTABLISHED -t 100 -u SEEN_REPLY,ASSURED"
)


def numbers_of_link(text: str) -> list[int]:
    """What a C daemon says to have sent and received, which is its own affair."""
    found = re.search(r"(\d+) Bytes sent +(\d+) Bytes recv\n +(\d+) Pckts sent +(\d+) Pckts recv", text)
    assert found, text
    return [int(number) for number in found.groups()]


def resend_queue(text: str) -> list[QueuedMessage]:
    return [
        QueuedMessage(int(sequence), int(flags) if flags else None)
        for sequence, flags in re.findall(r"(?:object|control) -> seq:(\d+)(?: flags:(\d+))?", text)
    ]


def runtime_of(text: str) -> RuntimeStatistics:
    """Events depend on how soon the kernel tells of them; the rest is known."""
    received = re.search(r"events received:\s+(\d+)", text)
    size = re.search(r"current buffer size \(in bytes\):\s+(\d+)", text)
    resyncs = re.search(r"resync with kernel table:\s+(\d+)", text)
    assert received and size and resyncs, text
    return RuntimeStatistics(
        events_received=int(received[1]), buffer_size=int(size[1]), resyncs=int(resyncs[1])
    )


def ask(daemon: Conntrackd, subject: str) -> str:
    return daemon.client("-s", *([subject] if subject else [])).stdout


def compare(daemon: Conntrackd, statistics: Statistics) -> None:
    """Every subject's text, with those numbers filled in that only the C daemon knows."""
    statistics.runtime = runtime_of(ask(daemon, "runtime"))
    for subject in SUBJECTS:
        text = ask(daemon, subject)
        if "Bytes sent" in text:
            link = statistics.links[0]
            link.bytes_sent, link.bytes_received, link.packets_sent, link.packets_received = numbers_of_link(
                text
            )
        if statistics.resend_queue is not None:
            statistics.resend_queue = resend_queue(ask(daemon, "rsqueue"))
            statistics.queue_nodes = statistics.queues[-1].current = len(statistics.resend_queue)
        assert format_statistics(statistics, subject) == text, subject


def queues(*, resends: bool) -> list[QueueStatistics]:
    made = [QueueStatistics("txqueue", 0, 2**31 - 1), QueueStatistics("errorq", 0, 128)]
    return [*made, QueueStatistics("rsqueue", 0, 131072)] if resends else made


@needs_c_daemon
def test_ftfw_over_udp_with_some_flows(bed: Testbed) -> None:
    namespace = bed.namespace("one")
    for number in range(3):
        namespace.run(["conntrack", *FLOW.format(number + 1).split()])
    link = UnicastLink("lo", "127.0.0.1", "127.0.0.2")
    daemon = Conntrackd(namespace, find_daemon(C_DAEMON), Configuration([link], "FTFW"))
    daemon.start()
    compare(
        daemon,
        Statistics(
            RuntimeStatistics(),
            CacheStatistics("internal", active=3, total=3, created=3),
            CacheStatistics("external"),
            network=NetworkStatistics(),
            links=[LinkStatistics("UDP", "lo")],
            queues=queues(resends=True),
            resend_queue=[],
        ),
    )


@needs_c_daemon
def test_notrack_over_multicast_without_caches(bed: Testbed) -> None:
    namespace = bed.namespace("one")
    veth(namespace, "link", bed.namespace("two"), "link", first_addresses=["10.9.0.1/24"])
    configuration = Configuration([MulticastLink("link", "10.9.0.1")], "NOTRACK")
    configuration.mode_lines = ["DisableInternalCache on", "DisableExternalCache on"]
    daemon = Conntrackd(namespace, find_daemon(C_DAEMON), configuration)
    daemon.start()
    compare(
        daemon,
        Statistics(
            RuntimeStatistics(),
            BypassStatistics(),
            InjectStatistics(),
            network=NetworkStatistics(),
            links=[LinkStatistics("multicast", "link")],
            queues=queues(resends=False),
        ),
    )


@needs_c_daemon
def test_statistics_mode(bed: Testbed) -> None:
    namespace = bed.namespace("one")
    daemon = Conntrackd(namespace, find_daemon(C_DAEMON), Configuration([UnicastLink("lo", "::1", "::1")]))
    general = daemon.configuration_file.read_text().split("General", 1)[1]
    log = namespace.directory / "stats.log"
    daemon.configure(f"General {general}\nStats {{\n LogFile {log}\n}}\n")
    daemon.start()
    compare(daemon, Statistics(RuntimeStatistics(), CacheStatistics("stats")))


def busy() -> Statistics:
    return Statistics(
        RuntimeStatistics(uptime=3 * 86400 + 3600 + 61, events_received=12, events_filtered=3, overruns=4),
        CacheStatistics(
            "internal",
            10,
            12,
            created=100,
            updated=200,
            destroyed=90,
            no_memory=1,
            no_space=2,
            update_not_found=3,
        ),
        CacheStatistics("external", 5, 5, created=7, destroy_not_found=8),
        CacheStatistics("internal", 1),
        CacheStatistics("external", 2),
        traffic_bytes=123456789012,
        traffic_packets=1000,
        network=NetworkStatistics(malformed=6, truncated=6, lost=7, before=8),
        links=[
            LinkStatistics("TCP", "eth1", status="NO-CARRIER", active=False),
            LinkStatistics("TCP", "eth2", send_errors=1, receive_errors=2, server_connected=True),
        ],
        queues=queues(resends=True),
        resend_queue=[QueuedMessage(1795310709), QueuedMessage(1795310710, 72)],
    )


def test_failures_and_traffic_of_the_general_statistics() -> None:
    assert format_statistics(busy()) == (
        "cache internal:\n"
        "current active connections:\t          10\n"
        "connections created:\t\t         100\tfailed:\t           3\n"
        "connections updated:\t\t         200\tfailed:\t           3\n"
        "connections destroyed:\t\t          90\tfailed:\t           0\n\n"
        "cache external:\n"
        "current active connections:\t           5\n"
        "connections created:\t\t           7\tfailed:\t           0\n"
        "connections updated:\t\t           0\tfailed:\t           0\n"
        "connections destroyed:\t\t           0\tfailed:\t           8\n\n"
        "traffic processed:\n"
        "        123456789012 Bytes                      1000 Pckts\n\n"
        "TCP traffic (active device=eth2) server=connected client=disconnected:\n"
        "                   0 Bytes sent                    0 Bytes recv\n"
        "                   0 Pckts sent                    0 Pckts recv\n"
        "                   1 Error send                    2 Error recv\n\n"
        "message tracking:\n"
        "                   6 Malformed msgs                    7 Lost msgs\n\n"
    )


def test_expectations_have_the_same_form() -> None:
    text = format_statistics(busy(), "expect")
    assert text.startswith("cache internal:\ncurrent active connections:\t           1\n")
    assert text.split("traffic processed:")[1] == format_statistics(busy()).split("traffic processed:")[1]


def test_links() -> None:
    text = format_statistics(busy(), "link")
    assert re.findall(r"TCP traffic .*", text) == [
        "TCP traffic device=eth1 status=NO-CARRIER role=BACKUP:",
        "TCP traffic device=eth2 status=RUNNING role=ACTIVE:",
    ]


def test_resend_queue() -> None:
    assert format_statistics(busy(), "rsqueue") == (
        "resent queue (len=2)\nobject -> seq:1795310709\ncontrol -> seq:1795310710 flags:72\n"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 min"),
        (59, "0 min"),
        (60, "1 min"),
        (3600, "1 h 0 min"),
        (7300, "2 h 1 min"),
        (86400, "1 day 0 min"),
        (90061, "1 day 1 h 1 min"),
        (180000, "2 days 2 h 0 min"),
        (8640000, "100 days 0 min"),
    ],
)
def test_uptime_is_told_as_the_c_daemon_does(seconds: int, text: str) -> None:
    statistics = busy()
    statistics.runtime.uptime = seconds
    assert format_statistics(statistics, "runtime").splitlines()[0] == f"daemon uptime: {text}"


def test_an_unknown_subject() -> None:
    with pytest.raises(KeyError):
        format_statistics(busy(), "bogus")
