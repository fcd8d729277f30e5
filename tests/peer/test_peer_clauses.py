# SPDX-License-Identifier: GPL-2.0-or-later
"""Clauses of the dedicated link and of replication: what each changes between two daemons."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from testbed import Configuration, MulticastLink, UnicastLink, in_user_namespace, wait_until
from testbed.configuration import Mode
from tests.peer.flows import batch_of, plain_tcp_flows
from tests.peer.nodes import Field, Node, Pair, Transport

DEADLINE = 30.0
ETH_P_IP = 0x0800
# IP_CT_TCP_FLAG_*, linux/netfilter/nf_conntrack_tcp.h
WINDOW_SCALE = 0x01
BE_LIBERAL = 0x08
PORT = 3999


def rewritten(node: Node, *changes: tuple[str, str]) -> None:
    """Change the text of a node's configuration file."""
    text = node.daemon.configuration_file.read_text()
    for pattern, by in changes:
        text, count = re.subn(pattern, by, text)
        assert count, pattern
    node.daemon.configure(text)


@contextmanager
def captured(pair: Pair) -> Iterator[Callable[[], tuple[str, int, int]]]:
    """The next UDP datagram that arrives at the receiver: its source, its destination port, its checksum."""
    with pair.receiver.namespace.entered():
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    with packets:
        packets.bind(("sync", ETH_P_IP))
        packets.settimeout(DEADLINE)

        def take() -> tuple[str, int, int]:
            while True:
                packet, origin = packets.recvfrom(65536)
                if origin[2] != socket.PACKET_OUTGOING and packet[9] == socket.IPPROTO_UDP:
                    header = packet[0] % 16 * 4
                    _, port, _, checksum = struct.unpack_from(">4H", packet, header)
                    return socket.inet_ntoa(packet[12:16]), port, checksum

        yield take


@pytest.mark.parametrize(
    ("place", "transport", "checksum"),
    [
        ("link", "udp", "on"),
        ("link", "udp", "off"),
        ("link", "multicast", "off"),
        ("Sync", "udp", "off"),
    ],
)
def test_checksum(field: Field, transport: Transport, checksum: str, place: str) -> None:
    pair = field.pair("ours", "ours", "FTFW", transport)
    for node in pair.nodes:
        here = "" if place == "Sync" else f"Checksum {checksum}"
        rewritten(node, ("Checksum on", here))
        if place == "Sync":
            rewritten(node, (r"Sync \{", f"Sync {{ Checksum {checksum}\n"))
    with pair.running(), captured(pair) as take:
        pair.sender.create(plain_tcp_flows(10))
        pair.wait_equal()
        assert (take()[2] == 0) == (checksum == "off")


@pytest.mark.parametrize(
    ("transport", "old"), [("udp", False), ("multicast", False), ("tcp", False), ("multicast", True)]
)
def test_socket_buffers(field: Field, transport: Transport, old: bool) -> None:
    """ss(8) shows twice what was asked for, as the kernel counts."""
    if in_user_namespace():
        pytest.skip("a user namespace's root may not pass the system's limits")
    pair = field.pair("ours", "ours", "FTFW", transport)
    node = pair.sender
    rewritten(node, (r"SndSocketBuffer \d+", ""), (r"RcvSocketBuffer \d+", ""))
    names = (
        ("McastSndSocketBuffer", "McastRcvSocketBuffer") if old else ("SndSocketBuffer", "RcvSocketBuffer")
    )
    lines = f"{names[0]} 777216\n{names[1]} 999424\n"
    rewritten(
        node, (r"Sync \{", f"Sync {{\n{lines}") if old else ("Interface sync", f"Interface sync\n{lines}")
    )
    with pair.running():
        pair.sender.create(plain_tcp_flows(10))
        pair.wait_equal()
        shown = node.namespace.run(["ss", "-Htuanm"]).stdout
        assert f"rb{2 * 999424}," in shown
        assert f"tb{2 * 777216}," in shown


def test_buffers_of_multicast_by_their_old_names(field: Field) -> None:
    if in_user_namespace():
        pytest.skip("a user namespace's root may not pass the system's limits")
    pair = field.pair("ours", "ours", "FTFW", "multicast")
    rewritten(
        pair.sender,
        (r"SndSocketBuffer \d+", "McastSndSocketBuffer 777216"),
        (r"RcvSocketBuffer \d+", "McastRcvSocketBuffer 999424"),
    )
    with pair.running():
        shown = pair.sender.namespace.run(["ss", "-Huanm"]).stdout
        assert f"rb{2 * 999424}," in shown
        assert f"tb{2 * 777216}," in shown


