# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""A growable, contiguous array of flow records."""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_WRITABLE
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from pyconntrack.core.record cimport *


cdef class FlowBatch:
    """Flows in one piece of memory, one record of fixed size each.

    Read through the buffer protocol (PEP 3118), `numpy.asarray(batch)` gives a structured array without a copy. While a
    buffer is exported, the batch cannot grow or be cleared: BufferError.
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
        if self.exports > 0 or <size_t>count > (<size_t>-1 >> 1) // sizeof(flow_t):
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

    def check_not_exported(self):
        """Raise BufferError while a buffer is exported."""
        if self.exports > 0:
            raise BufferError("a buffer of this batch is in use: it can neither grow nor be cleared")

    def clear(self):
        """Forget all flows; the memory is kept for the next ones."""
        self.check_not_exported()
        self.length = 0
