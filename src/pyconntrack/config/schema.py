# SPDX-License-Identifier: GPL-2.0-or-later
"""Every keyword of conntrackd.conf, once: where it stands, what it takes, what it fills, what replaced it.

Defaults are those of the dataclasses in `settings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .settings import (
    DEFAULT_FACILITY,
    DEFAULT_LOG_FILE,
    DEFAULT_OVERRUN_RESYNC,
    DEFAULT_STATS_LOG_FILE,
    Mode,
)
from .values import (
    FACILITY,
    INT32_MAX,
    MODE,
    POLICY,
    SCHEDULER_TYPE,
    UNIX_PATH,
    AbsolutePath,
    InterfaceName,
    IPAddress,
    IPNetwork,
    Keyword,
    MessagesOfBytes,
    Name,
    Number,
    Protocol,
    SwitchOr,
    Value,
    YesNo,
)


@dataclass(frozen=True)
class Clause:
    """A keyword and what follows it: values, and perhaps a section in braces."""

    name: str
    values: tuple[Value, ...] = ()
    section: Section | None = None
    field: str = ""
    """The setting that the value fills; empty where the builder does more than copying."""
    optional_values: bool = False
    """The values may be left out, all together."""
    section_instead: bool = False
    """The section stands in place of the value."""
    states: bool = False
    """TCP states follow, up to ``for TCP``."""
    repeats: bool = False
    """May stand several times; else the last one counts."""
    modern: str = ""
    """An old clause: what to write today, ``{value}`` standing for the value as it is understood."""
    obsolete: str = ""
    """An old clause for which nothing is written today: why."""
    spelled: tuple[str, ...] = ()
    """Other spellings of today's clause."""

    @property
    def old(self) -> bool:
        """Whether the clause is understood, but no longer to be written."""
        return bool(self.modern or self.obsolete)

    @property
    def key(self) -> str:
        """What two clauses share that set the same thing."""
        return self.field or self.name


@dataclass(frozen=True)
class Section:
    """What may stand between two braces: clauses, or a bare list of words."""

    name: str
    clauses: tuple[Clause, ...] = ()
    words: Value | None = None
    states: bool = False
    """A list of TCP states, each run of them closed by ``for TCP``."""
    by_name: Mapping[str, Clause] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = {name: clause for clause in self.clauses for name in (clause.name, *clause.spelled)}
        object.__setattr__(self, "by_name", names)


def _old(name: str, clause: Clause, modern: str = "") -> Clause:
    """An old name of a clause that takes the same values."""
    return Clause(name, clause.values, field=clause.key, modern=modern or f"{clause.name} {{value}}")


SECONDS = Number(0, INT32_MAX, "seconds")
SECONDS_OR_DEFAULT = Number(1, INT32_MAX, "seconds", zero_is_default=True)
BYTES = Number(1, INT32_MAX, "bytes")
OBJECTS_OR_DEFAULT = Number(1, INT32_MAX, "messages", zero_is_default=True)
PORT = Number(1, 65535)


_FILTER_ADDRESSES = Section(
    "Address",
    (
        Clause("IPv4_address", (IPNetwork(4),), repeats=True),
        Clause("IPv6_address", (IPNetwork(6),), repeats=True),
    ),
)
_FILTER = Section(
    "Filter",
    (
        Clause("Protocol", (POLICY,), Section("Protocol", words=Protocol()), repeats=True),
        Clause("Address", (POLICY,), _FILTER_ADDRESSES, repeats=True),
        Clause("State", (POLICY,), Section("State", states=True), repeats=True),
    ),
)
_BUFFER_SIZE = Clause("NetlinkBufferSize", (BYTES,), field="netlink_buffer_size")
_MAX_GROWTH = Clause("NetlinkBufferSizeMaxGrowth", (BYTES,), field="netlink_buffer_size_max_growth")
_EVENTS_RELIABLE = Clause("NetlinkEventsReliable", (YesNo(),), field="netlink_events_reliable")
_POLL_SECS = Clause("PollSecs", (Number(1, INT32_MAX, "seconds"),), field="poll_seconds")

