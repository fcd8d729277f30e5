# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparing kernel tables and caches flow by flow, attribute by attribute, a hundred thousand at a time."""

from __future__ import annotations

import re
import socket
from collections.abc import Collection
from ipaddress import ip_address
from typing import Any

import numpy as np

from pyconntrack import FlowBatch, Protocol
from pyconntrack.core.text import EXTERNAL_CACHE, INTERNAL_CACHE, format_records

Records = np.ndarray[Any, Any]
"""Flow records as `numpy.asarray` gives them of a batch."""

ATTRIBUTES = {
    "reply": ("reply",),
    "master": ("master",),
    "status": ("status",),
    "mark": ("mark",),
    "tcp_state": ("tcp_state",),
    "tcp_window_scale_original": ("tcp_window_scale_original",),
    "tcp_window_scale_reply": ("tcp_window_scale_reply",),
    "sctp_state": ("sctp_state",),
    "sctp_vtag_original": ("sctp_vtag_original",),
    "sctp_vtag_reply": ("sctp_vtag_reply",),
    "helper_name": ("helper_name",),
    "labels": ("labels",),
    "sequence_adjust_original": ("sequence_adjust_original",),
    "sequence_adjust_reply": ("sequence_adjust_reply",),
    "syn_proxy": ("syn_proxy_isn", "syn_proxy_its", "syn_proxy_tsoff"),
    "timeout": ("timeout",),
}
"""What is compared, by the name of its bit, with its fields.

Left out: id, use, counters and timestamps, which are each kernel's own; TCP flags, for a committed flow is
liberal about windows on purpose; the zone of one direction only, which the protocol cannot carry.
"""

TUPLES = ("reply", "master")

# The C daemon sends neither keys nor ports of these.
WITHOUT_PORTS = (int(Protocol.GRE), int(Protocol.UDPLITE))

_MARK_OF_ZERO = re.compile(rb" mark=0(?= |$)", re.M)
_OWN = re.compile(rb" use=\d+| ?\[(?:active since|expires in) \d+s\]")


def records_of(batch: FlowBatch, *, ports_lost: bool = False) -> Records:
    """A copy of a batch's records. `ports_lost`: as they are after a C daemon has sent them."""
    records = np.array(np.asarray(batch))
    if ports_lost:
        lost = np.isin(records["original"]["protocol"], WITHOUT_PORTS)
        for direction in ("original", "reply"):
            for port in ("source_port", "destination_port"):
                records[direction][port][lost] = 0
    return records


def differences(
    expected: Records,
    actual: Records,
    *,
    timeout_tolerance: int,
    timeout_excess: int = 1,
    ignoring: Collection[str] = (),
) -> list[str]:
    """What is not as expected, a line for each kind of difference with an example; none if all is.

    A timeout may be less than expected by the tolerance, in seconds, and more by the excess: by one, for the
    kernel rounds, and by more where it was told again, which is done with the timeout of the last change.
    """
    ours, theirs = _index(expected), _index(actual)
    found = []
    for name, missing in (
        ("missing", ours.keys() - theirs.keys()),
        ("too many", theirs.keys() - ours.keys()),
    ):
        if missing:
            example = (expected if name == "missing" else actual)[(ours | theirs)[min(missing)]]
            found.append(f"{len(missing)} flows {name}, for instance {_describe(example)}")
    common = sorted(ours.keys() & theirs.keys())
    first = expected[[ours[key] for key in common]]
    second = actual[[theirs[key] for key in common]]
    unequal = {
        name: _unequal(name, fields, first, second)
        for name, fields in ATTRIBUTES.items()
        if name not in ignoring
    }
    if "timeout" in unequal:
        late = first["timeout"].astype(np.int64) - second["timeout"]
        unequal["timeout"] = (late > timeout_tolerance) | (late < -timeout_excess)
    for name, where in unequal.items():
        if where.any():
            i = int(np.argmax(where))
            change = f"{_show(first[i], name)} became {_show(second[i], name)}"
            found.append(f"{int(where.sum())} flows differ in {name}: {change} in {_describe(first[i])}")
    return found


def _index(records: Records) -> dict[bytes, int]:
    """The place of each flow by its name, original tuple and zone."""
    names = np.empty(len(records), dtype=[("tuple", records.dtype["original"]), ("zone", "<u2")])
    names["tuple"], names["zone"] = records["original"], records["zone"]
    names["tuple"]["zone"] = 0
    packed, size = names.tobytes(), names.dtype.itemsize
    return {packed[start : start + size]: start // size for start in range(0, len(packed), size)}


def _unequal(name: str, fields: tuple[str, ...], first: Records, second: Records) -> Any:
    bit = np.uint64(FlowBatch.fields()[name])
    present = [(records["present"] >> bit & np.uint64(1)).astype(bool) for records in (first, second)]
    unequal = present[0] != present[1]
    for field in fields:
        unequal |= present[0] & _rows_differ(first[field], second[field])
    return unequal


def _rows_differ(first: Any, second: Any) -> Any:
    rows = [
        np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1) for values in (first, second)
    ]
    return (rows[0] != rows[1]).any(axis=1) if len(first) else np.zeros(0, dtype=bool)


def _show(record: Any, name: str) -> str:
    bit = FlowBatch.fields()[name]
    if not int(record["present"]) >> bit & 1:
        return "nothing"
    return ", ".join(
        _tuple(record[field]) if field in TUPLES else str(record[field]) for field in ATTRIBUTES[name]
    )


def _describe(record: Any) -> str:
    return f"{_tuple(record['original'])} zone {record['zone']}"


def _tuple(record: Any) -> str:
    size = 4 if record["family"] == socket.AF_INET else 16
    ends = [ip_address(record[name].tobytes()[:size]) for name in ("source", "destination")]
    ports = f"ports {record['source_port']} {record['destination_port']}"
    icmp = f"ICMP {record['icmp_type']} {record['icmp_id']}"
    return f"protocol {record['protocol']} {ends[0]} > {ends[1]} {ports} {icmp}"


def cache_lines(output: bytes) -> list[bytes]:
    """What `-i` or `-e` printed, in order, without what is not the flow's own.

    A mark of 0 is shown or not depending on how the entry came: an event leaves it out, a dump does not.
    """
    return sorted(_MARK_OF_ZERO.sub(b"", _OWN.sub(b"", output)).splitlines())


def external_lines(table: Records) -> list[bytes]:
    """How an external cache that holds these flows is shown."""
    return cache_lines(format_records(table, flags=EXTERNAL_CACHE))


def internal_lines(table: Records) -> list[bytes]:
    """How an internal cache that holds these flows is shown."""
    return cache_lines(format_records(table, flags=INTERNAL_CACHE))
