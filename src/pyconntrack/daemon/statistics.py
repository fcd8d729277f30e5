# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of `conntrackd -s`, in the C daemon's layout, from plain numbers.

The daemon fills in a `Statistics` when a client asks; nothing here counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType

SUBJECTS = ("", "network", "cache", "runtime", "link", "rsqueue", "process", "queue", "ct", "expect")
"""What may follow `-s`; the empty one is the general statistics, as ct is."""

OWN_SUBJECTS = ("nodes",)
"""And what the C daemon does not know."""


@dataclass(slots=True)
class CacheStatistics:
    """A cache, and what was done to it since the daemon started."""

    name: str
    """internal, external, or stats."""
    active: int = 0
    """Entries of flows that live."""
    total: int = 0
    """Entries in all, those that wait to be removed included."""
    created: int = 0
    updated: int = 0
    destroyed: int = 0
    no_memory: int = 0
    """Creations that failed for want of memory."""
    no_space: int = 0
    """Creations refused because the cache is full (HashLimit)."""
    update_not_found: int = 0
    destroy_not_found: int = 0

    @property
    def create_failed(self) -> int:
        return self.no_memory + self.no_space


@dataclass(slots=True)
class BypassStatistics:
    """In place of the internal cache where it is disabled: events that went straight to the peers."""

    created: int = 0
    updated: int = 0
    destroyed: int = 0


@dataclass(slots=True)
class InjectStatistics:
    """In place of the external cache where it is disabled: what the peers sent, straight into the kernel."""

    created: int = 0
    create_failed: int = 0
    updated: int = 0
    update_failed: int = 0
    destroyed: int = 0
    destroy_failed: int = 0


@dataclass(slots=True)
class LinkStatistics:
    """A dedicated link. Bytes and packets are of datagrams' payloads."""

    transport: str
    """UDP, multicast, or TCP."""
    device: str
    status: str = "RUNNING"
    """RUNNING; NO-CARRIER where the interface is up all the same; DOWN where it is not, or is not there."""
    active: bool = True
    """The link in use, of several redundant ones."""
    bytes_sent: int = 0
    bytes_received: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    send_errors: int = 0
    receive_errors: int = 0
    server_connected: bool = False
    """TCP: the peer is connected to us."""
    client_connected: bool = False
    """TCP: we are connected to the peer."""


@dataclass(slots=True)
class NetworkStatistics:
    """Messages from and to the peers that were not in order."""

    malformed: int = 0
    wrong_version: int = 0
    malformed_header: int = 0
    malformed_payload: int = 0
    bad_type: int = 0
    truncated: int = 0
    bad_size: int = 0
    send_malformed: int = 0
    lost: int = 0
    """Messages that are missing in the sequence."""
    before: int = 0
    """Messages with a sequence number that was seen already."""


@dataclass(slots=True)
class RuntimeStatistics:
    """The daemon and its netlink sockets."""

    uptime: int = 0
    """Seconds."""
    events_received: int = 0
    events_filtered: int = 0
    events_unknown: int = 0
    catch_failed: int = 0
    dump_unknown: int = 0
    overruns: int = 0
    flushes: int = 0
    resyncs: int = 0
    buffer_size: int = 0
    """Receive buffer of the event socket, bytes."""
    child_failed: int = 0
    child_segfault: int = 0
    child_signalled: int = 0
    select_failed: int = 0
    wait_failed: int = 0
    local_read_failed: int = 0
    """Requests at the control socket that did not arrive whole."""
    local_unknown_request: int = 0


@dataclass(slots=True)
class QueueStatistics:
    """A queue of messages: txqueue, errorq, rsqueue."""

    name: str
    current: int = 0
    maximum: int = 0
    no_space: int = 0


@dataclass(slots=True)
class NodeStatistics:
    """Another node, and what this one has of it."""

    name: str
    """Where it sends from."""
    node_id: int
    """By which nodes of ours know each other; 0 of a C node."""
    silent: bool
    unheard: int
    """Seconds since it was last heard of."""
    flows: int
    taken_over: int
    """Of these, flows that other nodes have claimed since."""
    received: int
    """Messages in order."""
    lost: int
    before: int


@dataclass(slots=True)
class QueuedMessage:
    """A message in the resend queue."""

    sequence: int
    control_flags: int | None = None
    """The header's flags of a control message; None for one about a flow."""


@dataclass(slots=True)
class Statistics:
    """All numbers. What a mode does not have is None or empty, and not shown."""

    runtime: RuntimeStatistics
    internal: CacheStatistics | BypassStatistics
    """The internal cache, or in statistics mode the only one."""
    external: CacheStatistics | InjectStatistics | None = None
    expect_internal: CacheStatistics | None = None
    expect_external: CacheStatistics | None = None
    traffic_bytes: int = 0
    """Of flows that ended, both directions together, where the kernel counts."""
    traffic_packets: int = 0
    network: NetworkStatistics | None = None
    links: list[LinkStatistics] = field(default_factory=list)
    nodes: list[NodeStatistics] = field(default_factory=list)
    queue_nodes: int = 0
    queues: list[QueueStatistics] = field(default_factory=list)
    resend_queue: list[QueuedMessage] | None = None
    """FTFW only."""


