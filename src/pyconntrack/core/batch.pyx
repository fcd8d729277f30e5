# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""A growable, contiguous array of flow records."""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE
from libc.stdlib cimport free, realloc
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from pyconntrack.core.flow_values cimport attribute_bits, set_value, values_of
from pyconntrack.core.record cimport *


cdef class FlowBatch:
    """Flows in one piece of memory, one record of fixed size each.

    Read through the buffer protocol (PEP 3118), `numpy.asarray(batch)` gives a structured, read-only array
    without a copy. Its fields are those of the record; `fields()` names the bits of `present`, which say what
    counts. Integers are in host byte order, addresses in network byte order with an IPv4 address in the first
    four bytes. While a buffer is exported, the batch cannot grow or be cleared: BufferError.
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

        Raises ValueError for an unknown name or a bad address or text, OverflowError for a number that does
        not fit, TypeError.
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
        # Of none, it is another zero: the batch may be lent, and get its flows back.
        view.shape = NULL
        if flags & PyBUF_ND:
            view.shape = &self.length if self.flows != NULL else &NO_LENGTH
        view.strides = &ITEM_SIZE if (flags & PyBUF_STRIDES) == PyBUF_STRIDES else NULL
        view.suboffsets = NULL
        view.internal = NULL
        self.exports += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.exports -= 1

    @staticmethod
    def fields():
        """{attribute: number of its bit in `present`}."""
        return attribute_bits()


# The layout, for PEP 3118: offsets are taken from the compiler, so that this cannot differ from the record.

cdef uint8_t EMPTY = 0
cdef Py_ssize_t NO_LENGTH = 0
cdef Py_ssize_t ITEM_SIZE = sizeof(flow_t)


cdef str structure(list fields, Py_ssize_t size):
    """The PEP 3118 description of a structure: [(name, code, offset, size), ...] with padding put between.

    The first code of each sets the byte order (=, without alignment), behind its shape, where NumPy looks for
    it.
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
        ("origin", "I", <char *>&f.origin - start, 4),
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
        ("sequence_adjust_original", adjust_code, <char *>&f.sequence_adjust_original - start,
         sizeof(sequence_adjust_t)),
        ("sequence_adjust_reply", adjust_code, <char *>&f.sequence_adjust_reply - start,
         sizeof(sequence_adjust_t)),
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
