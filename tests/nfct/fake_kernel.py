# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that answers what the test says, for tools that are processes: many have no user-space helpers.

The library between the tool and the system is `fake_kernel.c`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from struct import pack, unpack_from
from typing import NamedTuple

from pyconntrack.kernel.netlink_attributes import NLA_F_NESTED
from testbed import Namespace
from tests.nfct.tools import Outcome, run_tool

SOURCE = Path(__file__).with_name("fake_kernel.c")


Attributes = tuple[tuple[int, "bytes | Attributes"], ...]


class Request(NamedTuple):
    """What a tool sent, without the sequence number and what fills up to four bytes."""

    type: int
    flags: int
    family: bytes
    attributes: Attributes


class FakeKernel:
    """The library, built in a directory that also takes the files by which it is told and tells."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._library = directory / "fake_kernel.so"
        options = ["-shared", "-fPIC", "-O1", "-Wall"]
        subprocess.run(["gcc", *options, "-o", str(self._library), str(SOURCE)], check=True)

    def run(
        self, tool: Sequence[str], words: Sequence[str], answers: Sequence[bytes], namespace: Namespace
    ) -> tuple[Outcome, list[Request]]:
        """Run a tool that gets these datagrams as answers; what it did, and what it sent."""
        given, sent = self._directory / "answers", self._directory / "requests"
        given.write_bytes(b"".join(pack("=I", len(answer)) + answer for answer in answers))
        sent.write_bytes(b"")
        environment = {
            "LD_PRELOAD": str(self._library),
            "FAKE_ANSWERS": str(given),
            "FAKE_REQUESTS": str(sent),
        }
        outcome = run_tool(tool, words, namespace, environment=environment)
        return outcome, _requests(sent.read_bytes())


def _requests(data: bytes) -> list[Request]:
    found = []
    while data:
        (length,) = unpack_from("=I", data)
        message, data = data[4 : 4 + length], data[4 + length :]
        told, kind, flags = unpack_from("=IHH", message)
        assert told == length
        found.append(Request(kind, flags, message[16:20], _attributes(message[20:])))
    return found


def _attributes(data: bytes) -> Attributes:
    found: list[tuple[int, bytes | Attributes]] = []
    while data:
        length, kind = unpack_from("=HH", data)
        value = data[4:length]
        found.append((kind, _attributes(value) if kind & NLA_F_NESTED else value))
        data = data[length + -length % 4 :]
    return tuple(found)


def message(kind: int, content: bytes, *, multi: bool = False) -> bytes:
    """A message of the kernel."""
    return pack("=IHHII", 16 + len(content), kind, 2 if multi else 0, 0, 0) + content


def acknowledgement(error: int = 0) -> bytes:
    """An NLMSG_ERROR with an errno, or with none. It repeats a request that nobody compares."""
    return message(2, pack("=i", -error) + pack("=IHHII", 16, 0, 0, 0, 0))


def done() -> bytes:
    """The end of a dump."""
    return message(3, pack("=i", 0), multi=True)
