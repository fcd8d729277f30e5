# SPDX-License-Identifier: GPL-2.0-or-later
"""A growable, contiguous array of expectation records."""

from pyconntrack.core.expectation_record cimport expectation_t


cdef class ExpectationBatch:
    cdef expectation_t *expectations
    cdef Py_ssize_t length
    cdef Py_ssize_t capacity
    cdef Py_ssize_t holds              # while there are any, the array stays as it is

    # A cleared record at the end: NULL with MemoryError.
    cdef expectation_t *append(self) except NULL
    # The same without the GIL: NULL for want of memory, or while it is held; no exception.
    cdef expectation_t *append_nogil(self) noexcept nogil
    # Forget the last record: for a decoder that met something malformed.
    cdef void pop(self) noexcept nogil
    # BufferError while another thread works with the array.
    cdef int check_not_held(self) except -1
    # All of it, in a batch that nobody else has, for growing it without the GIL; empty and held until it is returned.
    cdef ExpectationBatch lend(self)
    cdef void take_back(self, ExpectationBatch lent) noexcept
