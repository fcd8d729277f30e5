# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow as the XML element that `conntrack -o xml` prints, byte for byte as libnetfilter_conntrack 1.0.9 writes it.

Its oddities are kept, since scripts read this: states of SCTP and DCCP are named by TCP's table, ICMP has no fields, there
is an empty reply direction where none is known, and counters of the reply if and only if the original has some.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from libc.time cimport localtime_r, time_t, tm

from pyconntrack.core.label_names cimport label_texts_t
from pyconntrack.core.record cimport *
from pyconntrack.core.text cimport *
from pyconntrack.core.text_names cimport *
from pyconntrack.core.text_writer cimport *


cdef inline uint64_t exact_age_of(const flow_t *flow, int64_t now) noexcept nogil:
    """The same in whole seconds of the time between, as XML has it of flows that ended."""
    if not has(flow, BIT_TIMESTAMP_STOP):
        return age_of(flow, now)
    if flow.timestamp_stop < flow.timestamp_start:
        return 0
    return (flow.timestamp_stop - flow.timestamp_start) // 1000000000


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


cdef char *xml_labels(char *out, const flow_t *flow, const label_texts_t *labels) noexcept nogil:
    """The names of the bits that have one."""
    cdef int bit
    out = write_text(out, b"<labels>")
    for bit in range(flow.labels_length * 8):
        if flow.labels[bit >> 3] >> (bit & 7) & 1 and labels.texts[bit] != NULL:
            out = write_text(out, b"<label>")
            memcpy(out, labels.texts[bit], labels.lengths[bit])
            out = write_text(out + labels.lengths[bit], b"</label>")
    return write_text(out, b"</labels>")


cdef char *xml_independent(char *out, const flow_t *flow, const line_context_t *context) noexcept nogil:
    cdef int flags = context.flags
    if has_independent(flow, flags):
        out = write_text(out, b'<meta direction="independent">')
    out = xml_state(out, flow)
    if has(flow, BIT_TIMEOUT) and not flags & TEXT_NO_TIMEOUT:
        out = element(out, b"<timeout>", flow.timeout, b"</timeout>")
    if has(flow, BIT_MARK):
        out = element(out, b"<mark>", flow.mark, b"</mark>")
    if context.labels != NULL and has(flow, BIT_LABELS):
        out = xml_labels(out, flow, context.labels)
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
    out = xml_status_and_times(out, flow, flags, context.now)
    if has_independent(flow, flags):
        out = write_text(out, b"</meta>")
    return out


cdef void prepare_when(line_context_t *context, int64_t second) noexcept nogil:
    """The local time of a second, kept for the next events, which are most likely of the same one."""
    cdef time_t moment = <time_t>second
    cdef tm local
    cdef char *out = context.when
    context.when_second = second
    context.when_length = 0
    if localtime_r(&moment, &local) == NULL:
        return
    out = element(out, b"<when><hour>", <uint64_t>local.tm_hour, b"</hour>")
    out = write_digits(write_text(out, b"<min>"), <uint64_t>local.tm_min, 2)
    out = write_digits(write_text(out, b"</min><sec>"), <uint64_t>local.tm_sec, 2)
    out = element(out, b"</sec><wday>", <uint64_t>(local.tm_wday + 1), b"</wday>")
    out = element(out, b"<day>", <uint64_t>local.tm_mday, b"</day>")
    out = element(out, b"<month>", <uint64_t>(local.tm_mon + 1), b"</month>")
    out = element(out, b"<year>", <uint64_t>(local.tm_year + 1900), b"</year></when>")
    context.when_length = <uint32_t>(out - context.when)


cdef char *xml_when(char *out, const flow_t *flow, line_context_t *context) noexcept nogil:
    cdef int64_t second = context.now
    if has(flow, BIT_TIMESTAMP_EVENT):
        second = <int64_t>(flow.timestamp_event // 1000000000)
    if context.when_length == 0 or context.when_second != second:
        prepare_when(context, second)
    memcpy(out, context.when, context.when_length)
    return out + context.when_length


cdef char *write_xml(char *out, const flow_t *flow, line_context_t *context) noexcept nogil:
    cdef int flags = context.flags
    if flags & TEXT_EVENT and flow.event == EVENT_NEW:
        out = write_text(out, b'<flow type="new">')
    elif flags & TEXT_EVENT and flow.event == EVENT_UPDATE:
        out = write_text(out, b'<flow type="update">')
    elif flags & TEXT_EVENT and flow.event == EVENT_DESTROY:
        out = write_text(out, b'<flow type="destroy">')
    else:
        out = write_text(out, b"<flow>")
    out = xml_directions(out, flow, flags)
    out = xml_independent(out, flow, context)
    if flags & TEXT_TIME:
        out = xml_when(out, flow, context)
    if has(flow, BIT_HELPER_NAME):
        out = write_name(write_text(out, b"<helper>"), flow.helper_name, HELPER_NAME_SIZE, True)
        out = write_text(out, b"</helper>")
    return write_text(out, b"</flow>")
