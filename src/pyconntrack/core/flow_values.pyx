# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""One flow record as Python values, for what a person holds."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from pyconntrack.core.record cimport *

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *text, size_t limit)

# Names of attributes, and their bits in `present`.
cdef dict BITS = {
    "original": BIT_ORIGINAL,
    "reply": BIT_REPLY,
    "master": BIT_MASTER,
    "status": BIT_STATUS,
    "timeout": BIT_TIMEOUT,
    "mark": BIT_MARK,
    "mark_mask": BIT_MARK_MASK,
    "secmark": BIT_SECMARK,
    "security_context": BIT_SECURITY_CONTEXT,
    "id": BIT_ID,
    "use": BIT_USE,
    "zone": BIT_ZONE,
    "original_zone": BIT_ORIGINAL_ZONE,
    "reply_zone": BIT_REPLY_ZONE,
    "tcp_state": BIT_TCP_STATE,
    "tcp_flags_original": BIT_TCP_FLAGS_ORIGINAL,
    "tcp_flags_reply": BIT_TCP_FLAGS_REPLY,
    "tcp_window_scale_original": BIT_TCP_WINDOW_SCALE_ORIGINAL,
    "tcp_window_scale_reply": BIT_TCP_WINDOW_SCALE_REPLY,
    "sctp_state": BIT_SCTP_STATE,
    "sctp_vtag_original": BIT_SCTP_VTAG_ORIGINAL,
    "sctp_vtag_reply": BIT_SCTP_VTAG_REPLY,
    "dccp_state": BIT_DCCP_STATE,
    "dccp_role": BIT_DCCP_ROLE,
    "dccp_handshake_sequence": BIT_DCCP_HANDSHAKE_SEQUENCE,
    "counters_original": BIT_COUNTERS_ORIGINAL,
    "counters_reply": BIT_COUNTERS_REPLY,
    "timestamp_start": BIT_TIMESTAMP_START,
    "timestamp_stop": BIT_TIMESTAMP_STOP,
    "timestamp_event": BIT_TIMESTAMP_EVENT,
    "helper_name": BIT_HELPER_NAME,
    "helper_info": BIT_HELPER_INFO,
    "source_nat_address": BIT_SOURCE_NAT_ADDRESS,
    "source_nat_port": BIT_SOURCE_NAT_PORT,
    "destination_nat_address": BIT_DESTINATION_NAT_ADDRESS,
    "destination_nat_port": BIT_DESTINATION_NAT_PORT,
    "sequence_adjust_original": BIT_SEQUENCE_ADJUST_ORIGINAL,
    "sequence_adjust_reply": BIT_SEQUENCE_ADJUST_REPLY,
    "syn_proxy": BIT_SYN_PROXY,
    "labels": BIT_LABELS,
    "labels_mask": BIT_LABELS_MASK,
    "origin": BIT_ORIGIN,
}


cdef dict attribute_bits():
    return dict(BITS)


cdef bytes some_bytes(const uint8_t *data, Py_ssize_t length):
    return PyBytes_FromStringAndSize(<const char *>data, length)


cdef str some_text(const char *data, size_t size):
    return PyBytes_FromStringAndSize(data, strnlen(data, size)).decode("utf-8", "surrogateescape")


cdef tuple tuple_values(const tuple_t *t):
    cdef int size = address_size(t.family)
    return (t.family, t.protocol, some_bytes(t.source, size), some_bytes(t.destination, size), t.source_port,
            t.destination_port, t.icmp_id, t.icmp_type, t.icmp_code)


cdef tuple adjust_values(const sequence_adjust_t *adjust):
    return (adjust.position, adjust.offset_before, adjust.offset_after)