def format_statistics(statistics: Statistics, subject: str = "") -> str:
    """The text about one of SUBJECTS or OWN_SUBJECTS; empty where there is nothing to say.

    Raises KeyError for another.
    """
    return _FORMATS[subject](statistics)


def _general(statistics: Statistics) -> str:
    text = _summary(statistics.internal) + _summary(statistics.external)
    return text + _common(statistics)


def _expect(statistics: Statistics) -> str:
    if statistics.expect_internal is None:
        return ""
    return _summary(statistics.expect_internal) + _summary(statistics.expect_external) + _common(statistics)


def _common(statistics: Statistics) -> str:
    text = (
        "traffic processed:\n"
        f"{statistics.traffic_bytes:20} Bytes      {statistics.traffic_packets:20} Pckts\n\n"
    )
    if statistics.network is not None:
        lost, malformed = statistics.network.lost, statistics.network.malformed
        text += _active_link(statistics)
        text += f"message tracking:\n{malformed:20} Malformed msgs {lost:20} Lost msgs\n\n"
    return text


def _summary(part: CacheStatistics | BypassStatistics | InjectStatistics | None) -> str:
    match part:
        case None:
            return ""
        case CacheStatistics():
            return (
                f"cache {part.name}:\n"
                f"current active connections:\t{part.active:12}\n"
                f"connections created:\t\t{part.created:12}\tfailed:\t{part.create_failed:12}\n"
                f"connections updated:\t\t{part.updated:12}\tfailed:\t{part.update_not_found:12}\n"
                f"connections destroyed:\t\t{part.destroyed:12}\tfailed:\t{part.destroy_not_found:12}\n\n"
            )
        case BypassStatistics():
            return (
                "internal bypass:\n"
                f"connections new:\t\t{part.created:12}\n"
                f"connections updated:\t\t{part.updated:12}\n"
                f"connections destroyed:\t\t{part.destroyed:12}\n\n"
            )
        case InjectStatistics():
            return (
                "external inject:\n"
                f"connections created:\t\t{part.created:12}\tfailed:\t{part.create_failed:12}\n"
                f"connections updated:\t\t{part.updated:12}\tfailed:\t{part.update_failed:12}\n"
                f"connections destroyed:\t\t{part.destroyed:12}\tfailed:\t{part.destroy_failed:12}\n\n"
            )


def _caches(statistics: Statistics) -> str:
    return _cache_details(statistics.internal) + _cache_details(statistics.external)


def _cache_details(part: CacheStatistics | BypassStatistics | InjectStatistics | None) -> str:
    if not isinstance(part, CacheStatistics):
        return _summary(part)
    return (
        f"cache:{part.name}\tactive objects:\t\t{part.active:12}\n"
        f"\tactive/total entries:\t\t{part.active:12}/{part.total:12}\n"
        f"\tcreation OK/failed:\t\t{part.created:12}/{part.create_failed:12}\n"
        f"\t\tno memory available:\t{part.no_memory:12}\n"
        f"\t\tno space left in cache:\t{part.no_space:12}\n"
        f"\tupdate OK/failed:\t\t{part.updated:12}/{part.update_not_found:12}\n"
        f"\t\tentry not found:\t{part.update_not_found:12}\n"
        f"\tdeletion created/failed:\t{part.destroyed:12}/{part.destroy_not_found:12}\n"
        f"\t\tentry not found:\t{part.destroy_not_found:12}\n\n"
    )


def _network(statistics: Statistics) -> str:
    network = statistics.network
    if network is None:
        return ""
    return (
        "network statistics:\n"
        "\trecv:\n"
        f"\t\tMalformed messages:\t{network.malformed:20}\n"
        f"\t\tWrong protocol version:\t{network.wrong_version:20}\n"
        f"\t\tMalformed header:\t{network.malformed_header:20}\n"
        f"\t\tMalformed payload:\t{network.malformed_payload:20}\n"
        f"\t\tBad message type:\t{network.bad_type:20}\n"
        f"\t\tTruncated message:\t{network.truncated:20}\n"
        f"\t\tBad message size:\t{network.bad_size:20}\n"
        "\tsend:\n"
        f"\t\tMalformed messages:\t{network.send_malformed:20}\n\n"
        "sequence tracking statistics:\n"
        "\trecv:\n"
        f"\t\tPackets lost:\t\t{network.lost:20}\n"
        f"\t\tPackets before:\t\t{network.before:20}\n\n"
    ) + _active_link(statistics)