GENERAL = Section(
    "General",
    (
        Clause("Systemd", (YesNo(),), field="systemd"),
        Clause(
            "Nice",
            (Number(-20, 19),),
            field="nice",
            modern="Scheduler { Type RR Priority 99 }",
        ),
        Clause("HashSize", (Number(1, INT32_MAX, zero_is_default=True),), field="hash_size"),
        Clause("HashLimit", (Number(1, INT32_MAX, "entries"),), field="hash_limit"),
        Clause("LogFile", (SwitchOr(AbsolutePath(), DEFAULT_LOG_FILE),), field="log_file"),
        Clause("Syslog", (SwitchOr(FACILITY, DEFAULT_FACILITY),), field="syslog"),
        Clause("LockFile", (AbsolutePath(),), field="lock_file", spelled=("Lockfile",)),
        _BUFFER_SIZE,
        _old("SocketBufferSize", _BUFFER_SIZE),
        _MAX_GROWTH,
        _old("SocketBufferSizeMaxGrowth", _MAX_GROWTH),
        _old("SocketBufferSizeMaxGrown", _MAX_GROWTH),
        Clause(
            "NetlinkOverrunResync",
            (SwitchOr(SECONDS_OR_DEFAULT, DEFAULT_OVERRUN_RESYNC),),
            field="netlink_overrun_resync",
        ),
        _EVENTS_RELIABLE,
        _POLL_SECS,
        Clause(
            "EventIterationLimit",
            (Number(1, INT32_MAX, "events", zero_is_default=True),),
            field="event_iteration_limit",
        ),
        Clause(
            "Family",
            (Keyword({"IPv4": 4, "IPv6": 6}, folded=True),),
            obsolete="flows of both families are followed; choose with Filter { Address … }",
        ),
        Clause(
            "UNIX",
            section=Section(
                "UNIX",
                (
                    Clause("Path", (UNIX_PATH,), field="unix_path"),
                    Clause(
                        "Backlog",
                        (Number(1, INT32_MAX, zero_is_default=True),),
                        field="unix_backlog",
                        obsolete="the queue is long enough without it",
                    ),
                ),
            ),
            repeats=True,
        ),
        Clause(
            "Scheduler",
            section=Section(
                "Scheduler",
                (
                    Clause("Type", (SCHEDULER_TYPE,), field="type"),
                    Clause("Priority", (Number(0, 99),), field="priority"),
                ),
            ),
            repeats=True,
        ),
        Clause(
            "Filter",
            (Keyword({"From": None}), Keyword({"Userspace": False, "Kernelspace": True})),
            _FILTER,
            optional_values=True,
            repeats=True,
        ),
    ),
)


_COMMIT_TIMEOUT = Clause("CommitTimeout", (SECONDS_OR_DEFAULT,), field="commit_timeout")
_PURGE_TIMEOUT = Clause("PurgeTimeout", (SECONDS_OR_DEFAULT,), field="purge_timeout")
_REFRESH_TIME = Clause("RefreshTime", (SECONDS_OR_DEFAULT,), field="refresh_time")
_CACHE_TIMEOUT = Clause("CacheTimeout", (SECONDS_OR_DEFAULT,), field="cache_timeout")
_EXTERNAL_CACHE = Clause("DisableExternalCache", (YesNo(),), field="disable_external_cache")
_STARTUP_RESYNC = Clause("StartupResync", (YesNo(),), field="startup_resync")

