# SPDX-License-Identifier: GPL-2.0-or-later
"""A netlink socket to connection tracking: groups, buffers, network namespaces, single requests."""

from __future__ import annotations

# What the module socket wraps in enums, which take as long to load as all the rest.
import _socket
import errno
import os

from pyconntrack.core.netlink import acknowledgement, messages
from pyconntrack.kernel.closing import Closing
from pyconntrack.kernel.errors import ConntrackError, conntrack_error

TYPE_CHECKING = False

if TYPE_CHECKING:
    from pyconntrack.core.requests import RequestBatch

# linux/netlink.h
NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_DROP_MEMBERSHIP = 2
NETLINK_BROADCAST_ERROR = 4
NETLINK_NO_ENOBUFS = 5
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
HEADER_SIZE = 16
NLMSG_ERROR = 2
NLMSG_DONE = 3

# asm-generic/socket.h; the socket module has only the plain ones.
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33

# Multicast groups as bits of the address, linux/netfilter/nfnetlink_compat.h.
GROUP_NEW = 0x01
GROUP_UPDATE = 0x02
GROUP_DESTROY = 0x04
GROUP_EXPECTATION_NEW = 0x08
GROUP_EXPECTATION_UPDATE = 0x10
GROUP_EXPECTATION_DESTROY = 0x20

NAMED_NAMESPACES = "/run/netns"
# More than the kernel puts into one datagram of a dump (net/netlink/af_netlink.c).
RECEIVE_SIZE = 65536
# Bytes of receive buffer for events, where nothing else is asked for.
DEFAULT_BUFFER = 2 * 1024 * 1024


