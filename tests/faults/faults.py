# SPDX-License-Identifier: GPL-2.0-or-later
"""What may happen to a daemon, and what its log must say of it.

Each fault is struck while two daemons are in step; what it returns goes on in step by itself.
"""

from __future__ import annotations

import contextlib
import random
import resource
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from testbed import Configuration, veth, wait_until
from tests.core.support_flows import FlowTuple, KernelFlow
from tests.core.support_wire import DESTROY, UPDATE, flow_body, message
from tests.faults.scene import DEADLINE, Scene, statistic
from tests.peer.flows import plain_tcp_flows
from tests.peer.nodes import Node

LEFT, RIGHT, STRANGER = "10.77.0.1", "10.77.0.2", "10.77.0.9"
PORT = 3780
CONNECTIONS = 10_000
SMALL_BUFFER = 8192
HOUR = 3600
CONTROL, ALIVE = 10, 0x10


def with_small_buffers(configuration: Configuration) -> None:
    configuration.netlink_buffer_size = configuration.netlink_buffer_growth = SMALL_BUFFER


@contextlib.contextmanager
def stopped(node: Node) -> Iterator[None]:
    """The daemon does not run meanwhile (SIGSTOP)."""
    node.daemon.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        node.daemon.process.send_signal(signal.SIGCONT)


def overrun_netlink(scene: Scene) -> None:
    """The kernel makes more events than the socket has room for."""
    sender = scene.pair.sender
    with stopped(sender):
        scene.change()
        sender.create(plain_tcp_flows(2000, 1_000_000))
    scene.wait_logged(sender, r"\[warning\] netlink events were lost, resync with the kernel table in 1 s")
    scene.wait_logged(sender, r"\[notice\] resync with the kernel table done: \d+ flows")


def have_no_room_to_send(scene: Scene) -> None:
    """Sending fails for want of buffers (ENOBUFS)."""
    scene.system.refuse_to_send(True)
    scene.change()
    scene.wait_logged(
        scene.pair.sender,
        r"\[warning\] UDP link on sync: \d+ datagrams? not sent: No buffer space available",
    )
    scene.change()
    scene.system.refuse_to_send(False)


def drop_by_own_ruleset(scene: Scene) -> None:
    """A rule of the firewall's own drops what the daemon sends (EPERM)."""
    namespace = scene.pair.sender.namespace
    namespace.nft(
        "table inet refusing { chain leaving { type filter hook output priority filter; "
        f"udp dport {PORT} drop; }}; }}"
    )
    scene.change()
    scene.wait_logged(
        scene.pair.sender,
        r"\[warning\] UDP link on sync: \d+ datagrams? not sent: Operation not permitted, as where a "
        "firewall rule",
    )
    namespace.nft("delete table inet refusing")


def fill_disk_under_log(scene: Scene) -> None:
    """The disk that the log is on is full, and has room again later."""
    node = scene.pair.sender
    inside = Path(f"/proc/{node.daemon.process.pid}/root") / _disk(node).relative_to("/")
    filler = inside / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 4096
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2

    def fill() -> bool:
        node.daemon.process.send_signal(signal.SIGUSR1)  # a line with its status
        return "No space left on device" in node.daemon.process.output()

    wait_until(fill, DEADLINE, "the log's complaint", scene.pair.logs)
    scene.change()
    scene.wait_equal()
    filler.unlink()
    node.daemon.client("-B")
    log = (inside / "log").read_text()
    assert "lines could not be written to this log" in log, log
    assert node.daemon.process.output().count("can't write to logfile") == 1


def log_on_small_disk(node: Node) -> None:
    """To be called before the daemon starts."""
    disk = _disk(node)
    disk.mkdir(exist_ok=True)
    daemon = node.daemon
    text = daemon.configuration_file.read_text()
    daemon.configure(text.replace(f"LogFile {daemon.log_file}", f"LogFile {disk}/log"))
    # ip-netns(8) gives each command a mount namespace of its own.
    daemon.command = [
        "sh",
        "-ec",
        f'mount -t tmpfs -o size=64k none {disk}\nexec "$@"',
        "sh",
        *daemon.command,
    ]


def _disk(node: Node) -> Path:
    return node.namespace.directory / "disk"


def lose_interface(scene: Scene) -> None:
    """The dedicated link's interfaces vanish, and others come under their names."""
    left, right = scene.field.namespaces
    left.ip("link", "del", "sync")
    for node in scene.pair.nodes:
        scene.wait_logged(node, r"\[warning\] no dedicated links available! `sync' is (down|not there)")
    scene.change()
    scene.field.ends = veth(
        *(left, "sync", right, "sync"),
        first_addresses=[f"{LEFT}/24", "fd00:77::1/64"],
        second_addresses=[f"{RIGHT}/24", "fd00:77::2/64"],
    )
    for node in scene.pair.nodes:
        scene.wait_logged(node, r"\[notice\] device `sync' is up again, and the dedicated link")


