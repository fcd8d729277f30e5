# SPDX-License-Identifier: GPL-2.0-or-later
"""What conntrack's command line takes, for comparison with what is told of it.

The names are those of the source, and the parser says what goes together.
"""

from __future__ import annotations

import re

from pyconntrack.core.command_line import CommandLineError, parse
from tests.docs.blocks import ROOT

TABLE = (ROOT / "src/pyconntrack/core/option_table.pyx").read_text()
VALUES = (ROOT / "src/pyconntrack/core/option_values.pyx").read_text()


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]


def _entries(block: str) -> str:
    return _found(rf"^cdef tuple {block} = \((.*?)^\)", TABLE)


LONG_NAMES = [
    f"--{name}"
    for block in ("GENERAL_NAMES", "PROTOCOL_NAMES")
    for name in re.findall(r'\(b"([\w-]+)", ', _entries(block))
]
# -R is a matter of the first word alone, and no entry of the table.
COMMANDS = {
    "--dump": "L",
    "--get": "G",
    "--delete": "D",
    "--create": "I",
    "--add": "A",
    "--update": "U",
    "--event": "E",
    "--flush": "F",
    "--counter": "C",
    "--stats": "S",
    "--version": "V",
    "--help": "h",
    "--load-file": "R",
}
OPTIONS = [name for name in LONG_NAMES if name not in COMMANDS]
# Those like ( and ] are there for the C tool's sake.
LETTERS = {
    f"--{name}": letter for letter, name in re.findall(r'\(b"([A-Za-z])", b"([\w-]+)"\)', _entries("LETTERS"))
} | {"--load-file": "R"}
PROTOCOLS = ["tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "gre"]


def named_values(kind: str) -> list[str]:
    """The names of STATUSES, OUTPUTS or EVENTS."""
    return re.findall(rf'^{kind}\[\d+\] = named_bits_t\(b"(\w+)"', VALUES, re.MULTILINE)


def states(protocol: str) -> list[str]:
    """The states of tcp, sctp or dccp, but for the second name of one."""
    text = _found(rf"^cdef const char \*{protocol.upper()}_STATES = (.*?)(?=^$|^cdef)", VALUES)
    return "".join(re.findall(r'b"(.*?)"', text)).split(",")


def required(letter: str, table: str, protocol: str | None) -> list[str]:
    """Options with values that make a whole command line of a command."""
    if letter not in "GIA" and (letter, table) != ("D", "expect"):
        return [] if protocol is None else ["-p", protocol]
    address = value("--src", protocol)
    words = ["-s", address, "-d", address, "-p", protocol or "99"]
    if letter in "IA":
        words += ["-t", "5"]
    if (letter, table) == ("I", "expect"):
        for name in ("--tuple-src", "--tuple-dst", "--mask-src", "--mask-dst"):
            words += [name, address]
    return words + _required_of_protocol(letter, table, protocol)


def _required_of_protocol(letter: str, table: str, protocol: str | None) -> list[str]:
    kind = "key" if protocol == "gre" else "port"
    has_ports = protocol in ("tcp", "udp", "udplite", "sctp", "dccp", "gre")
    directions = ["orig"]
    if table == "expect":
        directions += ["tuple", "mask"] if letter == "I" else ["reply"]
        if protocol == "gre":
            directions.append("reply")
    names = [f"--{one}-{kind}-{end}" for one in directions for end in ("src", "dst")] if has_ports else []
    if protocol in ("icmp", "icmpv6") and table != "expect":
        names += [f"--{protocol}-type", f"--{protocol}-code"]
    if letter in "IA":
        if protocol in ("tcp", "sctp", "dccp") and table != "expect":
            names.append("--state")
        if protocol == "sctp":
            names += ["--orig-vtag", "--reply-vtag"]
        if protocol == "dccp":
            names.append("--role")
    return [word for name in names for word in (name, value(name, protocol))]


def value(name: str, protocol: str | None) -> str:
    """Something that an option takes."""
    addresses = ("-src", "-dst", "--src", "--dst")
    if name.endswith(addresses) and "-port-" not in name and "-key-" not in name:
        return "fd00::1" if protocol == "icmpv6" else "10.0.0.1"
    return {
        "--protonum": protocol or "99",
        "--status": "ASSURED",
        "--event-mask": "NEW",
        "--family": "ipv6" if protocol == "icmpv6" else "ipv4",
        "--output": "xml",
        "--label": "web",
        "--label-add": "web",
        "--state": "OPEN" if protocol == "dccp" else "ESTABLISHED",
        "--role": "client",
    }.get(name, "1")


VALUELESS = ("--zero", "--src-nat", "--dst-nat", "--any-nat", "--label-del")


class _Labels:
    def find(self, name: str, /) -> int:
        return 0 if name == "web" else -1


def complaint(words: list[str]) -> str:
    """What the parser has against a command line; nothing if nothing."""
    try:
        parse([word.encode() for word in words], lambda _: _Labels())
    except CommandLineError as error:
        return str(error)
    return ""


def is_legal(letter: str, table: str, protocol: str | None, name: str) -> bool:
    """Whether an option goes with a command on a table, behind -p with a protocol."""
    words = [f"-{letter}", table, *required(letter, table, protocol), name]
    if name not in VALUELESS:
        words.append(value(name, protocol))
    return not complaint(words).startswith(("Illegal option", "unknown option"))