MODES: Mapping[Mode, Section] = {
    Mode.FTFW: Section(
        "Mode FTFW",
        (
            Clause("ResendQueueSize", (OBJECTS_OR_DEFAULT,), field="resend_queue_size"),
            Clause(
                "ResendBufferSize",
                (MessagesOfBytes(),),
                field="resend_queue_size",
                modern="ResendQueueSize {value}",
            ),
            Clause("ACKWindowSize", (OBJECTS_OR_DEFAULT,), field="ack_window_size"),
            _COMMIT_TIMEOUT,
            _PURGE_TIMEOUT,
            _EXTERNAL_CACHE,
            _STARTUP_RESYNC,
        ),
    ),
    Mode.NOTRACK: Section(
        "Mode NOTRACK",
        (
            Clause("DisableInternalCache", (YesNo(),), field="disable_internal_cache"),
            _EXTERNAL_CACHE,
            _COMMIT_TIMEOUT,
            _PURGE_TIMEOUT,
            _STARTUP_RESYNC,
        ),
    ),
    # The C daemon has no DisableExternalCache here; the clause is what CacheWriteThrough became.
    Mode.ALARM: Section(
        "Mode ALARM", (_REFRESH_TIME, _CACHE_TIMEOUT, _COMMIT_TIMEOUT, _PURGE_TIMEOUT, _EXTERNAL_CACHE)
    ),
}
"""The section of each mode; which one applies is known only when the mode's name is read."""

_SEND_BUFFER = Clause("SndSocketBuffer", (BYTES,), field="send_buffer")
_RECEIVE_BUFFER = Clause("RcvSocketBuffer", (BYTES,), field="receive_buffer")
_CHECKSUM = Clause("Checksum", (YesNo(),), field="checksum")
_INTERFACE = Clause("Interface", (InterfaceName(),), field="interface")

_MULTICAST = Section(
    "Multicast",
    (
        Clause("IPv4_address", (IPAddress(4),)),
        Clause("IPv6_address", (IPAddress(6),)),
        Clause("IPv4_interface", (IPAddress(4),), field="interface_address"),
        Clause("IPv6_interface", (IPAddress(6),), obsolete="Interface says enough"),
        Clause("Group", (PORT,), field="port"),
        _INTERFACE,
        _SEND_BUFFER,
        _RECEIVE_BUFFER,
        _old("McastSndSocketBuffer", _SEND_BUFFER),
        _old("McastRcvSocketBuffer", _RECEIVE_BUFFER),
        Clause(
            "Backlog",
            (Number(0, INT32_MAX),),
            obsolete="a multicast socket has no queue of connections",
        ),
        _CHECKSUM,
    ),
)


def _unicast(name: str, *more: Clause) -> Section:
    return Section(
        name,
        (
            Clause("IPv4_address", (IPAddress(4),)),
            Clause("IPv6_address", (IPAddress(6),)),
            Clause("IPv4_Destination_Address", (IPAddress(4),)),
            Clause("IPv6_Destination_Address", (IPAddress(6),), spelled=("IPv6_Destionation_Address",)),
            Clause("Port", (PORT,), field="port"),
            _INTERFACE,
            _SEND_BUFFER,
            _RECEIVE_BUFFER,
            _CHECKSUM,
            *more,
        ),
    )


_ERROR_QUEUE = Clause(
    "ErrorQueueLength",
    (OBJECTS_OR_DEFAULT,),
    field="error_queue_length",
    obsolete="what a connection that ends has lost is told again without it",
)


_DEFAULT = Keyword({"Default": True})

SYNC = Section(
    "Sync",
    (
        Clause("Mode", (MODE,), Section("Mode"), repeats=True),
        Clause("Multicast", (_DEFAULT,), _MULTICAST, optional_values=True, repeats=True),
        Clause("UDP", (_DEFAULT,), _unicast("UDP"), optional_values=True, repeats=True),
        Clause("TCP", (_DEFAULT,), _unicast("TCP", _ERROR_QUEUE), optional_values=True, repeats=True),
        Clause(
            "Options",
            section=Section(
                "Options",
                (
                    Clause("TCPWindowTracking", (YesNo(),), field="tcp_window_tracking"),
                    Clause(
                        "ExpectationSync",
                        (YesNo(),),
                        Section("ExpectationSync", words=Name()),
                        section_instead=True,
                    ),
                ),
            ),
            repeats=True,
        ),
        Clause("Checksum", (YesNo(),), modern="Checksum {value} (within Multicast, UDP or TCP)"),
        Clause(
            "Replicate",
            states=True,
            repeats=True,
            modern="Filter { State Accept { … for TCP } } (within General)",
        ),
        Clause(
            "CacheWriteThrough",
            (YesNo(),),
            field="disable_external_cache",
            modern="DisableExternalCache {value} (within Mode)",
        ),
        _old("RefreshTime", _REFRESH_TIME, "RefreshTime {value} (within Mode)"),
        _old("CacheTimeout", _CACHE_TIMEOUT, "CacheTimeout {value} (within Mode)"),
        _old("CommitTimeout", _COMMIT_TIMEOUT, "CommitTimeout {value} (within Mode)"),
        _old("PurgeTimeout", _PURGE_TIMEOUT, "PurgeTimeout {value} (within Mode)"),
        _old("McastSndSocketBuffer", _SEND_BUFFER, "SndSocketBuffer {value} (within Multicast)"),
        _old("McastRcvSocketBuffer", _RECEIVE_BUFFER, "RcvSocketBuffer {value} (within Multicast)"),
    ),
)


