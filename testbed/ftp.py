# SPDX-License-Identifier: GPL-2.0-or-later
"""FTP control connections, so that the kernel's FTP helper expects the data connections they speak of.

Both ends of a connection are sockets of this process, in one namespace (over its loopback interface) or in
two; no other process takes part. What the kernel knows of each expectation is known beforehand: addresses and
ports are those given here, so that two namespaces with the same traffic have equal tables but for ids and
timeouts::

    attach_helper(namespace)
    with FtpTraffic(namespace) as traffic:
        traffic.expect(3)                               # three connections, each expects one
        control = traffic.connect()
        control.passive(50000)                          # one more
        control.transfer()                              # and the data connection that fulfils it

The helper expects one data connection per control connection: the next one announced takes its place.
"""

from __future__ import annotations

import contextlib
import resource
import socket
from ipaddress import ip_address
from types import TracebackType

from testbed.namespace import Namespace

CONTROL_PORT = 21
FIRST_SOURCE_PORT = 40000
FIRST_DATA_PORT = 50000
TIMEOUT = 300
"""Seconds for which the FTP helper expects a data connection (net/netfilter/nf_conntrack_ftp.c)."""

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
_ANSWER_TIMEOUT = 20.0
_LINE_SIZE = 1024


def helper_ruleset(helper: str = "ftp", protocol: str = "tcp", port: int = CONTROL_PORT) -> str:
    """A ruleset that follows connections to `port`, from, to or through the namespace, by a helper."""
    rule = f'{protocol} dport {port} ct helper set "follow"'
    return f"""
        table inet helper {{
            ct helper follow {{ type "{helper}" protocol {protocol}; }}
            chain output {{ type filter hook output priority filter; {rule}; }}
            chain prerouting {{ type filter hook prerouting priority filter; {rule}; }}
        }}
    """


def translation_ruleset(seen: str, real: str) -> str:
    """A ruleset that sends what goes to the address `seen` to `real`: expectations then tell their NAT."""
    version = "ip" if ip_address(seen).version == 4 else "ip6"
    rule = f"{version} daddr {seen} dnat {version} to {real}"
    return f"""
        table inet translation {{
            chain output {{ type nat hook output priority -100; {rule}; }}
            chain prerouting {{ type nat hook prerouting priority dstnat; {rule}; }}
            chain postrouting {{ type nat hook postrouting priority srcnat; }}
        }}
    """


def attach_helper(namespace: Namespace) -> None:
    """Follow FTP in the namespace. Raises ``CommandFailedError`` where the kernel has no FTP helper."""
    namespace.nft(helper_ruleset())


class FtpControl:
    """A control connection, logged in. Addresses and ports announced are those of the data connection."""

    def __init__(self, client: socket.socket, server: socket.socket, traffic: FtpTraffic) -> None:
        self.client = client
        self.server = server
        self._traffic = traffic
        self._version = 4 if client.family == socket.AF_INET else 6
        self._listener: socket.socket | None = None
        self._active = False
        self.reply("220 ready")
        self.command("USER anyone")
        self.reply("230 logged in")

    def command(self, line: str) -> None:
        """A line from the client to the server."""
        _say(self.client, self.server, line)

    def reply(self, line: str) -> None:
        """A line from the server to the client."""
        _say(self.server, self.client, line)

    def active(self, port: int = 0) -> int:
        """The client waits for the data connection (PORT, EPRT); the port."""
        port = self._listen(self.client, self._traffic.client, port)
        address = str(self.client.getsockname()[0])
        if self._version == 4:
            self.command(f"PORT {_packed(address, port)}")
        else:
            self.command(f"EPRT |2|{address}|{port}|")
        self.reply("200 good")
        self._active = True
        return port

    def passive(self, port: int = 0, *, extended: bool = False) -> int:
        """The server waits for it (PASV, EPSV; IPv6 has only the latter); the port."""
        port = self._listen(self.server, self._traffic.server, port)
        if self._version == 6 or extended:
            self.command("EPSV")
            self.reply(f"229 Entering extended passive mode (|||{port}|)")
        else:
            self.command("PASV")
            address = str(self.server.getsockname()[0])
            self.reply(f"227 Entering passive mode ({_packed(address, port)})")
        self._active = False
        return port

    def transfer(self) -> None:
        """Make the data connection that was announced last, send a line over it, and close it."""
        if self._listener is None:
            raise ValueError("no data connection was announced")
        calling, namespace = (
            (self.server, self._traffic.server) if self._active else (self.client, self._traffic.client)
        )
        target = calling.getpeername()[0], self._listener.getsockname()[1]
        with namespace.entered(), socket.socket(calling.family) as caller:
            caller.settimeout(_ANSWER_TIMEOUT)
            caller.bind((calling.getsockname()[0], 0))
            caller.connect(target)
            with self._listener.accept()[0] as answering:
                answering.settimeout(_ANSWER_TIMEOUT)
                _say(caller, answering, "a line of the file")
        self._listener.close()
        self._listener = None

    def close(self) -> None:
        """Close both ends. Harmless a second time."""
        for each in (self.client, self.server, self._listener):
            if each is not None:
                each.close()

    def _listen(self, control: socket.socket, namespace: Namespace, port: int) -> int:
        if self._listener is not None:
            self._listener.close()
        with namespace.entered():
            self._listener = socket.create_server((control.getsockname()[0], port), family=control.family)
        self._listener.settimeout(_ANSWER_TIMEOUT)
        return int(self._listener.getsockname()[1])


