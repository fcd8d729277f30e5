# SPDX-License-Identifier: GPL-2.0-or-later
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from pyconntrack.core.netlink_receiver cimport iovec_t, mmsghdr_t

cdef class Datagrams:
    cdef readonly uint32_t size        # bytes of a datagram at most
    cdef readonly uint32_t capacity    # datagrams
    cdef readonly uint32_t count       # filled, the last one perhaps in part
    cdef uint8_t *memory
    cdef uint32_t *lengths
    cdef mmsghdr_t *headers
    cdef iovec_t *vectors

    # Room for a message of `length` bytes, in the last datagram or a new one; NULL when all are full.
    cdef uint8_t *room(self, uint32_t length) noexcept nogil


cdef class DatagramReceiver:
    cdef readonly int fd
    cdef readonly uint32_t slots
    cdef uint8_t *memory
    cdef uint8_t *names
    cdef mmsghdr_t *headers
    cdef iovec_t *vectors

    cdef int end_of_piece(self, int first, int got) noexcept nogil
    cdef bint is_same_sender(self, int first, int second) noexcept nogil
    cdef bint is_plain_data(self, int number) noexcept nogil
    cdef bytes join(self, int first, int end)
