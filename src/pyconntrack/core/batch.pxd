# SPDX-License-Identifier: GPL-2.0-or-later
"""A growable, contiguous array of flow records: what every stage hands to the next."""

from pyconntrack.core.record cimport flow_t


cdef class FlowBatch:
    cdef flow_t *flows
    cdef Py_ssize_t length
    cdef Py_ssize_t capacity
    cdef Py_ssize_t exports            # buffers handed out: while there are any, the array stays as it is

    # A cleared record at the end. NULL with MemoryError, or BufferError while a buffer is exported.
    cdef flow_t *append(self) except NULL
    # The same without the GIL: NULL for either reason, no exception.
    cdef flow_t *append_nogil(self) noexcept nogil
    # The same, but the record holds garbage: for decoders, which clear it themselves.
    cdef flow_t *append_garbage(self) noexcept nogil
    # Room for `count` records in all: 0, or -1 for want of memory or while a buffer is exported.
    cdef int reserve(self, Py_ssize_t count) noexcept nogil
    # Forget the last record: for a decoder that met something malformed.
    cdef void pop(self) noexcept nogil

    cdef int check_not_exported(self) except -1
