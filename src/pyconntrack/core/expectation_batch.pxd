# SPDX-License-Identifier: GPL-2.0-or-later
"""A growable, contiguous array of expectation records."""

from pyconntrack.core.expectation_record cimport expectation_t


cdef class ExpectationBatch:
    cdef expectation_t *expectations
    cdef Py_ssize_t length
    cdef Py_ssize_t capacity

    # A cleared record at the end: NULL with MemoryError.
    cdef expectation_t *append(self) except NULL
    # The same without the GIL: NULL for want of memory, no exception.
    cdef expectation_t *append_nogil(self) noexcept nogil
    # Forget the last record: for a decoder that met something malformed.
    cdef void pop(self) noexcept nogil