cdef object value_of(const flow_t *f, int bit):
    cdef int size = address_size(f.original.family if has(f, BIT_ORIGINAL) else f.reply.family)
    if bit == BIT_ORIGINAL: return tuple_values(&f.original)
    if bit == BIT_REPLY: return tuple_values(&f.reply)
    if bit == BIT_MASTER: return tuple_values(&f.master)
    if bit == BIT_STATUS: return f.status
    if bit == BIT_TIMEOUT: return f.timeout
    if bit == BIT_MARK: return f.mark
    if bit == BIT_MARK_MASK: return f.mark_mask
    if bit == BIT_SECMARK: return f.secmark
    if bit == BIT_SECURITY_CONTEXT: return some_text(f.security_context, SECURITY_CONTEXT_SIZE)
    if bit == BIT_ID: return f.id
    if bit == BIT_USE: return f.use
    if bit == BIT_ORIGIN: return f.origin
    if bit == BIT_ZONE: return f.zone
    if bit == BIT_ORIGINAL_ZONE: return f.original.zone
    if bit == BIT_REPLY_ZONE: return f.reply.zone
    if bit == BIT_TCP_STATE: return f.tcp_state
    if bit == BIT_TCP_FLAGS_ORIGINAL: return (f.tcp_flags_original, f.tcp_flags_mask_original)
    if bit == BIT_TCP_FLAGS_REPLY: return (f.tcp_flags_reply, f.tcp_flags_mask_reply)
    if bit == BIT_TCP_WINDOW_SCALE_ORIGINAL: return f.tcp_window_scale_original
    if bit == BIT_TCP_WINDOW_SCALE_REPLY: return f.tcp_window_scale_reply
    if bit == BIT_SCTP_STATE: return f.sctp_state
    if bit == BIT_SCTP_VTAG_ORIGINAL: return f.sctp_vtag_original
    if bit == BIT_SCTP_VTAG_REPLY: return f.sctp_vtag_reply
    if bit == BIT_DCCP_STATE: return f.dccp_state
    if bit == BIT_DCCP_ROLE: return f.dccp_role
    if bit == BIT_DCCP_HANDSHAKE_SEQUENCE: return f.dccp_handshake_sequence
    if bit == BIT_COUNTERS_ORIGINAL: return (f.packets_original, f.bytes_original)
    if bit == BIT_COUNTERS_REPLY: return (f.packets_reply, f.bytes_reply)
    if bit == BIT_TIMESTAMP_START: return f.timestamp_start
    if bit == BIT_TIMESTAMP_STOP: return f.timestamp_stop
    if bit == BIT_TIMESTAMP_EVENT: return f.timestamp_event
    if bit == BIT_HELPER_NAME: return some_text(f.helper_name, HELPER_NAME_SIZE)
    if bit == BIT_HELPER_INFO: return some_bytes(f.helper_info, min(f.helper_info_length, HELPER_INFO_SIZE))
    if bit == BIT_SOURCE_NAT_ADDRESS: return some_bytes(f.source_nat_address, size)
    if bit == BIT_SOURCE_NAT_PORT: return f.source_nat_port
    if bit == BIT_DESTINATION_NAT_ADDRESS: return some_bytes(f.destination_nat_address, size)
    if bit == BIT_DESTINATION_NAT_PORT: return f.destination_nat_port
    if bit == BIT_SEQUENCE_ADJUST_ORIGINAL: return adjust_values(&f.sequence_adjust_original)
    if bit == BIT_SEQUENCE_ADJUST_REPLY: return adjust_values(&f.sequence_adjust_reply)
    if bit == BIT_SYN_PROXY: return (f.syn_proxy_isn, f.syn_proxy_its, f.syn_proxy_tsoff)
    if bit == BIT_LABELS: return some_bytes(f.labels, min(f.labels_length, LABELS_SIZE))
    return some_bytes(f.labels_mask, LABELS_SIZE)


cdef dict values_of(const flow_t *flow):
    cdef int bit
    values = {"event": flow.event}
    for name, number in BITS.items():
        bit = number
        if has(flow, bit):
            values[name] = value_of(flow, bit)
    return values


cdef int copy_bytes(uint8_t *out, object data, Py_ssize_t least, Py_ssize_t most, str name) except -1:
    """Copy a value of `least` to `most` bytes; the length that it had."""
    cdef Py_buffer view
    cdef Py_ssize_t length
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        length = view.len
        if length < least or length > most:
            raise ValueError(f"{name}: {length} bytes, from {least} to {most} are possible")
        memcpy(out, view.buf, length)
        return <int>length
    finally:
        PyBuffer_Release(&view)


cdef int copy_address(uint8_t *out, object data, str name) except -1:
    cdef int length = copy_bytes(out, data, 4, 16, name)
    if length != 4 and length != 16:
        raise ValueError(f"{name}: an address has 4 or 16 bytes, not {length}")
    return length


cdef int set_tuple(tuple_t *t, object value, str name) except -1:
    (family, protocol, source, destination, source_port, destination_port,
     icmp_id, icmp_type, icmp_code) = value
    if family != FAMILY_IPV4 and family != FAMILY_IPV6:
        raise ValueError(f"{name}: family {family} is neither AF_INET nor AF_INET6")
    t.family = family
    t.protocol = protocol
    copy_bytes(t.source, source, address_size(t.family), address_size(t.family), name)
    copy_bytes(t.destination, destination, address_size(t.family), address_size(t.family), name)
    t.source_port, t.destination_port = source_port, destination_port
    t.icmp_id, t.icmp_type, t.icmp_code = icmp_id, icmp_type, icmp_code
    return 0


