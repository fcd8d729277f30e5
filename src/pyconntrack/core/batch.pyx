# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""A growable, contiguous array of flow records, and one record as Python values."""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport free, realloc
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from pyconntrack.core.record cimport *

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *text, size_t limit)


cdef class FlowBatch:
    """Flows in one piece of memory, one record of fixed size each.

    Read through the buffer protocol (PEP 3118), `numpy.asarray(batch)` gives a structured, read-only array without a copy. Its
    fields are those of the record; `fields()` names the bits of `present`, which say what counts. Integers are in host
    byte order, addresses in network byte order with an IPv4 address in the first four bytes. While a buffer is exported, the
    batch cannot grow or be cleared: BufferError.
    """

    def __cinit__(self, Py_ssize_t capacity=0):
        if capacity < 0:
            raise ValueError("capacity is negative")
        if self.reserve(capacity) < 0:
            raise MemoryError

    def __dealloc__(self):
        free(self.flows)

    def __len__(self):
        return self.length

    cdef int reserve(self, Py_ssize_t count) noexcept nogil:
        cdef void *moved
        if count <= self.capacity:
            return 0
        if self.exports > 0 or <size_t>count > ((<size_t>-1) >> 1) // sizeof(flow_t):
            return -1
        moved = realloc(self.flows, count * sizeof(flow_t))
        if moved == NULL:
            return -1
        self.flows = <flow_t *>moved
        self.capacity = count
        return 0

    cdef flow_t *append_garbage(self) noexcept nogil:
        if self.exports > 0:
            return NULL
        if self.length == self.capacity and self.reserve(max(self.capacity * 2, 64)) < 0:
            return NULL
        self.length += 1
        return &self.flows[self.length - 1]

    cdef flow_t *append_nogil(self) noexcept nogil:
        cdef flow_t *flow = self.append_garbage()
        if flow != NULL:
            clear_flow(flow)
        return flow

    cdef flow_t *append(self) except NULL:
        cdef flow_t *flow = self.append_nogil()
        if flow == NULL:
            self.check_not_exported()
            raise MemoryError
        return flow

    cdef void pop(self) noexcept nogil:
        self.length -= 1

    cdef int check_not_exported(self) except -1:
        if self.exports > 0:
            raise BufferError("a buffer of this batch is in use: it can neither grow nor be cleared")
        return 0

    def clear(self):
        """Forget all flows; the memory is kept for the next ones. BufferError while a buffer is exported."""
        self.check_not_exported()
        self.length = 0

    def extend(self, FlowBatch other):
        """Append the flows of another batch, or of itself."""
        cdef Py_ssize_t count = other.length
        self.check_not_exported()
        if self.reserve(self.length + count) < 0:
            raise MemoryError
        if count:
            memcpy(self.flows + self.length, other.flows, count * sizeof(flow_t))
        self.length += count

    def unpack(self, Py_ssize_t index):
        """The flow at `index` as {attribute: value}, of those present; `event` always. IndexError."""
        if index < 0:
            index += self.length
        if index < 0 or index >= self.length:
            raise IndexError("flow index out of range")
        return values_of(&self.flows[index])

    def pack(self, dict values not None):
        """Append a flow with these attributes, as unpack names them, and return its index.

        Raises ValueError for an unknown name or a bad address or text, OverflowError for a number that does not fit, TypeError.
        """
        cdef flow_t flow
        cdef flow_t *place
        clear_flow(&flow)
        for name, value in values.items():
            set_value(&flow, name, value)
        place = self.append()
        place[0] = flow
        return self.length - 1

    def __getbuffer__(self, Py_buffer *view, int flags):
        if flags & PyBUF_WRITABLE:
            raise BufferError("a batch is read-only")
        view.buf = self.flows if self.flows != NULL else <void *>&EMPTY
        view.obj = self
        view.len = self.length * sizeof(flow_t)
        view.itemsize = sizeof(flow_t)
        view.readonly = 1
        view.ndim = 1
        view.format = FORMAT_POINTER if flags & PyBUF_FORMAT else NULL
        # The length stays while a buffer is out, so the batch's own field can serve as the shape.
        view.shape = &self.length if flags & PyBUF_ND else NULL
        view.strides = &ITEM_SIZE if (flags & PyBUF_STRIDES) == PyBUF_STRIDES else NULL
        view.suboffsets = NULL
        view.internal = NULL
        self.exports += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.exports -= 1

    @staticmethod
    def fields():
        """{attribute: number of its bit in `present`}."""
        return dict(BITS)


# The layout, for PEP 3118: offsets are taken from the compiler, so that this cannot differ from the record.

cdef uint8_t EMPTY = 0
cdef Py_ssize_t ITEM_SIZE = sizeof(flow_t)


