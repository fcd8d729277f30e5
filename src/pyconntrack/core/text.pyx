# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""Flow records as text, byte for byte as libnetfilter_conntrack 1.0.9 writes them for conntrack-tools 1.4.7.

Its oddities are kept, since scripts read this: XML names the states of SCTP and DCCP by TCP's table, has no ICMP fields, an
empty reply direction where none is known, and counters of the reply direction if and only if the original one has some.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from libc.time cimport ctime_r, time_t

from pyconntrack.core.record cimport *
from pyconntrack.core.text_writer cimport *

cdef enum:
    IPS_SEEN_REPLY = 0x0002
    IPS_ASSURED = 0x0004
    IPS_OFFLOAD = 0x4000
    IPS_HW_OFFLOAD = 0x8000

    IPPROTO_ICMP = 1
    IPPROTO_TCP = 6
    IPPROTO_UDP = 17
    IPPROTO_DCCP = 33
    IPPROTO_GRE = 47
    IPPROTO_ICMPV6 = 58
    IPPROTO_SCTP = 132
    IPPROTO_UDPLITE = 136

    STATES = 10

cdef const char **tcp_states = [
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
]
cdef const char **sctp_states = [
    "NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT",
    "HEARTBEAT_SENT", "HEARTBEAT_ACKED",
]
cdef const char **dccp_states = [
    "NONE", "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT", "IGNORE", "INVALID",
]


cdef inline const char *protocol_name(uint8_t protocol) noexcept nogil:
    if protocol == IPPROTO_TCP: return b"tcp"
    if protocol == IPPROTO_UDP: return b"udp"
    if protocol == IPPROTO_ICMP: return b"icmp"
    if protocol == IPPROTO_ICMPV6: return b"icmpv6"
    if protocol == IPPROTO_SCTP: return b"sctp"
    if protocol == IPPROTO_DCCP: return b"dccp"
    if protocol == IPPROTO_GRE: return b"gre"
    if protocol == IPPROTO_UDPLITE: return b"udplite"
    return b"unknown"


cdef inline const char *family_name(uint8_t family) noexcept nogil:
    if family == FAMILY_IPV4: return b"ipv4"
    if family == FAMILY_IPV6: return b"ipv6"
    return b"unknown"


cdef inline const char *state_name(const char **names, uint8_t state) noexcept nogil:
    return names[state] if state < STATES else names[0]


cdef inline char *write_field(char *out, const char *name, uint64_t value) noexcept nogil:
    return write_number(write_text(out, name), value)