def _send(scene: Scene, datagrams: list[bytes], source: str = LEFT) -> None:
    """Datagrams from the first node's namespace to the second one's daemon."""
    with scene.field.namespaces[0].entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind((source, 0))
        for datagram in datagrams:
            own.sendto(datagram, (RIGHT, PORT))


def send_rubbish(scene: Scene) -> None:
    """Random bytes, random messages of the protocol, and sound ones that are cut or have wrong bits."""
    dice = random.Random(4)
    scene.change()
    rubbish = [dice.randbytes(dice.randrange(1, 1400)) for _ in range(100)]
    for _ in range(300):
        body = flow_body(_flow(dice.randrange(1 << 24)))
        sound = bytearray(message(dice.randrange(11), dice.randrange(256), dice.randrange(1 << 32), body))
        sound[dice.randrange(len(sound))] ^= 1 << dice.randrange(8)
        rubbish.append(bytes(sound[: dice.randrange(1, len(sound))] if dice.random() < 0.5 else sound))
    _send(scene, rubbish)
    scene.change()
    right = scene.pair.receiver
    wait_until(lambda: statistic(right, "network", "Malformed messages") > 50, DEADLINE, "malformed ones")
    scene.wait_logged(
        right, rf"\[warning\] \d+ malformed messages passed over, the last from {LEFT}; `conntrackd -s"
    )


def send_old_numbers(scene: Scene) -> None:
    """Messages of yesterday: flows that are no more, and the end of flows that live."""
    living = plain_tcp_flows(50, 2_000_000)
    scene.pair.sender.create(living)
    scene.wait_equal()
    before = int(time.time()) - 24 * HOUR
    old = [
        message(DESTROY if number % 2 else UPDATE, 0, before + number, flow_body(_flow(2_000_000 + number)))
        for number in range(100)
    ]
    _send(scene, old)
    scene.change()
    right = scene.pair.receiver
    wait_until(lambda: statistic(right, "network", "Packets before") >= 100, DEADLINE, "old messages")
    scene.wait_logged(
        right,
        r"\[warning\] \d+ messages under earlier sequence numbers than expected, the last from "
        rf"{LEFT}: repeated or late",
    )


def send_as_stranger(scene: Scene) -> None:
    """Another host on the link speaks the protocol."""
    scene.field.ends[0].add_address(f"{STRANGER}/24")
    body = flow_body(_flow(5))
    _send(scene, [message(UPDATE, 0, number, body) for number in range(50)], STRANGER)
    scene.field.ends[0].remove_address(f"{STRANGER}/24")
    scene.wait_logged(
        scene.pair.receiver,
        r"\[warning\] UDP link on sync: \d+ datagrams? of others than the peers dropped, the last from "
        + STRANGER,
    )


def _flow(number: int) -> KernelFlow:
    """As one of `plain_tcp_flows`."""
    source = bytes([10, number >> 16 & 0xFF, number >> 8 & 0xFF, number & 0xFF])
    original = FlowTuple(source, bytes([172, 16, 0, 2]), 6, (1024 + number % 60000, 80))
    return KernelFlow(original, number, tcp=(3, 0, 0))


def set_clock_back(scene: Scene) -> None:
    """The system's clock is set an hour back, and then the daemon is restarted: its numbers are lower."""
    sender = scene.pair.sender
    scene.system.set_clock(-HOUR)
    scene.change()
    scene.wait_logged(sender, r"\[warning\] the system's clock was set back by 3600 s; only the time stamps")
    scene.wait_equal()
    sender.restart()


def set_clock_back_and_kill(scene: Scene) -> None:
    """The same, where the daemon cannot say good-bye."""
    scene.system.set_clock(-HOUR)
    scene.wait_logged(scene.pair.sender, r"\[warning\] the system's clock was set back by 3600 s")
    scene.change()
    scene.pair.sender.restart(kill=True)


def connect_ten_thousand_times(scene: Scene) -> None:
    """Ten thousand clients are connected to the control socket at once."""
    sender = scene.pair.sender
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, CONNECTIONS + 500), hard))
    with contextlib.ExitStack() as clients:
        clients.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for number in range(CONNECTIONS):
            client = clients.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            # While the daemon's accept queue is full, connecting waits this long.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("=qq", int(DEADLINE), 0))
            client.connect(str(sender.daemon.socket))
            if number % 3 == 0:
                with contextlib.suppress(OSError):
                    client.send(b"statis")
            if number % 2000 == 0:
                scene.change()
        scene.wait_equal()
        scene.check_alive()
    scene.wait_logged(sender, r"\[warning\] \d+ connections to the control socket cut: 512 at a time is")


def stop_process(scene: Scene) -> None:
    """The daemon does not run for ten seconds, while flows come and go and its peer speaks to it."""
    sender, receiver = scene.pair.nodes
    with stopped(sender):
        begin, first = time.monotonic(), 3_000_000
        while time.monotonic() < begin + 10.0:
            scene.change()
            receiver.create(plain_tcp_flows(20, first))
            first += 20
            assert "cache external:" in receiver.daemon.client("-s").stdout
            time.sleep(0.5)
    scene.wait_logged(sender, r"\[warning\] this daemon stood still for \d+ s: it was stopped")