class FtpTraffic:
    """FTP between two namespaces, or within one. A context manager: its end closes every connection."""

    def __init__(
        self,
        client: Namespace,
        server: Namespace | None = None,
        *,
        version: int = 4,
        address: str | None = None,
        listen: str | None = None,
        port: int = CONTROL_PORT,
    ) -> None:
        """Listen in `server`, by default in `client`.

        `address` is the one to which the client connects, by default the loopback address; `listen` is the
        server's, where translation makes it another one.
        """
        self.client = client
        self.server = server or client
        self._target = (address or LOOPBACK[version], port)
        self._connections: list[FtpControl] = []
        self._opened = 0
        _raise_descriptor_limit()
        family = socket.AF_INET if ip_address(self._target[0]).version == 4 else socket.AF_INET6
        with self.server.entered():
            self._listener = socket.create_server((listen or self._target[0], port), family=family)
        self._listener.settimeout(_ANSWER_TIMEOUT)

    def __enter__(self) -> FtpTraffic:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self, source: str | None = None, source_port: int | None = None) -> FtpControl:
        """A control connection, by default from ports 40000, 40001 and so on."""
        if source_port is None:
            source_port = FIRST_SOURCE_PORT + self._opened
        self._opened += 1
        with self.client.entered(), contextlib.ExitStack() as opened:
            client = opened.enter_context(socket.socket(self._listener.family))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.settimeout(_ANSWER_TIMEOUT)
            client.bind((source or "", source_port))
            client.connect(self._target)
            server = opened.enter_context(self._listener.accept()[0])
            server.settimeout(_ANSWER_TIMEOUT)
            control = FtpControl(client, server, self)
            opened.pop_all()
        self._connections.append(control)
        return control

    def expect(self, count: int, *, first_port: int = FIRST_DATA_PORT) -> list[FtpControl]:
        """Open `count` control connections that each announce a data connection, by turns active and passive.

        The kernel expects `count` more when it returns. Data ports are `first_port` and those behind it.
        """
        controls = []
        for number in range(count):
            control = self.connect()
            announce = control.passive if number % 2 else control.active
            announce(first_port + number)
            controls.append(control)
        return controls

    def close(self) -> None:
        """Close every connection. Harmless a second time."""
        for control in self._connections:
            control.close()
        self._listener.close()


def _say(speaker: socket.socket, hearer: socket.socket, line: str) -> None:
    """Send a line and wait until it has arrived: then the helpers on its way have read it."""
    speaker.sendall(f"{line}\r\n".encode("ascii"))
    # A helper that translates makes a line longer or shorter: its end counts.
    heard = b""
    while not heard.endswith(b"\n"):
        part = hearer.recv(_LINE_SIZE)
        if not part:
            raise ConnectionError("the control connection was closed")
        heard += part


def _packed(address: str, port: int) -> str:
    return ",".join([*address.split("."), str(port >> 8), str(port & 255)])


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
