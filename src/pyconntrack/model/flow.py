# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow: one entry of the connection tracking table. None stands for what the kernel did not say."""

import sys
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple

from pyconntrack.core.batch import FlowBatch
from pyconntrack.model.names import (
    DccpRole,
    DccpState,
    Event,
    SctpState,
    Status,
    TcpFlag,
    TcpState,
    named,
)
from pyconntrack.model.tuple import IPAddress, Tuple, unpacked


class Counters(NamedTuple):
    """Of one direction, where net.netfilter.nf_conntrack_acct is on."""

    packets: int
    bytes: int


class TcpFlags(NamedTuple):
    """Flags of one direction; in a change, only those in the mask are set or unset.

    The kernel reports the mask as 0.
    """

    flags: TcpFlag
    mask: TcpFlag


class SequenceAdjust(NamedTuple):
    """What NAT helpers added to the TCP sequence numbers of one direction before and after a position."""

    position: int
    offset_before: int
    offset_after: int


class SynProxy(NamedTuple):
    """Initial sequence number, initial timestamp and timestamp offset of a SYN proxy."""

    isn: int
    its: int
    tsoff: int


class Helper(NamedTuple):
    """A helper's name, and the private data of a helper in user space."""

    name: str
    info: bytes | None = None


class Nat(NamedTuple):
    """What a source or destination becomes. Of ICMP, the port is the id."""

    address: IPAddress | None = None
    port: int | None = None


class TcpInfo(NamedTuple):
    state: TcpState | int | None = None
    flags_original: TcpFlags | None = None
    flags_reply: TcpFlags | None = None
    window_scale_original: int | None = None
    window_scale_reply: int | None = None


class SctpInfo(NamedTuple):
    state: SctpState | int | None = None
    vtag_original: int | None = None
    vtag_reply: int | None = None