@pytest.mark.parametrize("transport", ["udp", "multicast"])
def test_port_or_group(field: Field, transport: Transport) -> None:
    pair = field.pair("ours", "ours", "FTFW", transport)
    for node in pair.nodes:
        rewritten(node, (r"(Port|Group) 3780", rf"\1 {PORT}"))
    with pair.running(), captured(pair) as take:
        pair.sender.create(plain_tcp_flows(10))
        pair.wait_equal()
        assert take()[1] == PORT


@pytest.mark.parametrize("transport", ["udp", "multicast"])
def test_own_address_is_the_one_that_is_sent_from(field: Field, transport: Transport) -> None:
    """`IPv4_address` of a UDP link, `IPv4_interface` of a multicast one: of two that the interface has."""
    second = "10.77.0.11"
    end = field.ends[0]
    end.add_address(f"{second}/24")
    try:
        pair = field.pair("ours", "ours", "FTFW", transport)
        place = "IPv4_interface" if transport == "multicast" else "IPv4_address"
        rewritten(pair.sender, (rf"{place} 10\.77\.0\.1\b", f"{place} {second}"))
        if transport == "udp":
            rewritten(pair.receiver, (r"Destination_Address 10\.77\.0\.1\b", f"Destination_Address {second}"))
        with pair.running(), captured(pair) as take:
            pair.sender.create(plain_tcp_flows(10))
            pair.wait_equal()
            assert take()[0] == second
    finally:
        end.remove_address(f"{second}/24")


def test_addresses_and_port_of_tcp(field: Field) -> None:
    """By ss(8): where connections come from, and go to."""
    second = "10.77.0.11"
    end = field.ends[0]
    end.add_address(f"{second}/24")
    try:
        pair = field.pair("ours", "ours", "FTFW", "tcp")
        rewritten(pair.sender, (r"IPv4_address 10\.77\.0\.1\b", f"IPv4_address {second}"))
        rewritten(pair.receiver, (r"Destination_Address 10\.77\.0\.1\b", f"Destination_Address {second}"))
        for node in pair.nodes:
            rewritten(node, ("Port 3780", f"Port {PORT}"))
        with pair.running():
            pair.sender.create(plain_tcp_flows(10))
            pair.wait_equal()
            shown = pair.sender.namespace.run(["ss", "-Htn", "state", "established"]).stdout
            listening = pair.sender.namespace.run(["ss", "-Htln"]).stdout
        assert re.search(rf" {second}:\d+ +10\.77\.0\.2:{PORT}\b", shown), shown
        assert re.search(rf" {second}(%sync)?:{PORT} ", listening), listening
    finally:
        end.remove_address(f"{second}/24")


@pytest.mark.parametrize("tracking", ["yes", "no"])
def test_tcp_window_tracking(field: Field, tracking: str) -> None:
    """Scales of windows travel, and the kernel of the other node looks at windows, only where it is on."""

    def adapt(configuration: Configuration) -> None:
        configuration.options = [f"TCPWindowTracking {tracking}"]

    flows = plain_tcp_flows(5)
    scaled = batch_of(
        {
            **flows.unpack(i),
            "tcp_window_scale_original": 7,
            "tcp_window_scale_reply": 9,
            # Without this flag, in value and mask, the kernel does not take the scales.
            "tcp_flags_original": (WINDOW_SCALE, WINDOW_SCALE),
            "tcp_flags_reply": (WINDOW_SCALE, WINDOW_SCALE),
        }
        for i in range(5)
    )
    with field.pair("ours", "ours", "FTFW", "udp", adapt).running() as pair:
        pair.sender.create(scaled)
        pair.wait_equal()
        pair.commit()
        committed = pair.receiver.kernel()
    assert len(committed) == 5
    on = tracking == "yes"
    for flow in committed:
        assert (flow["tcp_window_scale_original"], flow["tcp_window_scale_reply"]) == (
            (7, 9) if on else (0, 0)
        )
        assert bool(flow["tcp_flags_original"] & BE_LIBERAL) != on


@pytest.mark.parametrize("mode", ["FTFW", "NOTRACK"])
def test_commit_timeout(field: Field, mode: Mode) -> None:
    def adapt(configuration: Configuration) -> None:
        configuration.mode_lines = ["CommitTimeout 77"]

    with field.pair("ours", "ours", mode, "udp", adapt).running() as pair:
        pair.sender.create(plain_tcp_flows(20))
        pair.wait_equal()
        pair.commit()
        timeouts = pair.receiver.kernel()["timeout"].tolist()
    assert len(timeouts) == 20
    assert all(0 < timeout <= 77 for timeout in timeouts)


