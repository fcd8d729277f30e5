# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow as the line that `conntrack -L` prints, byte for byte as libnetfilter_conntrack 1.0.9 writes it."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy
from libc.time cimport ctime_r, time_t

from pyconntrack.core.label_names cimport label_texts_t
from pyconntrack.core.record cimport *
from pyconntrack.core.text cimport *
from pyconntrack.core.text_names cimport *
from pyconntrack.core.text_writer cimport *


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


cdef char *plain_when(char *out, const flow_t *flow, const line_context_t *context) noexcept nogil:
    cdef uint64_t seconds = <uint64_t>context.now
    cdef uint64_t microseconds = <uint64_t>context.now_microseconds
    if has(flow, BIT_TIMESTAMP_EVENT):
        seconds = flow.timestamp_event // 1000000000
        microseconds = flow.timestamp_event % 1000000000 // 1000
    out = write_digits(write_text(out, b"["), seconds, 8)
    out = write_digits(write_text(out, b"."), microseconds, 6)
    return write_text(out, b"]\t")


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


cdef char *plain_labels(char *out, const flow_t *flow, const label_texts_t *labels) noexcept nogil:
    """The names of the bits that have one; others are passed over in silence."""
    cdef int bit
    cdef char separator = 61       # =
    out = write_text(out, b"labels")
    for bit in range(flow.labels_length * 8):
        if flow.labels[bit >> 3] >> (bit & 7) & 1 and labels.texts[bit] != NULL:
            out[0] = separator
            memcpy(out + 1, labels.texts[bit], labels.lengths[bit])
            out += 1 + labels.lengths[bit]
            separator = 44         # ,
    return write_text(out, b" ")


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


cdef char *write_plain(char *out, const flow_t *flow, const line_context_t *context) noexcept nogil:
    cdef int flags = context.flags
    if flags & TEXT_TIME:
        out = plain_when(out, flow, context)
    out = plain_head(out, flow, flags)
    out = plain_directions(out, flow, flags)
    out = plain_rest(out, flow, flags, context.now)
    if context.labels != NULL and has(flow, BIT_LABELS):
        out = plain_labels(out, flow, context.labels)
    if context.age >= 0:
        return write_text(write_field(out, b"[active since ", <uint64_t>context.age), b"s]")
    return out - 1                 # every field ends with a space
