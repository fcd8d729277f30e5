# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of values that clauses take. Each reads one word or says what it expected instead."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .settings import (
    DEFAULT_RESEND_QUEUE_SIZE,
    UNIX_PATH_MAX,
    Address,
    Mode,
    Network,
    Policy,
    SchedulerType,
    TcpState,
)
from .syntax import Word

INT32_MAX = 2**31 - 1
MESSAGE_SIZE = 84
"""Bytes of a flow's message on the wire (IPv4, TCP)."""
INTERFACE_NAME_MAX = 15
"""IFNAMSIZ of linux/if.h, less the closing zero byte."""

PROTOCOLS: Mapping[str, int] = MappingProxyType(
    {
        "icmp": 1,
        "igmp": 2,
        "ipip": 4,
        "tcp": 6,
        "egp": 8,
        "udp": 17,
        "dccp": 33,
        "ipv6": 41,
        "rsvp": 46,
        "gre": 47,
        "esp": 50,
        "ah": 51,
        "ipv6-icmp": 58,
        "icmpv6": 58,
        "eigrp": 88,
        "ospf": 89,
        "pim": 103,
        "vrrp": 112,
        "l2tp": 115,
        "sctp": 132,
        "udplite": 136,
        "udp-lite": 136,
    }
)
"""Layer 4 protocols known without /etc/protocols, which a small system may lack."""

FACILITIES = ("daemon", *(f"local{number}" for number in range(8)))
"""Syslog facilities that the daemon may log as."""


DEFAULT = object()
"""What a clause gives that says "as if I were not here"."""


class InvalidValueError(Exception):
    """The word is not a value of the kind; the text says what was expected.

    ``hint`` is what the text adds to "expected …, found …", or None where it says more than that.
    """

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.hint = hint


def quote(word: Word) -> str:
    """The word in quotes: cut where it is so long that it would hide the message, and fit for a terminal."""
    text = word.text if len(word.text) <= 60 else word.text[:59] + "…"
    return '"' + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text) + '"'


def suggestion(text: str, known: Sequence[str]) -> str:
    """``; did you mean …?`` with the nearest known word, or nothing."""
    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(text[:64].lower(), by_lower, n=1, cutoff=0.6)
    return f'; did you mean "{by_lower[near[0]]}"?' if near else ""


class Value:
    """One kind of value. ``expected`` completes the sentence "expected …"."""

    expected = "a value"

    def read(self, word: Word) -> Any:
        """Return the value of a word.

        Raises:
            InvalidValueError: the word is no such value.
        """
        raise NotImplementedError

    def wrong(self, word: Word, hint: str = "") -> InvalidValueError:
        if word.text.endswith(";"):
            hint = '; nothing closes a clause, remove the ";"'
        return InvalidValueError(f"expected {self.expected}, found {quote(word)}{hint}", hint)


@dataclass(frozen=True)
class Keyword(Value):
    """One of a set of fixed words, spelled as they are or, if ``folded``, in any case."""

    choices: Mapping[str, Any]
    folded: bool = False
    old: Mapping[str, Any] = field(default_factory=dict)
    """Old words in lower case, which are taken but not proposed."""
    described: str = ""
    """What is expected, where the list of the words would be long."""

    @property
    def expected(self) -> str:  # type: ignore[override]
        if self.described:
            return self.described
        names = [f'"{name}"' for name in self.choices]
        return " or ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)

    def read(self, word: Word) -> Any:
        if word.text in self.choices:
            return self.choices[word.text]
        lower = word.text.lower()
        if lower in self.old and not word.quoted:
            return self.old[lower]
        match = next((name for name in self.choices if name.lower() == lower), None)
        if match is None or word.quoted:
            raise self.wrong(word, suggestion(word.text, list(self.choices)))
        if not self.folded:
            raise self.wrong(word, f'; did you mean "{match}"? Upper and lower case differ here')
        return self.choices[match]


@dataclass(frozen=True)
class YesNo(Value):
    expected = '"yes" or "no"'

    def read(self, word: Word) -> bool:
        lower = word.text.lower()
        if word.quoted or lower not in ("yes", "on", "no", "off"):
            raise self.wrong(word)
        return lower in ("yes", "on")


@dataclass(frozen=True)
class Number(Value):
    """A whole number. ``zero_is_default``: the C daemon takes 0 for "not set"; it is then read as DEFAULT."""

    low: int = 1
    high: int = INT32_MAX
    unit: str = ""
    zero_is_default: bool = False

    @property
    def expected(self) -> str:  # type: ignore[override]
        low = 0 if self.zero_is_default else self.low
        unit = f" of {self.unit}" if self.unit else ""
        return f"a number{unit} from {low} to {self.high}"

    def read(self, word: Word) -> Any:
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", word.text, re.ASCII):
            raise self.wrong(word)
        number = int(word.text)
        if number == 0 and self.zero_is_default:
            return DEFAULT
        if not self.low <= number <= self.high:
            raise self.wrong(word)
        return number


@dataclass(frozen=True)
class AbsolutePath(Value):
    expected = "an absolute path"
    limit: int = 4095

    def read(self, word: Word) -> Path:
        if not word.text.startswith("/"):
            raise self.wrong(word, "; begin it with a slash")
        if word.text.startswith("//") or word.text == "/" or any(ord(char) < 32 for char in word.text):
            raise self.wrong(word)
        length = len(word.text.encode())
        if length > self.limit:
            raise InvalidValueError(
                f"expected a path of at most {self.limit} bytes, found one of {length}; choose a shorter one"
            )
        return Path(word.text)


