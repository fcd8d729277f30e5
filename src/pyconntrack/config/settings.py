# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's settings, as `conntrackd.conf(5)` gives them: frozen dataclasses with the C daemon's defaults.

The reader fills in only what the file says, so the defaults stand here and nowhere else.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNIX_PATH_MAX = 108
"""Size of ``sun_path`` in ``struct sockaddr_un``, the closing zero byte included (linux/un.h)."""

MAX_LINKS = 4
"""Number of redundant dedicated links that a node may have."""

DEFAULT_LOG_FILE = Path("/var/log/conntrackd.log")
DEFAULT_STATS_LOG_FILE = Path("/var/log/conntrackd-stats.log")
DEFAULT_FACILITY = "daemon"
DEFAULT_OVERRUN_RESYNC = 1
DEFAULT_RESEND_QUEUE_SIZE = 131072


class Mode(enum.Enum):
    """The replication protocol among the nodes."""

    FTFW = "FTFW"
    NOTRACK = "NOTRACK"
    ALARM = "ALARM"


class Transport(enum.Enum):
    """How the messages travel on the dedicated link. All links of a node use the same one."""

    MULTICAST = "Multicast"
    UDP = "UDP"
    TCP = "TCP"


class Policy(enum.Enum):
    """Whether a filter lets through what is on its list, or what is not."""

    ACCEPT = "Accept"
    IGNORE = "Ignore"


class SchedulerType(enum.Enum):
    """Real-time scheduling policy, see sched(7)."""

    RR = "RR"
    FIFO = "FIFO"


class TcpState(enum.IntEnum):
    """TCP states as the kernel counts them, ``TCP_CONNTRACK_*`` of nf_conntrack_tcp.h."""

    SYN_SENT = 1
    SYN_RECV = 2
    ESTABLISHED = 3
    FIN_WAIT = 4
    CLOSE_WAIT = 5
    LAST_ACK = 6
    TIME_WAIT = 7
    CLOSE = 8
    LISTEN = 9


@dataclass(frozen=True, slots=True)
class ProtocolFilter:
    """``Protocol Accept|Ignore { … }``: layer 4 protocols by number."""

    policy: Policy
    numbers: frozenset[int]


@dataclass(frozen=True, slots=True)
class AddressFilter:
    """``Address Accept|Ignore { … }``: networks; a single address is a network of one (/32 or /128)."""

    policy: Policy
    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class StateFilter:
    """``State Accept|Ignore { … for TCP }``: TCP states. Concerns TCP flows only."""

    policy: Policy
    tcp_states: frozenset[TcpState]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which flows are of interest. A part that is None lets everything through."""

    kernelspace: bool = False
    """Filter in the kernel (a socket filter) and not in the daemon."""
    protocol: ProtocolFilter | None = None
    address: AddressFilter | None = None
    state: StateFilter | None = None


@dataclass(frozen=True, slots=True)
class Scheduler:
    """``Scheduler { … }``, see sched_setscheduler(2)."""

    type: SchedulerType = SchedulerType.RR
    priority: int = 99
    """0 to 99."""


@dataclass(frozen=True, slots=True)
class General:
    """``General { … }``."""

    hash_size: int = 8192
    """Number of buckets of a cache to begin with; a hint."""
    hash_limit: int | None = None
    """Largest number of entries in a cache; None where the file does not say (no limit)."""
    lock_file: Path = Path("/var/lock/conntrack.lock")
    log_file: Path | None = None
    """File that the daemon logs to; None for no file."""
    syslog: str | None = None
    """Syslog facility (``daemon``, ``local0`` … ``local7``); None for no syslog."""
    netlink_buffer_size: int | None = None
    """Receive buffer of the event socket, bytes; None for the system's default (net.core.rmem_default)."""
    netlink_buffer_size_max_growth: int | None = None
    """Size up to which the event socket's buffer may be doubled, bytes; None where it is not to grow."""
    netlink_overrun_resync: int | None = DEFAULT_OVERRUN_RESYNC
    """Seconds from a netlink overrun to the resynchronization with the kernel; None for none."""
    netlink_events_reliable: bool = False
    """Reliable event delivery (NETLINK_BROADCAST_ERROR)."""
    poll_seconds: int | None = None
    """Seconds between two dumps of the kernel's table in polling mode; None to follow events."""
    event_iteration_limit: int = 1000
    """Number of kernel events that are handled before the other sources get their turn."""
    unix_path: Path = Path("/var/run/conntrackd.ctl")
    """Control socket, at most 107 bytes."""
    unix_backlog: int = 100
    """Length of the control socket's accept queue."""
    scheduler: Scheduler | None = None
    """Real-time scheduling; None where the file does not say (the C daemon then takes RR)."""
    nice: int | None = None
    """Nice value, −20 to 19, of the deprecated clause (the C daemon ignores it); None where it is absent."""
    systemd: bool = True
    """Report readiness and keep the watchdog where systemd asks for it (sd_notify(3))."""
    filter: Filter = Filter()


