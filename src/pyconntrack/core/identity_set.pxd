# SPDX-License-Identifier: GPL-2.0-or-later
from libc.stdint cimport uint32_t, uint64_t

cdef class IdentitySet:
    cdef uint64_t *places
    cdef uint32_t mask
    cdef uint32_t count

    cdef bint has(self, uint64_t identity) noexcept nogil
    cdef int add(self, uint64_t identity) noexcept nogil
    cdef bint discard(self, uint64_t identity) noexcept nogil
    cdef void clear(self) noexcept nogil