STATS = Section(
    "Stats",
    (
        Clause("LogFile", (SwitchOr(AbsolutePath(), DEFAULT_STATS_LOG_FILE),), field="log_file"),
        Clause("Syslog", (SwitchOr(FACILITY, DEFAULT_FACILITY),), field="syslog"),
        # The manual page has this one here, the C daemon takes it only in General.
        _EVENTS_RELIABLE,
        _old("PollSecs", _POLL_SECS, "PollSecs {value} (within General)"),
    ),
)

HELPERS: Mapping[str, tuple[str, ...]] = {
    name: (name,) for name in ("amanda", "dhcpv6", "ftp", "mdns", "rpc", "sane", "slp", "ssdp", "tftp", "tns")
}
"""The helpers of the C daemon, each with the names of its policies."""

_HELPER_TYPE = Section(
    "Type",
    (
        Clause("QueueNum", (Number(0, 65535),), field="queue_num"),
        Clause("QueueLen", (Number(1, INT32_MAX, "packets", zero_is_default=True),), field="queue_len"),
        Clause(
            "Policy",
            (Name(),),
            Section(
                "Policy",
                (
                    Clause("ExpectMax", (Number(0, INT32_MAX),), field="expect_max"),
                    Clause("ExpectTimeout", (SECONDS,), field="expect_timeout", spelled=("ExpecTimeout",)),
                ),
            ),
            repeats=True,
        ),
    ),
)
HELPER = Section(
    "Helper",
    (
        Clause(
            "Type",
            (
                Keyword({name: name for name in HELPERS}),
                Keyword({"inet": 4, "inet6": 6}),
                Keyword({"tcp": 6, "udp": 17}),
            ),
            _HELPER_TYPE,
            repeats=True,
        ),
        Clause("Setup", (YesNo(),), field="setup"),
    ),
)

FILE = Section(
    "",
    (
        Clause("General", section=GENERAL, repeats=True),
        Clause("Sync", section=SYNC, repeats=True),
        Clause("Stats", section=STATS, repeats=True),
        Clause("Helper", section=HELPER, repeats=True),
        Clause(
            "IgnoreTrafficFor",
            section=Section("IgnoreTrafficFor", _FILTER_ADDRESSES.clauses),
            repeats=True,
            modern="Filter { Address Ignore { … } } (within General)",
        ),
        Clause(
            "IgnoreProtocol",
            section=Section("IgnoreProtocol", words=Protocol()),
            repeats=True,
            modern="Filter { Protocol Ignore { … } } (within General)",
        ),
    ),
)

OUTERMOST = frozenset(FILE.by_name)


def _sections(section: Section) -> Iterator[Section]:
    yield section
    for clause in section.clauses:
        if clause.section is not None and not clause.old:
            yield from _sections(clause.section)


def _homes() -> dict[str, list[str]]:
    homes: dict[str, list[str]] = {}
    for section in (*_sections(FILE), *MODES.values()):
        for name, clause in section.by_name.items():
            if not clause.old:
                homes.setdefault(name, []).append(section.name)
    return homes


HOMES: Mapping[str, list[str]] = _homes()
"""The sections that each of today's clauses belongs to."""