@dataclass(frozen=True, slots=True)
class Source:
    """Where in a configuration file something was said."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Link:
    """A dedicated link: ``Multicast``, ``UDP`` or ``TCP``."""

    transport: Transport
    address: Address
    """Multicast: the group that messages are sent to. UDP, TCP: this node's own (0.0.0.0 or :: for any)."""
    port: int
    """``Group`` or ``Port``, 1 to 65535."""
    interface: str
    """Name of the network interface, which is also the scope of link-local addresses."""
    peer: Address | None = None
    """UDP, TCP: the other node's address, of the same family. None for multicast."""
    interface_address: IPv4Address | None = None
    """IPv4 multicast: the address of the interface that sends and joins the group, if given."""
    send_buffer: int | None = None
    """Socket's send buffer, bytes; None for the system's default (net.core.wmem_default)."""
    receive_buffer: int | None = None
    """Socket's receive buffer, bytes; None for 4 MiB, as far as we may (TCP: what the kernel sees fit)."""
    error_queue_length: int = 128
    """TCP: number of messages that the C daemon keeps for the next connection; here it is only shown."""
    checksum: bool = True
    """UDP checksums on the messages sent (off sets SO_NO_CHECK)."""
    default: bool = False
    """The link to begin with. Exactly one link of a node has this: the first where the file does not say."""
    source: Source | None = field(default=None, compare=False, repr=False)
    """Where the interface (or the link) is named in the file."""

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.address.version


@dataclass(frozen=True, slots=True)
class Sync:
    """``Sync { … }``: replication with other nodes."""

    mode: Mode
    links: tuple[Link, ...]
    """One to four links, in the order of the file."""
    resend_queue_size: int = DEFAULT_RESEND_QUEUE_SIZE
    """FTFW: number of messages kept until they are acknowledged."""
    ack_window_size: int = 300
    """FTFW: number of messages that one acknowledgement covers."""
    commit_timeout: int | None = None
    """Timeout, in seconds, of the entries that a commit puts into the kernel; None to compute it per flow."""
    purge_timeout: int = 60
    """Seconds from ``conntrackd -t`` to the flush of the kernel's table."""
    refresh_time: int = 60
    """ALARM: seconds within which each entry is sent again."""
    cache_timeout: int = 180
    """ALARM: seconds after which an entry of the external cache that was not heard of is dropped."""
    disable_internal_cache: bool = False
    disable_external_cache: bool = False
    """Put what the peers say into the kernel at once."""
    startup_resync: bool = False
    """Ask the other node for its table at start."""
    tcp_window_tracking: bool = False
    expectation_sync: bool | frozenset[str] = False
    """Replicate expectations: of no helper, of all, or of the helpers named."""


@dataclass(frozen=True, slots=True)
class Stats:
    """``Stats { … }``: collect statistics and log the flows that end."""

    log_file: Path | None = None
    syslog: str | None = None
    """Syslog facility; None for no syslog."""


@dataclass(frozen=True, slots=True)
class HelperPolicy:
    """``Policy NAME { … }``: limits on the expectations of a helper."""

    name: str
    expect_max: int = 0
    """Largest number of expectations of one flow at a time; 0 for no limit."""
    expect_timeout: int = 0
    """Seconds for which an expectation lives; 0 for the kernel's default."""


@dataclass(frozen=True, slots=True)
class HelperType:
    """``Type NAME inet|inet6 tcp|udp { … }``: one connection tracking helper in user space."""

    name: str
    family: int
    """4 or 6."""
    protocol: int
    """Layer 4 protocol: 6 (TCP) or 17 (UDP)."""
    queue_num: int = 0
    """Number of the NFQUEUE that the kernel sends this helper's packets to."""
    queue_len: int = 1024
    """Number of packets that may wait in the queue."""
    policies: tuple[HelperPolicy, ...] = ()


@dataclass(frozen=True, slots=True)
class Helper:
    """``Helper { … }``: connection tracking helpers in user space."""

    types: tuple[HelperType, ...] = ()
    setup: bool = True
    """Register the helpers with the kernel at start."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration. Never both ``sync`` and ``stats``."""

    general: General = General()
    sync: Sync | None = None
    stats: Stats | None = None
    helper: Helper | None = None