cdef int set_adjust(sequence_adjust_t *adjust, object value) except -1:
    adjust.position, adjust.offset_before, adjust.offset_after = value
    return 0


cdef int set_value(flow_t *f, str name, object value) except -1:
    cdef int bit
    if name == "event":
        f.event = value
        return 0
    if name not in BITS:
        raise ValueError(f"a flow has no attribute {name}")
    bit = BITS[name]
    if bit == BIT_ORIGINAL: set_tuple(&f.original, value, name)
    elif bit == BIT_REPLY: set_tuple(&f.reply, value, name)
    elif bit == BIT_MASTER: set_tuple(&f.master, value, name)
    elif bit == BIT_STATUS: f.status = value
    elif bit == BIT_TIMEOUT: f.timeout = value
    elif bit == BIT_MARK: f.mark = value
    elif bit == BIT_MARK_MASK: f.mark_mask = value
    elif bit == BIT_SECMARK: f.secmark = value
    elif bit == BIT_SECURITY_CONTEXT: set_text(f.security_context, value, SECURITY_CONTEXT_SIZE, name)
    elif bit == BIT_ID: f.id = value
    elif bit == BIT_USE: f.use = value
    elif bit == BIT_ORIGIN: f.origin = value
    elif bit == BIT_ZONE: f.zone = value
    elif bit == BIT_ORIGINAL_ZONE: f.original.zone = value
    elif bit == BIT_REPLY_ZONE: f.reply.zone = value
    elif bit == BIT_TCP_STATE: f.tcp_state = value
    elif bit == BIT_TCP_FLAGS_ORIGINAL: f.tcp_flags_original, f.tcp_flags_mask_original = value
    elif bit == BIT_TCP_FLAGS_REPLY: f.tcp_flags_reply, f.tcp_flags_mask_reply = value
    elif bit == BIT_TCP_WINDOW_SCALE_ORIGINAL: f.tcp_window_scale_original = value
    elif bit == BIT_TCP_WINDOW_SCALE_REPLY: f.tcp_window_scale_reply = value
    elif bit == BIT_SCTP_STATE: f.sctp_state = value
    elif bit == BIT_SCTP_VTAG_ORIGINAL: f.sctp_vtag_original = value
    elif bit == BIT_SCTP_VTAG_REPLY: f.sctp_vtag_reply = value
    elif bit == BIT_DCCP_STATE: f.dccp_state = value
    elif bit == BIT_DCCP_ROLE: f.dccp_role = value
    elif bit == BIT_DCCP_HANDSHAKE_SEQUENCE: f.dccp_handshake_sequence = value
    elif bit == BIT_COUNTERS_ORIGINAL: f.packets_original, f.bytes_original = value
    elif bit == BIT_COUNTERS_REPLY: f.packets_reply, f.bytes_reply = value
    elif bit == BIT_TIMESTAMP_START: f.timestamp_start = value
    elif bit == BIT_TIMESTAMP_STOP: f.timestamp_stop = value
    elif bit == BIT_TIMESTAMP_EVENT: f.timestamp_event = value
    elif bit == BIT_HELPER_NAME: set_text(f.helper_name, value, HELPER_NAME_SIZE, name)
    elif bit == BIT_HELPER_INFO:
        f.helper_info_length = copy_bytes(f.helper_info, value, 0, HELPER_INFO_SIZE, name)
    elif bit == BIT_SOURCE_NAT_ADDRESS: copy_address(f.source_nat_address, value, name)
    elif bit == BIT_SOURCE_NAT_PORT: f.source_nat_port = value
    elif bit == BIT_DESTINATION_NAT_ADDRESS: copy_address(f.destination_nat_address, value, name)
    elif bit == BIT_DESTINATION_NAT_PORT: f.destination_nat_port = value
    elif bit == BIT_SEQUENCE_ADJUST_ORIGINAL: set_adjust(&f.sequence_adjust_original, value)
    elif bit == BIT_SEQUENCE_ADJUST_REPLY: set_adjust(&f.sequence_adjust_reply, value)
    elif bit == BIT_SYN_PROXY: f.syn_proxy_isn, f.syn_proxy_its, f.syn_proxy_tsoff = value
    elif bit == BIT_LABELS: f.labels_length = copy_bytes(f.labels, value, 0, LABELS_SIZE, name)
    elif bit == BIT_LABELS_MASK: copy_bytes(f.labels_mask, value, 0, LABELS_SIZE, name)
    put(f, bit)
    return 0


cdef int set_text(char *out, str text, Py_ssize_t size, str name) except -1:
    data = text.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise ValueError(f"{name}: holds a zero byte")
    copy_bytes(<uint8_t *>out, data, 0, size - 1, name)
    return 0