cdef str structure(list fields, Py_ssize_t size):
    """The PEP 3118 description of a structure: [(name, code, offset, size), ...] with padding put between.

    The first code of each sets the byte order (=, without alignment), behind its shape, where NumPy looks for it.
    """
    cdef Py_ssize_t end = 0
    parts = []
    for name, code, offset, width in sorted(fields, key=lambda field: field[2]):
        if offset > end:
            parts.append(f"{offset - end}x")
        parts.append(f"{code}:{name}:")
        end = offset + width
    if size > end:
        parts.append(f"{size - end}x")
    return "T{" + "".join(parts) + "}"


cdef str describe_tuple():
    cdef tuple_t t
    cdef char *start = <char *>&t
    return structure([
        ("source", "(16)=B", <char *>&t.source - start, 16),
        ("destination", "(16)=B", <char *>&t.destination - start, 16),
        ("source_port", "H", <char *>&t.source_port - start, 2),
        ("destination_port", "H", <char *>&t.destination_port - start, 2),
        ("icmp_id", "H", <char *>&t.icmp_id - start, 2),
        ("icmp_type", "B", <char *>&t.icmp_type - start, 1),
        ("icmp_code", "B", <char *>&t.icmp_code - start, 1),
        ("family", "B", <char *>&t.family - start, 1),
        ("protocol", "B", <char *>&t.protocol - start, 1),
        ("zone", "H", <char *>&t.zone - start, 2),
    ], sizeof(tuple_t))


cdef str describe_adjust():
    cdef sequence_adjust_t s
    cdef char *start = <char *>&s
    return structure([
        ("position", "=I", <char *>&s.position - start, 4),
        ("offset_before", "I", <char *>&s.offset_before - start, 4),
        ("offset_after", "I", <char *>&s.offset_after - start, 4),
    ], sizeof(sequence_adjust_t))


cdef str describe_flow():
    cdef flow_t f
    cdef char *start = <char *>&f
    tuple_code = describe_tuple()
    adjust_code = describe_adjust()
    return structure([
        ("present", "=Q", <char *>&f.present - start, 8),
        ("original", tuple_code, <char *>&f.original - start, sizeof(tuple_t)),
        ("reply", tuple_code, <char *>&f.reply - start, sizeof(tuple_t)),
        ("master", tuple_code, <char *>&f.master - start, sizeof(tuple_t)),
        ("status", "I", <char *>&f.status - start, 4),
        ("timeout", "I", <char *>&f.timeout - start, 4),
        ("mark", "I", <char *>&f.mark - start, 4),
        ("mark_mask", "I", <char *>&f.mark_mask - start, 4),
        ("secmark", "I", <char *>&f.secmark - start, 4),
        ("id", "I", <char *>&f.id - start, 4),
        ("use", "I", <char *>&f.use - start, 4),
        ("zone", "H", <char *>&f.zone - start, 2),
        ("event", "B", <char *>&f.event - start, 1),
        ("tcp_state", "B", <char *>&f.tcp_state - start, 1),
        ("tcp_flags_original", "B", <char *>&f.tcp_flags_original - start, 1),
        ("tcp_flags_mask_original", "B", <char *>&f.tcp_flags_mask_original - start, 1),
        ("tcp_flags_reply", "B", <char *>&f.tcp_flags_reply - start, 1),
        ("tcp_flags_mask_reply", "B", <char *>&f.tcp_flags_mask_reply - start, 1),
        ("tcp_window_scale_original", "B", <char *>&f.tcp_window_scale_original - start, 1),
        ("tcp_window_scale_reply", "B", <char *>&f.tcp_window_scale_reply - start, 1),
        ("sctp_state", "B", <char *>&f.sctp_state - start, 1),
        ("dccp_state", "B", <char *>&f.dccp_state - start, 1),
        ("dccp_role", "B", <char *>&f.dccp_role - start, 1),
        ("labels_length", "B", <char *>&f.labels_length - start, 1),
        ("helper_info_length", "H", <char *>&f.helper_info_length - start, 2),
        ("sctp_vtag_original", "I", <char *>&f.sctp_vtag_original - start, 4),
        ("sctp_vtag_reply", "I", <char *>&f.sctp_vtag_reply - start, 4),
        ("dccp_handshake_sequence", "Q", <char *>&f.dccp_handshake_sequence - start, 8),
        ("packets_original", "Q", <char *>&f.packets_original - start, 8),
        ("bytes_original", "Q", <char *>&f.bytes_original - start, 8),
        ("packets_reply", "Q", <char *>&f.packets_reply - start, 8),
        ("bytes_reply", "Q", <char *>&f.bytes_reply - start, 8),
        ("timestamp_start", "Q", <char *>&f.timestamp_start - start, 8),
        ("timestamp_stop", "Q", <char *>&f.timestamp_stop - start, 8),
        ("timestamp_event", "Q", <char *>&f.timestamp_event - start, 8),
        ("source_nat_address", "(16)=B", <char *>&f.source_nat_address - start, 16),
        ("destination_nat_address", "(16)=B", <char *>&f.destination_nat_address - start, 16),
        ("source_nat_port", "H", <char *>&f.source_nat_port - start, 2),
        ("destination_nat_port", "H", <char *>&f.destination_nat_port - start, 2),
        ("sequence_adjust_original", adjust_code, <char *>&f.sequence_adjust_original - start, sizeof(sequence_adjust_t)),
        ("sequence_adjust_reply", adjust_code, <char *>&f.sequence_adjust_reply - start, sizeof(sequence_adjust_t)),
        ("syn_proxy_isn", "I", <char *>&f.syn_proxy_isn - start, 4),
        ("syn_proxy_its", "I", <char *>&f.syn_proxy_its - start, 4),
        ("syn_proxy_tsoff", "I", <char *>&f.syn_proxy_tsoff - start, 4),
        ("labels", "(16)=B", <char *>&f.labels - start, 16),
        ("labels_mask", "(16)=B", <char *>&f.labels_mask - start, 16),
        ("helper_name", "16s", <char *>&f.helper_name - start, 16),
        ("helper_info", "(32)B", <char *>&f.helper_info - start, 32),
        ("security_context", "128s", <char *>&f.security_context - start, 128),
    ], sizeof(flow_t))