def _active_link(statistics: Statistics) -> str:
    link = next((link for link in statistics.links if link.active), None)
    if link is None:
        return ""
    head = f"{link.transport} traffic (active device={link.device})"
    if link.transport == "TCP":
        words = ("disconnected", "connected")
        head += f" server={words[link.server_connected]} client={words[link.client_connected]}"
    return f"{head}:\n{_link_numbers(link)}"


def _links(statistics: Statistics) -> str:
    return "".join(
        f"{link.transport} traffic device={link.device} status={link.status}"
        f" role={'ACTIVE' if link.active else 'BACKUP'}:\n{_link_numbers(link)}"
        for link in statistics.links
    )


def _link_numbers(link: LinkStatistics) -> str:
    return (
        f"{link.bytes_sent:20} Bytes sent {link.bytes_received:20} Bytes recv\n"
        f"{link.packets_sent:20} Pckts sent {link.packets_received:20} Pckts recv\n"
        f"{link.send_errors:20} Error send {link.receive_errors:20} Error recv\n\n"
    )


def _runtime(statistics: Statistics) -> str:
    runtime = statistics.runtime
    return (
        f"daemon uptime: {_duration(runtime.uptime)}\n\n"
        "netlink stats:\n"
        f"\tevents received:\t{runtime.events_received:20}\n"
        f"\tevents filtered:\t{runtime.events_filtered:20}\n"
        f"\tevents unknown type:\t\t{runtime.events_unknown:12}\n"
        f"\tcatch event failed:\t\t{runtime.catch_failed:12}\n"
        f"\tdump unknown type:\t\t{runtime.dump_unknown:12}\n"
        f"\tnetlink overrun:\t\t{runtime.overruns:12}\n"
        f"\tflush kernel table:\t\t{runtime.flushes:12}\n"
        f"\tresync with kernel table:\t{runtime.resyncs:12}\n"
        f"\tcurrent buffer size (in bytes):\t{runtime.buffer_size:12}\n\n"
        "runtime stats:\n"
        f"\tchild process failed:\t\t{runtime.child_failed:12}\n"
        f"\t\tchild process segfault:\t{runtime.child_segfault:12}\n"
        f"\t\tchild process termsig:\t{runtime.child_signalled:12}\n"
        f"\tselect failed:\t\t\t{runtime.select_failed:12}\n"
        f"\twait failed:\t\t\t{runtime.wait_failed:12}\n"
        f"\tlocal read failed:\t\t{runtime.local_read_failed:12}\n"
        f"\tlocal unknown request:\t\t{runtime.local_unknown_request:12}\n\n"
    )


def _duration(seconds: int) -> str:
    minutes = seconds // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    text = f"{days} day{'s' if days != 1 else ''} " if days else ""
    text += f"{hours} h " if hours else ""
    return f"{text}{minutes} min"


def _queues(statistics: Statistics) -> str:
    if not statistics.queues:
        return ""
    return f"allocated queue nodes:\t\t{statistics.queue_nodes:12}\n\n" + "".join(
        f"queue {queue.name}:\n"
        f"current elements:\t\t{queue.current:12}\n"
        f"maximum elements:\t\t{queue.maximum:12}\n"
        f"not enough space errors:\t{queue.no_space:12}\n\n"
        for queue in statistics.queues
    )


def _resend_queue(statistics: Statistics) -> str:
    if statistics.resend_queue is None:
        return ""
    lines = [f"resent queue (len={len(statistics.resend_queue)})\n"]
    for message in statistics.resend_queue:
        if message.control_flags is None:
            lines.append(f"object -> seq:{message.sequence}\n")
        else:
            lines.append(f"control -> seq:{message.sequence} flags:{message.control_flags}\n")
    return "".join(lines)


def _nodes(statistics: Statistics) -> str:
    """`-s nodes`, ours alone."""
    return "".join(
        f"node {node.name} {f'id={node.node_id:08x} ' if node.node_id else ''}"
        f"status={'SILENT' if node.silent else 'HEARD'} ({node.unheard}s ago):\n"
        f"{node.flows:20} Flows      {node.taken_over:20} Taken over\n"
        f"{node.received:20} Msgs recv  {node.lost:20} Msgs lost  {node.before:20} Msgs before\n\n"
        for node in statistics.nodes
    )


def _nothing(statistics: Statistics) -> str:
    """`-s process`: there are no child processes to list."""
    return ""


_FORMATS: MappingProxyType[str, Callable[[Statistics], str]] = MappingProxyType(
    {
        "": _general,
        "network": _network,
        "cache": _caches,
        "runtime": _runtime,
        "link": _links,
        "rsqueue": _resend_queue,
        "process": _nothing,
        "queue": _queues,
        "ct": _general,
        "expect": _expect,
        "nodes": _nodes,
    }
)
