# SPDX-License-Identifier: GPL-2.0-or-later
"""Many requests to one send, and their errors matched by sequence number."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

from pyconntrack.core.record cimport flow_t


cdef class RequestBatch:
    cdef uint8_t *buffer
    cdef uint32_t capacity
    cdef uint32_t used
    cdef Py_ssize_t count              # requests in the batch
    cdef Py_ssize_t count_limit
    cdef int32_t *outcomes             # errno by position
    cdef uint32_t first_sequence       # of position 0
    cdef Py_ssize_t last_message       # offset of the last request
    cdef Py_ssize_t failed             # requests answered with an error
    cdef bint errors_lost              # the socket overran: outcomes behind the last answer are unknown

    # False when the batch is full: send it, clear it, add again.
    cdef bint add(self, const flow_t *flow, int command, uint16_t flags) noexcept nogil
    # 0 or a negative errno. All requests were carried out by the kernel when it returns.
    cdef int transmit(self, int fd) noexcept nogil
    # Reads the answers to what was transmitted: how many failed, or a negative errno; -ENOBUFS where answers
    # were lost.
    cdef int gather(self, int fd) noexcept nogil
    # errno of the request at `position`, 0 if it succeeded, ENOBUFS if its answer was lost.
    cdef int error_at(self, Py_ssize_t position) noexcept nogil
    # Empty, for the next batch; sequence numbers go on.
    cdef void reset(self) noexcept nogil

    cdef bint note(self, const uint8_t *data, uint32_t length) noexcept nogil
    cdef void settle(self) noexcept nogil
    # A request of another kind: written by the caller to `buffer + used`, numbered first_sequence + count, where count is
    # below count_limit. False where `length` is 0: it did not fit.
    cdef bint took(self, uint32_t length) noexcept nogil