cdef inline uint64_t age_of(const flow_t *flow, int64_t now) noexcept nogil:
    """For how long the flow has lived, in seconds between the whole seconds of both ends."""
    cdef int64_t start = <int64_t>(flow.timestamp_start // 1000000000)
    if has(flow, BIT_TIMESTAMP_STOP):
        now = <int64_t>(flow.timestamp_stop // 1000000000)
    return <uint64_t>(now - start) if now > start else 0


cdef inline uint64_t exact_age_of(const flow_t *flow, int64_t now) noexcept nogil:
    """The same in whole seconds of the time between, as XML has it of flows that ended."""
    if not has(flow, BIT_TIMESTAMP_STOP):
        return age_of(flow, now)
    if flow.timestamp_stop < flow.timestamp_start:
        return 0
    return (flow.timestamp_stop - flow.timestamp_start) // 1000000000


cdef char *plain_tuple(char *out, const tuple_t *tuple_) noexcept nogil:
    out = write_address(write_text(out, b"src="), tuple_.family, tuple_.source)
    out = write_address(write_text(out, b" dst="), tuple_.family, tuple_.destination)
    if protocol_is_icmp(tuple_.protocol):
        out = write_field(out, b" type=", tuple_.icmp_type)
        out = write_field(out, b" code=", tuple_.icmp_code)
        out = write_field(out, b" id=", tuple_.icmp_id)
    elif tuple_.protocol == IPPROTO_GRE:
        out = write_hex(write_text(out, b" srckey=0x"), tuple_.source_port)
        out = write_hex(write_text(out, b" dstkey=0x"), tuple_.destination_port)
    elif protocol_has_ports(tuple_.protocol):
        out = write_field(out, b" sport=", tuple_.source_port)
        out = write_field(out, b" dport=", tuple_.destination_port)
    return write_text(out, b" ")


cdef char *plain_counters(char *out, uint64_t packets, uint64_t octets) noexcept nogil:
    out = write_field(out, b"packets=", packets)
    out = write_field(out, b" bytes=", octets)
    return write_text(out, b" ")


cdef char *plain_state(char *out, const flow_t *flow) noexcept nogil:
    if has(flow, BIT_TCP_STATE):
        out = write_text(out, state_name(tcp_states, flow.tcp_state))
    elif has(flow, BIT_SCTP_STATE):
        out = write_text(out, state_name(sctp_states, flow.sctp_state))
    elif has(flow, BIT_DCCP_STATE):
        out = write_text(out, state_name(dccp_states, flow.dccp_state))
    else:
        return out
    return write_text(out, b" ")


cdef char *plain_head(char *out, const flow_t *flow, int flags) noexcept nogil:
    if flags & TEXT_EVENT:
        if flow.event == EVENT_NEW:
            out = write_text(out, b"    [NEW] ")
        elif flow.event == EVENT_UPDATE:
            out = write_text(out, b" [UPDATE] ")
        elif flow.event == EVENT_DESTROY:
            out = write_text(out, b"[DESTROY] ")
    if flags & TEXT_LAYER3:
        out = write_padded(out, family_name(flow.original.family))
        out = write_text(write_number(out, flow.original.family), b" ")
    out = write_padded(out, protocol_name(flow.original.protocol))
    out = write_text(write_number(out, flow.original.protocol), b" ")
    if has(flow, BIT_TIMEOUT) and not flags & TEXT_NO_TIMEOUT:
        out = write_text(write_number(out, flow.timeout), b" ")
    return plain_state(out, flow)


cdef char *plain_directions(char *out, const flow_t *flow, int flags) noexcept nogil:
    out = plain_tuple(out, &flow.original)
    if has(flow, BIT_ORIGINAL_ZONE):
        out = write_text(write_field(out, b"zone-orig=", flow.original.zone), b" ")
    if has(flow, BIT_COUNTERS_ORIGINAL):
        out = plain_counters(out, flow.packets_original, flow.bytes_original)
    if has(flow, BIT_STATUS) and not flow.status & IPS_SEEN_REPLY:
        out = write_text(out, b"[UNREPLIED] ")
    if has(flow, BIT_REPLY) and not flags & TEXT_NO_REPLY:
        out = plain_tuple(out, &flow.reply)
        if has(flow, BIT_REPLY_ZONE):
            out = write_text(write_field(out, b"zone-reply=", flow.reply.zone), b" ")
    if has(flow, BIT_COUNTERS_REPLY):
        out = plain_counters(out, flow.packets_reply, flow.bytes_reply)
    if has(flow, BIT_STATUS):
        if flow.status & IPS_HW_OFFLOAD:
            out = write_text(out, b"[HW_OFFLOAD] ")
        elif flow.status & IPS_OFFLOAD:
            out = write_text(out, b"[OFFLOAD] ")
        elif flow.status & IPS_ASSURED:
            out = write_text(out, b"[ASSURED] ")
    return out


cdef char *plain_time(char *out, const char *name, uint64_t nanoseconds) noexcept nogil:
    cdef time_t seconds = <time_t>(nanoseconds // 1000000000)
    cdef char[64] text
    out = write_text(out, name)
    if ctime_r(&seconds, text) != NULL:
        memcpy(out, text, 24)      # without the newline
        out += 24
    return write_text(out, b"] ")


cdef char *plain_rest(char *out, const flow_t *flow, int flags, int64_t now) noexcept nogil:
    if has(flow, BIT_MARK):
        out = write_text(write_field(out, b"mark=", flow.mark), b" ")
    if has(flow, BIT_SECMARK):
        out = write_text(write_field(out, b"secmark=", flow.secmark), b" ")
    if has(flow, BIT_SECURITY_CONTEXT):
        out = write_name(write_text(out, b"secctx="), flow.security_context, SECURITY_CONTEXT_SIZE, False)
        out = write_text(out, b" ")
    if has(flow, BIT_ZONE):
        out = write_text(write_field(out, b"zone=", flow.zone), b" ")
    if has(flow, BIT_TIMESTAMP_START):
        out = write_text(write_field(out, b"delta-time=", age_of(flow, now)), b" ")
    if has(flow, BIT_TIMESTAMP_START) and flags & TEXT_TIMESTAMPS:
        out = plain_time(out, b"[start=", flow.timestamp_start)
    if has(flow, BIT_TIMESTAMP_STOP) and flags & TEXT_TIMESTAMPS:
        out = plain_time(out, b"[stop=", flow.timestamp_stop)
    if has(flow, BIT_HELPER_NAME):
        out = write_name(write_text(out, b"helper="), flow.helper_name, HELPER_NAME_SIZE, False)
        out = write_text(out, b" ")
    if has(flow, BIT_USE):
        out = write_text(write_field(out, b"use=", flow.use), b" ")
    if has(flow, BIT_ID) and flags & TEXT_ID:
        out = write_text(write_field(out, b"id=", flow.id), b" ")
    return out


cdef char *write_plain(char *out, const flow_t *flow, int flags, int64_t now, int64_t age) noexcept nogil:
    out = plain_head(out, flow, flags)
    out = plain_directions(out, flow, flags)
    out = plain_rest(out, flow, flags, now)
    if age >= 0:
        return write_text(write_field(out, b"[active since ", <uint64_t>age), b"s]")
    return out - 1                 # every field ends with a space


cdef inline char *element(char *out, const char *start, uint64_t value, const char *end) noexcept nogil:
    return write_text(write_number(write_text(out, start), value), end)


cdef char *xml_layer4(char *out, const tuple_t *tuple_) noexcept nogil:
    out = element(out, b'<layer4 protonum="', tuple_.protocol, b'" protoname="')
    out = write_text(write_text(out, protocol_name(tuple_.protocol)), b'">')
    if tuple_.protocol == IPPROTO_GRE:
        out = write_hex(write_text(out, b"<srckey>0x"), tuple_.source_port)
        out = write_hex(write_text(out, b"</srckey><dstkey>0x"), tuple_.destination_port)
        out = write_text(out, b"</dstkey>")
    elif protocol_has_ports(tuple_.protocol):
        out = element(out, b"<sport>", tuple_.source_port, b"</sport>")
        out = element(out, b"<dport>", tuple_.destination_port, b"</dport>")
    return write_text(out, b"</layer4>")


cdef char *xml_tuple(char *out, const tuple_t *tuple_) noexcept nogil:
    out = element(out, b'<layer3 protonum="', tuple_.family, b'" protoname="')
    out = write_text(write_text(out, family_name(tuple_.family)), b'"><src>')
    out = write_address(out, tuple_.family, tuple_.source)
    out = write_address(write_text(out, b"</src><dst>"), tuple_.family, tuple_.destination)
    return xml_layer4(write_text(out, b"</dst></layer3>"), tuple_)


cdef char *xml_counters(char *out, uint64_t packets, uint64_t octets) noexcept nogil:
    out = element(out, b"<counters><packets>", packets, b"</packets><bytes>")
    return write_text(write_number(out, octets), b"</bytes></counters>")


cdef char *xml_directions(char *out, const flow_t *flow, int flags) noexcept nogil:
    out = xml_tuple(write_text(out, b'<meta direction="original">'), &flow.original)
    if has(flow, BIT_ORIGINAL_ZONE):
        out = element(out, b"<zone>", flow.original.zone, b"</zone>")
    if has(flow, BIT_COUNTERS_ORIGINAL):
        out = xml_counters(out, flow.packets_original, flow.bytes_original)
    out = write_text(out, b'</meta><meta direction="reply">')
    if has(flow, BIT_REPLY) and not flags & TEXT_NO_REPLY:
        out = xml_tuple(out, &flow.reply)
        if has(flow, BIT_REPLY_ZONE):
            out = element(out, b"<zone>", flow.reply.zone, b"</zone>")
    else:
        out = write_text(out, b'<layer3 protonum="0" protoname="unknown"><src></src><dst></dst></layer3>')
        out = write_text(out, b'<layer4 protonum="0" protoname="unknown"></layer4>')
    if has(flow, BIT_COUNTERS_ORIGINAL):
        out = xml_counters(out, flow.packets_reply, flow.bytes_reply)
    return write_text(out, b"</meta>")


cdef bint has_independent(const flow_t *flow, int flags) noexcept nogil:
    cdef uint64_t shown = ((<uint64_t>1 << BIT_TCP_STATE) | (<uint64_t>1 << BIT_SCTP_STATE) | (<uint64_t>1 << BIT_DCCP_STATE)
                           | (<uint64_t>1 << BIT_MARK) | (<uint64_t>1 << BIT_SECMARK) | (<uint64_t>1 << BIT_ZONE)
                           | (<uint64_t>1 << BIT_USE) | (<uint64_t>1 << BIT_ID) | (<uint64_t>1 << BIT_STATUS)
                           | (<uint64_t>1 << BIT_TIMESTAMP_START) | (<uint64_t>1 << BIT_TIMESTAMP_STOP)
                           | (<uint64_t>1 << BIT_LABELS))
    if not flags & TEXT_NO_TIMEOUT:
        shown |= <uint64_t>1 << BIT_TIMEOUT
    return flow.present & shown != 0


cdef char *xml_state(char *out, const flow_t *flow) noexcept nogil:
    cdef uint8_t state
    if has(flow, BIT_TCP_STATE):
        state = flow.tcp_state
    elif has(flow, BIT_SCTP_STATE):
        state = flow.sctp_state
    elif has(flow, BIT_DCCP_STATE):
        state = flow.dccp_state
    else:
        return out
    return write_text(write_text(write_text(out, b"<state>"), state_name(tcp_states, state)), b"</state>")


cdef char *xml_status_and_times(char *out, const flow_t *flow, int flags, int64_t now) noexcept nogil:
    if has(flow, BIT_STATUS):
        if flow.status & IPS_ASSURED:
            out = write_text(out, b"<assured/>")
        if not flow.status & IPS_SEEN_REPLY:
            out = write_text(out, b"<unreplied/>")
    if flags & TEXT_TIMESTAMPS and (has(flow, BIT_TIMESTAMP_START) or has(flow, BIT_TIMESTAMP_STOP)):
        out = write_text(out, b"<timestamp>")
        if has(flow, BIT_TIMESTAMP_START):
            out = element(out, b"<start>", flow.timestamp_start, b"</start>")
        if has(flow, BIT_TIMESTAMP_STOP):
            out = element(out, b"<stop>", flow.timestamp_stop, b"</stop>")
        out = write_text(out, b"</timestamp>")
    if has(flow, BIT_TIMESTAMP_START):
        out = element(out, b"<deltatime>", exact_age_of(flow, now), b"</deltatime>")
    return out


cdef char *xml_independent(char *out, const flow_t *flow, int flags, int64_t now) noexcept nogil:
    if has_independent(flow, flags):
        out = write_text(out, b'<meta direction="independent">')
    out = xml_state(out, flow)
    if has(flow, BIT_TIMEOUT) and not flags & TEXT_NO_TIMEOUT:
        out = element(out, b"<timeout>", flow.timeout, b"</timeout>")
    if has(flow, BIT_MARK):
        out = element(out, b"<mark>", flow.mark, b"</mark>")
    if has(flow, BIT_SECMARK):
        out = element(out, b"<secmark>", flow.secmark, b"</secmark>")
    if has(flow, BIT_SECURITY_CONTEXT):
        out = write_name(write_text(out, b"<secctx>"), flow.security_context, SECURITY_CONTEXT_SIZE, True)
        out = write_text(out, b"</secctx>")
    if has(flow, BIT_ZONE):
        out = element(out, b"<zone>", flow.zone, b"</zone>")
    if has(flow, BIT_USE):
        out = element(out, b"<use>", flow.use, b"</use>")
    if has(flow, BIT_ID):
        out = element(out, b"<id>", flow.id, b"</id>")
    out = xml_status_and_times(out, flow, flags, now)
    if has_independent(flow, flags):
        out = write_text(out, b"</meta>")
    return out


cdef char *write_xml(char *out, const flow_t *flow, int flags, int64_t now) noexcept nogil:
    if flags & TEXT_EVENT and flow.event == EVENT_NEW:
        out = write_text(out, b'<flow type="new">')
    elif flags & TEXT_EVENT and flow.event == EVENT_UPDATE:
        out = write_text(out, b'<flow type="update">')
    elif flags & TEXT_EVENT and flow.event == EVENT_DESTROY:
        out = write_text(out, b'<flow type="destroy">')
    else:
        out = write_text(out, b"<flow>")
    out = xml_directions(out, flow, flags)
    out = xml_independent(out, flow, flags, now)
    if has(flow, BIT_HELPER_NAME):
        out = write_name(write_text(out, b"<helper>"), flow.helper_name, HELPER_NAME_SIZE, True)
        out = write_text(out, b"</helper>")
    return write_text(out, b"</flow>")


cdef uint32_t format_flow(const flow_t *flow, int form, int flags, int64_t now, int64_t age, char *out,
                          uint32_t capacity) noexcept nogil:
    cdef char[TEXT_MAX] room
    cdef char *start = out if capacity >= TEXT_MAX else room
    cdef char *end
    cdef uint32_t length
    if form == TEXT_XML:
        end = write_xml(start, flow, flags, now)
    else:
        end = write_plain(start, flow, flags, now, age)
    end[0] = 10
    length = <uint32_t>(end + 1 - start)
    if start == out:
        return length
    if length > capacity:
        return 0
    memcpy(out, start, length)
    return length


PLAIN = TEXT_PLAIN
XML = TEXT_XML
LAYER3 = TEXT_LAYER3
ID = TEXT_ID
TIMESTAMPS = TEXT_TIMESTAMPS
EVENT = TEXT_EVENT
NO_REPLY = TEXT_NO_REPLY
NO_TIMEOUT = TEXT_NO_TIMEOUT
INTERNAL_CACHE = TEXT_INTERNAL_CACHE
EXTERNAL_CACHE = TEXT_EXTERNAL_CACHE


def format_records(records, int form=TEXT_PLAIN, int flags=0, int64_t now=0, int64_t age=-1):
    """The lines of an array of flow records, as a FlowBatch or anything else with the buffer protocol holds it.

    Raises ValueError where the buffer is not a whole number of records.
    """
    cdef Py_buffer view
    cdef Py_ssize_t count, i
    cdef size_t used = 0
    cdef char *out
    cdef const flow_t *flows
    PyObject_GetBuffer(records, &view, PyBUF_SIMPLE)
    try:
        if view.len % sizeof(flow_t):
            raise ValueError(f"{view.len} bytes are not a whole number of flow records of {sizeof(flow_t)} bytes")
        count = view.len // sizeof(flow_t)
        flows = <const flow_t *>view.buf
        out = <char *>malloc((count + 1) * TEXT_MAX)
        if out == NULL:
            raise MemoryError
        with nogil:
            for i in range(count):
                used += format_flow(&flows[i], form, flags, now, age, out + used, TEXT_MAX)
        try:
            return PyBytes_FromStringAndSize(out, used)
        finally:
            free(out)
    finally:
        PyBuffer_Release(&view)