@pytest.mark.parametrize("asks", ["yes", "no"])
def test_startup_resync(field: Field, asks: str) -> None:
    """A node that starts beside one with flows asks for them; else it hears of what changes from then on."""

    def adapt(configuration: Configuration) -> None:
        configuration.mode_lines = [f"StartupResync {asks}"]

    # Without numbers to be asked for again, a lack is noticed only by who follows the peer.
    pair = field.pair("ours", "ours", "NOTRACK", "udp", adapt)
    with pair.running():
        pair.receiver.daemon.terminate()
        pair.sender.create(plain_tcp_flows(50))
        wait_until(lambda: pair.sender.active("internal") == 50, DEADLINE, "the flows", pair.logs)
        wait_until(lambda: waiting(pair.sender) == 0, DEADLINE, "an empty queue", pair.logs)
        pair.receiver.daemon.start()
        if asks == "yes":
            pair.wait_equal()
            assert "[notice] resync requested\n" in since_start(pair.receiver)
        else:
            pair.sender.create(plain_tcp_flows(50, 101))
            wait_until(lambda: pair.receiver.active("external") == 50, DEADLINE, "later ones", pair.logs)
            assert "[notice] resync requested\n" not in since_start(pair.receiver)


def since_start(node: Node) -> str:
    """What its log says since it was last started."""
    return node.daemon.log_file.read_text().rpartition("netlink event socket buffer size")[2]


def waiting(node: Node) -> int:
    return queue(node, "txqueue")[0]


def queue(node: Node, name: str) -> tuple[int, int, int]:
    """Elements in a queue, how many it may have, and how many had no room."""
    text = node.daemon.client("-s", "queue").stdout.partition(f"queue {name}:")[2]
    numbers = [int(number) for number in re.findall(r":\s+(\d+)", text)[:3]]
    return numbers[0], numbers[1], numbers[2]


def test_resend_queue(field: Field) -> None:
    """What nobody acknowledges is kept up to a number of messages; the older ones are forgotten."""

    def adapt(configuration: Configuration) -> None:
        configuration.mode_lines = ["ResendQueueSize 128"]

    pair = field.pair("ours", "ours", "FTFW", "udp", adapt)
    sender = pair.sender
    with pair.running():
        assert pair.receiver.daemon.terminate() == 0
        sender.create(plain_tcp_flows(700))
        wait_until(lambda: queue(sender, "rsqueue")[2] >= 500, DEADLINE, "a full queue", pair.logs)
        elements, most, _ = queue(sender, "rsqueue")
        assert elements <= most == 128


@pytest.mark.parametrize(("size", "messages"), [(2048, 131_072), (84 * 200_000, 200_000)])
def test_resend_buffer_of_old(field: Field, size: int, messages: int) -> None:
    """A number of bytes, which never makes the queue shorter than today's."""

    def adapt(configuration: Configuration) -> None:
        configuration.mode_lines = [f"ResendBufferSize {size}"]

    with field.pair("ours", "ours", "FTFW", "udp", adapt).running() as pair:
        assert queue(pair.sender, "rsqueue")[1] == messages


def test_ack_window(field: Field) -> None:
    """The smaller it is, the more acknowledgements the receiver sends."""
    sent = {}
    for window in (10, 1000):

        def adapt(configuration: Configuration, window: int = window) -> None:
            configuration.mode_lines = [f"ACKWindowSize {window}"]

        with field.pair("ours", "ours", "FTFW", "udp", adapt).running() as pair:
            pair.sender.create(plain_tcp_flows(5000))
            pair.wait_equal()
            network = pair.receiver.daemon.client("-s", "network").stdout
            found = re.search(r"(\d+) Bytes sent", network)
            assert found is not None
            sent[window] = int(found[1])
    assert sent[10] > 2 * sent[1000]


def test_error_queue_length_is_shown_and_needless(field: Field) -> None:
    """What was said while there was no connection arrives all the same, however short the queue."""
    pair = field.pair("ours", "ours", "NOTRACK", "tcp")
    rewritten(pair.sender, ("Interface sync", "Interface sync\nErrorQueueLength 3"))
    with pair.running():
        assert queue(pair.sender, "errorq")[1] == 3
        pair.sender.create(plain_tcp_flows(20))
        pair.wait_equal()
        pair.receiver.daemon.terminate()
        pair.sender.create(plain_tcp_flows(200, 101))
        pair.receiver.daemon.start()
        pair.wait_equal()
    assert "ErrorQueueLength" in pair.sender.daemon.log()


def test_links_of_the_field_are_what_these_tests_rewrite() -> None:
    """So that a change of the test bed's configurations does not make them pass for nothing."""
    for link in (UnicastLink("sync", "10.77.0.1", "10.77.0.2"), MulticastLink("sync", "10.77.0.1")):
        text = "\n".join(link.clause())
        assert "Checksum on" in text
        assert "Interface sync" in text
