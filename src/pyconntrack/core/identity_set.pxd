# SPDX-License-Identifier: GPL-2.0-or-later
from libc.stdint cimport uint32_t, uint64_t

# What names one flow of the kernel's for good: a table's hash of its tuple, and its id.
cdef inline uint64_t identity(uint32_t hash, uint32_t id_) noexcept nogil:
    return (<uint64_t>hash << 32) | id_

cdef class IdentitySet:
    cdef uint64_t *places
    cdef uint32_t mask
    cdef uint32_t count

    cdef bint has(self, uint64_t identity) noexcept nogil
    cdef int add(self, uint64_t identity) noexcept nogil
    cdef bint discard(self, uint64_t identity) noexcept nogil
    cdef void clear(self) noexcept nogil