cdef bytes FORMAT = describe_flow().encode()
cdef char *FORMAT_POINTER = FORMAT


# One record as Python values, for model/.

cdef dict BITS = {
    "original": BIT_ORIGINAL, "reply": BIT_REPLY, "master": BIT_MASTER, "status": BIT_STATUS, "timeout": BIT_TIMEOUT,
    "mark": BIT_MARK, "mark_mask": BIT_MARK_MASK, "secmark": BIT_SECMARK, "security_context": BIT_SECURITY_CONTEXT,
    "id": BIT_ID, "use": BIT_USE, "zone": BIT_ZONE, "original_zone": BIT_ORIGINAL_ZONE, "reply_zone": BIT_REPLY_ZONE,
    "tcp_state": BIT_TCP_STATE, "tcp_flags_original": BIT_TCP_FLAGS_ORIGINAL, "tcp_flags_reply": BIT_TCP_FLAGS_REPLY,
    "tcp_window_scale_original": BIT_TCP_WINDOW_SCALE_ORIGINAL,
    "tcp_window_scale_reply": BIT_TCP_WINDOW_SCALE_REPLY,
    "sctp_state": BIT_SCTP_STATE, "sctp_vtag_original": BIT_SCTP_VTAG_ORIGINAL, "sctp_vtag_reply": BIT_SCTP_VTAG_REPLY,
    "dccp_state": BIT_DCCP_STATE, "dccp_role": BIT_DCCP_ROLE, "dccp_handshake_sequence": BIT_DCCP_HANDSHAKE_SEQUENCE,
    "counters_original": BIT_COUNTERS_ORIGINAL, "counters_reply": BIT_COUNTERS_REPLY,
    "timestamp_start": BIT_TIMESTAMP_START, "timestamp_stop": BIT_TIMESTAMP_STOP, "timestamp_event": BIT_TIMESTAMP_EVENT,
    "helper_name": BIT_HELPER_NAME, "helper_info": BIT_HELPER_INFO,
    "source_nat_address": BIT_SOURCE_NAT_ADDRESS, "source_nat_port": BIT_SOURCE_NAT_PORT,
    "destination_nat_address": BIT_DESTINATION_NAT_ADDRESS, "destination_nat_port": BIT_DESTINATION_NAT_PORT,
    "sequence_adjust_original": BIT_SEQUENCE_ADJUST_ORIGINAL, "sequence_adjust_reply": BIT_SEQUENCE_ADJUST_REPLY,
    "syn_proxy": BIT_SYN_PROXY, "labels": BIT_LABELS, "labels_mask": BIT_LABELS_MASK,
}


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
    cdef const unsigned char[::1] view = data
    cdef Py_ssize_t length = view.shape[0]
    if length < least or length > most:
        raise ValueError(f"{name}: {length} bytes, from {least} to {most} are possible")
    if length:
        memcpy(out, &view[0], length)
    return <int>length


cdef int copy_address(uint8_t *out, object data, str name) except -1:
    cdef int length = copy_bytes(out, data, 4, 16, name)
    if length != 4 and length != 16:
        raise ValueError(f"{name}: an address has 4 or 16 bytes, not {length}")
    return length


cdef int set_tuple(tuple_t *t, object value, str name) except -1:
    (family, protocol, source, destination, source_port, destination_port, icmp_id, icmp_type, icmp_code) = value
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
    elif bit == BIT_HELPER_INFO: f.helper_info_length = copy_bytes(f.helper_info, value, 0, HELPER_INFO_SIZE, name)
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