class ConntrackSocket(Closing):
    """A bound socket of NETLINK_NETFILTER, not inherited by children. A context manager.

    `namespace` is a name under /run/netns or a path such as /proc/PID/ns/net; the socket belongs to it for
    good, while the process stays where it is. `receive_buffer` is in bytes, as set; the kernel doubles it for
    its own bookkeeping. Raises ConntrackError; another OSError, such as FileNotFoundError, for the namespace.
    """

    def __init__(
        self,
        groups: int = 0,
        *,
        namespace: str | None = None,
        receive_buffer: int | None = None,
        reliable: bool = False,
    ) -> None:
        self.socket = open_socket(namespace)
        # By chance, so that what was meant for a former socket of the same port is no answer to this one.
        self._next_sequence = int.from_bytes(os.urandom(4), "big") or 1
        try:
            if receive_buffer is not None:
                self.set_receive_buffer(receive_buffer)
            if reliable:
                self.set_reliable()
            self.set_option(NETLINK_CAP_ACK)
            self.set_option(NETLINK_EXT_ACK)
            self.socket.bind((0, groups))
        except OSError as error:
            self.socket.close()
            raise conntrack_error(error.errno or 0) from error

    def close(self) -> None:
        """Close the descriptor. Harmless a second time."""
        self.socket.close()

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self.socket.fileno()

    @property
    def port(self) -> int:
        """The netlink port id, by which the kernel knows who asked."""
        return int(self.socket.getsockname()[0])

    def set_option(self, option: int, value: int = 1) -> None:
        """Set an option of SOL_NETLINK. Raises OSError."""
        self.socket.setsockopt(SOL_NETLINK, option, value)

    def join(self, group: int) -> None:
        """Hear of a group, one of GROUP_*, from now on. Raises OSError."""
        self.set_option(NETLINK_ADD_MEMBERSHIP, group.bit_length())

    def leave(self, group: int) -> None:
        """Hear no more of a group, one of GROUP_*; what waits stays. Raises OSError."""
        self.set_option(NETLINK_DROP_MEMBERSHIP, group.bit_length())

    def set_reliable(self) -> None:
        """Make the kernel hold back what it cannot tell: an event that does not fit is delivered later, no
        ENOBUFS is raised.

        New flows whose event cannot be delivered are dropped meanwhile (NETLINK_BROADCAST_ERROR,
        NETLINK_NO_ENOBUFS).
        """
        self.set_option(NETLINK_BROADCAST_ERROR)
        self.set_option(NETLINK_NO_ENOBUFS)

    @property
    def receive_buffer(self) -> int:
        """Bytes of receive buffer, in the measure of set_receive_buffer."""
        return self.socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF) // 2

    def set_receive_buffer(self, size: int) -> int:
        """Set the receive buffer to `size` bytes, beyond net.core.rmem_max where we may.

        The size that it got. Raises ConntrackError.
        """
        try:
            set_buffer(self.socket, SO_RCVBUFFORCE, _socket.SO_RCVBUF, size)
        except OSError as error:
            raise conntrack_error(error.errno or 0) from error
        return self.receive_buffer

    def set_send_buffer(self, size: int) -> None:
        """Set the send buffer to `size` bytes, which is the longest datagram that can be sent."""
        set_buffer(self.socket, SO_SNDBUFFORCE, _socket.SO_SNDBUF, size)

    def grow_receive_buffer(self, limit: int) -> bool:
        """Double the receive buffer, up to `limit` bytes; False where it does not grow any more."""
        before = self.receive_buffer
        if before >= limit:
            return False
        return self.set_receive_buffer(min(before * 2, limit)) > before

    def next_sequence(self, count: int = 1) -> int:
        """The first of `count` sequence numbers in a row, none 0, that no other request of the socket has."""
        first = self._next_sequence
        if first + count > 0xFFFFFFFF:
            first = 1
        self._next_sequence = first + count
        return first

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until something can be received, `timeout` seconds at most; False where nothing came."""
        import select

        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def request(self, message: bytes, sequence: int) -> list[bytes]:
        """Send one request that asks for an acknowledgement, or a dump; the messages that answer it.

        For answers of which there are few. Raises ConntrackError with the kernel's reason.
        """
        try:
            self.socket.send(message)
        except OSError as error:
            raise conntrack_error(error.errno or 0) from error
        answers: list[bytes] = []
        while not self._take_answers(sequence, answers):
            pass
        return answers

    def execute(self, requests: RequestBatch) -> list[tuple[int, int]]:
        """Send the requests of a batch: [(position, errno), ...] of those that failed.

        Raises ConntrackError where the socket fails, and with EPERM where the kernel takes none of them: that
        it tells once for all of the datagram.
        """
        try:
            requests.send(self.fileno())
            outcomes = requests.collect(self.fileno())
        except OSError as error:
            raise conntrack_error(error.errno or 0) from error
        if _refused_as_a_whole(outcomes, len(requests)):
            raise conntrack_error(errno.EPERM)
        return outcomes

    def _take_answers(self, sequence: int, answers: list[bytes]) -> bool:
        """Receive one datagram; True where it ends the answer."""
        try:
            datagram = self.socket.recv(RECEIVE_SIZE)
        except OSError as error:
            raise conntrack_error(error.errno or 0) from error
        for kind, flags, answered, message in messages(datagram):
            if answered != sequence:
                continue
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                number, text = acknowledgement(message[HEADER_SIZE:], flags)
                if number > 0:
                    raise conntrack_error(number, text)
                return True
            answers.append(message)
        return False


def _refused_as_a_whole(outcomes: list[tuple[int, int]], count: int) -> bool:
    """Whether the first answer was the only one: one flow may be refused so, too, if its timeout is fixed."""
    unanswered = [(position, errno.ENOBUFS) for position in range(1, count)]
    return count > 1 and outcomes == [(0, errno.EPERM), *unanswered]


def set_buffer(sock: _socket.socket, force: int, plain: int, size: int) -> None:
    """Set a buffer's size: without the system's limit, which takes CAP_NET_ADMIN, else up to it."""
    try:
        sock.setsockopt(_socket.SOL_SOCKET, force, size)
    except PermissionError:
        sock.setsockopt(_socket.SOL_SOCKET, plain, size)


def open_socket(namespace: str | None) -> _socket.socket:
    """An unbound socket of NETLINK_NETFILTER in a network namespace. Raises as ConntrackSocket does."""
    if namespace is None:
        return new_socket()
    path = namespace if "/" in namespace else f"{NAMED_NAMESPACES}/{namespace}"
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return open_elsewhere(descriptor)
    except ConntrackError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(descriptor)


def new_socket() -> _socket.socket:
    """An unbound socket of NETLINK_NETFILTER in the calling thread's network namespace."""
    try:
        return _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    except OSError as error:
        raise conntrack_error(error.errno or errno.EPROTONOSUPPORT) from error


def open_elsewhere(namespace: int) -> _socket.socket:
    """A socket opened by a thread of its own, which enters the namespace and ends.

    No other thread leaves its own.
    """
    from threading import Thread

    from pyconntrack.core.netlink_receiver import enter_network_namespace

    result: list[_socket.socket | OSError] = []

    def run() -> None:
        try:
            enter_network_namespace(namespace)
            result.append(new_socket())
        except OSError as error:
            result.append(error)

    thread = Thread(target=run, name="network namespace")
    thread.start()
    thread.join()
    opened = result[0]
    if isinstance(opened, OSError):
        raise opened
    return opened