class DccpInfo(NamedTuple):
    state: DccpState | int | None = None
    role: DccpRole | int | None = None
    handshake_sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow (linux/netfilter/nfnetlink_conntrack.h).

    Times are nanoseconds since the epoch, `timeout` is in seconds.

    The kernel does not report `source_nat` and `destination_nat`: it shows translation in the reply tuple.
    They are for creating a flow; see ConntrackTable.create.

    `origin` is the netlink port of the process that caused the event, None where the kernel did by itself.
    """

    original: Tuple | None = None
    reply: Tuple | None = None
    master: Tuple | None = None
    status: Status | None = None
    timeout: int | None = None
    mark: int | None = None
    mark_mask: int | None = None
    secmark: int | None = None
    security_context: str | None = None
    id: int | None = None
    use: int | None = None
    zone: int | None = None
    tcp: TcpInfo | None = None
    sctp: SctpInfo | None = None
    dccp: DccpInfo | None = None
    counters_original: Counters | None = None
    counters_reply: Counters | None = None
    timestamp_start: int | None = None
    timestamp_stop: int | None = None
    timestamp_event: int | None = None
    helper: Helper | None = None
    source_nat: Nat | None = None
    destination_nat: Nat | None = None
    sequence_adjust_original: SequenceAdjust | None = None
    sequence_adjust_reply: SequenceAdjust | None = None
    syn_proxy: SynProxy | None = None
    labels: bytes | None = None
    labels_mask: bytes | None = None
    event: Event = Event.NONE
    origin: int | None = None

    @property
    def label_bits(self) -> frozenset[int]:
        """The numbers of the labels that are set, 0 to 127."""
        bits = int.from_bytes(self.labels or b"", sys.byteorder)
        return frozenset(number for number in range(bits.bit_length()) if bits >> number & 1)

    @classmethod
    def from_batch(cls, batch: FlowBatch, index: int) -> "Flow":
        """The flow at `index` of a batch. Raises IndexError."""
        return flow_of(batch.unpack(index))

    def add_to(self, batch: FlowBatch) -> int:
        """Append to a batch; the index there.

        Raises OverflowError for a number out of range, ValueError, BufferError.
        """
        return batch.pack(values_of(self))


PLAIN = (
    "timeout",
    "mark",
    "mark_mask",
    "secmark",
    "security_context",
    "id",
    "use",
    "zone",
    "timestamp_start",
    "timestamp_stop",
    "timestamp_event",
    "labels",
    "labels_mask",
    "origin",
)
WRAPPED: dict[str, Any] = {
    "counters_original": Counters,
    "counters_reply": Counters,
    "sequence_adjust_original": SequenceAdjust,
    "sequence_adjust_reply": SequenceAdjust,
    "syn_proxy": SynProxy,
}
TUPLES = ("original", "reply", "master")
# Attributes of a record whose names begin with these belong to one value of a flow.
PROTOCOL_INFO: dict[str, Any] = {"tcp": TcpInfo, "sctp": SctpInfo, "dccp": DccpInfo}
INFO_ATTRIBUTES = {
    prefix: [(name, f"{prefix}_{name}") for name in kind._fields] for prefix, kind in PROTOCOL_INFO.items()
}
NAMED: dict[str, Any] = {
    "tcp_state": TcpState,
    "sctp_state": SctpState,
    "dccp_state": DccpState,
    "dccp_role": DccpRole,
}


def flow_of(values: dict[str, Any]) -> Flow:
    """A flow from the attributes of a record, as FlowBatch.unpack gives them."""
    fields: dict[str, Any] = {name: values[name] for name in PLAIN if name in values}
    for name in TUPLES:
        if name in values:
            fields[name] = Tuple.from_values(values[name], values.get(f"{name}_zone"))
    for name, kind in WRAPPED.items():
        if name in values:
            fields[name] = kind._make(values[name])
    for prefix, kind in PROTOCOL_INFO.items():
        inner = {
            name: in_words(attribute, values[attribute])
            for name, attribute in INFO_ATTRIBUTES[prefix]
            if attribute in values
        }
        if inner:
            fields[prefix] = kind(**inner)
    if "status" in values:
        fields["status"] = Status(values["status"])
    if "helper_name" in values or "helper_info" in values:
        fields["helper"] = Helper(values.get("helper_name", ""), values.get("helper_info"))
    for name in ("source_nat", "destination_nat"):
        address, port = values.get(f"{name}_address"), values.get(f"{name}_port")
        if address is not None or port is not None:
            fields[name] = Nat(None if address is None else unpacked(address), port)
    return Flow(event=Event(values["event"]), **fields)


def in_words(name: str, value: Any) -> Any:
    """A value of protocol info by its name, where it has one."""
    if name in NAMED:
        return named(NAMED[name], value)
    if name in ("tcp_flags_original", "tcp_flags_reply"):
        return TcpFlags(TcpFlag(value[0]), TcpFlag(value[1]))
    return value


def values_of(flow: Flow) -> dict[str, Any]:
    """The attributes of a record, as FlowBatch.pack takes them."""
    values: dict[str, Any] = {"event": int(flow.event)}
    for name in (*PLAIN, *WRAPPED, "status"):
        value = getattr(flow, name)
        if value is not None:
            values[name] = value
    for name in TUPLES:
        direction: Tuple | None = getattr(flow, name)
        if direction is not None:
            values[name] = direction.values()
            if direction.zone is not None and name != "master":
                values[f"{name}_zone"] = direction.zone
    for prefix, kind in PROTOCOL_INFO.items():
        info = getattr(flow, prefix) or kind()
        values |= {f"{prefix}_{name}": value for name, value in info._asdict().items() if value is not None}
    if flow.helper is not None:
        values["helper_name"] = flow.helper.name
        if flow.helper.info is not None:
            values["helper_info"] = flow.helper.info
    for name in ("source_nat", "destination_nat"):
        nat: Nat | None = getattr(flow, name)
        if nat is not None and nat.address is not None:
            values[f"{name}_address"] = ip_address(nat.address).packed
        if nat is not None and nat.port is not None:
            values[f"{name}_port"] = nat.port
    return values