@dataclass(frozen=True)
class IPAddress(Value):
    """An IPv4 or IPv6 address. An IPv6 one may name its scope: ``fe80::1%eth2``."""

    version: int

    @property
    def expected(self) -> str:  # type: ignore[override]
        return f"an IPv{self.version} address"

    def read(self, word: Word) -> Address:
        return _address(self, word, word.text)


@dataclass(frozen=True)
class IPNetwork(Value):
    """An address or a network in CIDR notation; bits beyond the prefix are ignored."""

    version: int

    @property
    def expected(self) -> str:  # type: ignore[override]
        return f"an IPv{self.version} address or network"

    def read(self, word: Word) -> Network:
        text, slash, prefix = word.text.partition("/")
        address = _address(self, word, text)
        longest = address.max_prefixlen
        if "%" in text:
            raise self.wrong(word, "; an address in a filter has no scope")
        if slash and not (re.fullmatch("[0-9]{1,3}", prefix, re.ASCII) and int(prefix) <= longest):
            raise InvalidValueError(f"expected a prefix length from 0 to {longest}, found {quote(word)}")
        return ipaddress.ip_network((address, int(prefix) if slash else longest), strict=False)


def _address(value: IPAddress | IPNetwork, word: Word, text: str) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise value.wrong(word) from None
    if address.version != value.version:
        raise value.wrong(word, f"; use the clause for IPv{address.version}")
    return address


@dataclass(frozen=True)
class Protocol(Value):
    """A layer 4 protocol: a name of /etc/protocols in any case, or a number."""

    expected = "a protocol (a name of /etc/protocols or a number from 0 to 255)"

    def read(self, word: Word) -> int:
        if re.fullmatch("[0-9]{1,3}", word.text, re.ASCII) and int(word.text) <= 255:
            return int(word.text)
        known = PROTOCOLS.get(word.text.lower())
        if known is not None:
            return known
        for name in (word.text, word.text.lower(), word.text.upper()):
            try:
                return socket.getprotobyname(name)
            except (OSError, ValueError):
                continue
        raise self.wrong(word, suggestion(word.text, [name.upper() for name in PROTOCOLS]))


@dataclass(frozen=True)
class InterfaceName(Value):
    expected = f"the name of a network interface (at most {INTERFACE_NAME_MAX} bytes)"

    def read(self, word: Word) -> str:
        name = word.text
        fits = 1 <= len(name.encode()) <= INTERFACE_NAME_MAX
        if not fits or name in (".", "..") or re.search(r"[/:\s]", name):
            raise self.wrong(word)
        return name


@dataclass(frozen=True)
class Name(Value):
    """A free word: the name of a helper or of a policy."""

    expected = "a name"
    limit: int = 15

    def read(self, word: Word) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", word.text, re.ASCII):
            raise self.wrong(word)
        if len(word.text) > self.limit:
            raise InvalidValueError(f"expected a name of at most {self.limit} bytes, found {quote(word)}")
        return word.text


@dataclass(frozen=True)
class SwitchOr(Value):
    """yes or no, or else another kind of value. ``on`` and ``off`` are what yes and no stand for."""

    other: Value
    on: Any = True
    off: Any = None

    @property
    def expected(self) -> str:  # type: ignore[override]
        return f'"yes", "no" or {self.other.expected}'

    def read(self, word: Word) -> Any:
        try:
            return self.on if YesNo().read(word) else self.off
        except InvalidValueError:
            pass
        try:
            return self.other.read(word)
        except InvalidValueError as problem:
            if problem.hint is None:
                raise
            raise self.wrong(word, problem.hint) from None


@dataclass(frozen=True)
class MessagesOfBytes(Number):
    """A size in bytes, as files of 2007 give that of the resend buffer; read as a number of messages.

    That buffer held nothing but the messages of destroyed flows, today's queue holds all that are sent. The
    same number of bytes would make it too short to recover a burst, so it is never below today's default.
    """

    unit: str = "bytes"

    def read(self, word: Word) -> int:
        size: int = super().read(word)
        return max(size // MESSAGE_SIZE, DEFAULT_RESEND_QUEUE_SIZE)


MODE = Keyword(
    {mode.value: mode for mode in Mode},
    folded=True,
    old={"nack": Mode.FTFW, "persistent": Mode.ALARM},
)
POLICY = Keyword({"Accept": Policy.ACCEPT, "Ignore": Policy.IGNORE})
SCHEDULER_TYPE = Keyword({"RR": SchedulerType.RR, "FIFO": SchedulerType.FIFO}, folded=True)
FACILITY = Keyword(
    {name: name for name in FACILITIES},
    folded=True,
    described='a syslog facility ("daemon", "local0" to "local7")',
)
TCP_STATE = Keyword(
    {state.name: state for state in TcpState} | {"CLOSED": TcpState.CLOSE, "SYN_SENT2": TcpState.LISTEN},
    described=f"a TCP state ({', '.join(TcpState.__members__)})",
)
UNIX_PATH = AbsolutePath(limit=UNIX_PATH_MAX - 1)
