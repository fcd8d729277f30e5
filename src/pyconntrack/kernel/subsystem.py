# SPDX-License-Identifier: GPL-2.0-or-later
"""One subsystem of nfnetlink that keeps named objects: requests to it, and what it refuses, in words."""

import errno
import os
from collections.abc import Mapping

from pyconntrack.core.netlink import attributes
from pyconntrack.kernel.errors import MEANINGS, ConntrackError
from pyconntrack.kernel.netlink_attributes import message
from pyconntrack.kernel.socket import ConntrackSocket

# linux/netlink.h
NLM_F_ACK = 0x004
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_CREATE = 0x400

HEADER_SIZE = 20  # nlmsghdr and nfgenmsg
# The same in each subsystem of this kind.
NEW, GET, DELETE = 0, 1, 2

# What is true of each subsystem alike, beside its own meanings.
_COMMON = {
    errno.EPERM: "this needs CAP_NET_ADMIN in this network namespace (or root)",
    errno.ENOBUFS: MEANINGS[errno.ENOBUFS],
}


class ObjectExistsError(ConntrackError):
    """An object of this name exists (EEXIST, or EBUSY)."""


class ObjectInUseError(ConntrackError):
    """The object cannot be deleted while something uses it (EBUSY)."""


class ObjectNotFoundError(ConntrackError):
    """No object of this name (ENOENT)."""


class SubsystemMissingError(ConntrackError):
    """This kernel does not have the subsystem. `errno` is what it said, which is EINVAL."""


class Subsystem:
    """A socket and the number of a subsystem.

    `module` is the kernel's module, and `kind` what the objects are called, for messages; `meanings` is what
    errnos mean beyond those that all have. `namespace` and exceptions as for ConntrackSocket.
    """

    def __init__(
        self, number: int, module: str, kind: str, meanings: Mapping[int, str], namespace: str | None
    ) -> None:
        self._number = number
        self._module = module
        self._kind = kind
        self._meanings = {**_COMMON, **meanings}
        self._socket = ConntrackSocket(namespace=namespace)

    def close(self) -> None:
        """Close the socket. Harmless a second time."""
        self._socket.close()

    def ask(self, command: int, flags: int, *content: bytes) -> list[dict[int, bytes]]:
        """One request with these attributes; the attributes of each answer.

        Raises ObjectExistsError, ObjectInUseError, ObjectNotFoundError, SubsystemMissingError,
        ConntrackError.
        """
        try:
            return self._ask(command, flags, b"".join(content))
        except ConntrackError as error:
            raise self._explained(command, error.errno or 0) from error

    def ask_one(self, command: int, *content: bytes) -> dict[int, bytes]:
        """The one answer to a request. Raises as ask() does."""
        answers = self.ask(command, NLM_F_ACK, *content)
        if not answers:
            raise self._explained(command, errno.ENOENT)
        return answers[0]

    def dump(self) -> list[dict[int, bytes]]:
        """The attributes of each object. Raises SubsystemMissingError, ConntrackError."""
        return self.ask(GET, NLM_F_DUMP)

    def _ask(self, command: int, flags: int, content: bytes) -> list[dict[int, bytes]]:
        sequence = self._socket.next_sequence()
        request = message(self._number, command, flags, sequence, content)
        return [attributes(answer[HEADER_SIZE:]) for answer in self._socket.request(request, sequence)]

    def _explained(self, command: int, number: int) -> ConntrackError:
        error, meaning = ConntrackError, self._meanings.get(number, "")
        if number == errno.EINVAL and self._is_missing():
            error = SubsystemMissingError
            meaning = f"this kernel has no {self._module} (try: modprobe {self._module})"
        elif number == errno.ENOENT:
            error, meaning = ObjectNotFoundError, f"no such {self._kind}"
        elif number in (errno.EEXIST, errno.EBUSY) and command == NEW:
            error, meaning = ObjectExistsError, meaning or f"a {self._kind} of this name exists"
        elif number == errno.EBUSY and command == DELETE:
            error, meaning = ObjectInUseError, f"the {self._kind} is in use"
        return error(number, ": ".join(filter(None, (os.strerror(number), meaning))))

    def _is_missing(self) -> bool:
        """Whether the kernel refuses even what cannot be wrong: nfnetlink gives EINVAL for a subsystem that
        it does not have, as subsystems do for what they do not like (nfnetlink_rcv_msg).
        """
        try:
            self._ask(GET, NLM_F_DUMP, b"")
        except ConntrackError as error:
            return error.errno == errno.EINVAL
        return False
